"""Choose the levels of the pyramid, and the stage that each is built on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from mnfpn_cli.settings.backbones import ResNetSettings
from mnfpn_cli.settings.input import MAX_SIDE
from mnfpn_cli.settings.network import NetworkSettings, PyramidSettings
from mnfpn_cli.settings.problems import SettingsError
from mnfpn_cli.text import did_you_mean

MAX_LISTED = 6
"""The most levels that a message lists."""

EXTRA_LEVELS = {"none": 0, "maxpool": 1, "conv": 2, "separable": 2}
"""The extra levels of pyramid.levels 'all', by pyramid.extra: as many as LastLevelMaxPool and LastLevelP6P7 of
torchvision add."""

COARSEST = MAX_SIDE.bit_length() - 1
"""The coarsest level whose stride is not larger than the largest image."""


def level_stride(name: str) -> int:
    """Return the nominal stride of a level: 2^k for ``pk``."""
    return 1 << int(name[1:])


def strides(settings: NetworkSettings) -> tuple[int, ...]:
    """Return the stride of each stage; the first stage of a ResNet has the stride of the max-pooling before it."""
    if isinstance(settings.backbone, ResNetSettings):
        return (2,) * len(settings.backbone.blocks)
    return tuple([stage.stride for stage in settings.stages or ()])


@dataclass(frozen=True, slots=True)
class ChosenLevels:
    """The levels of a pyramid by name, finest first, and the stages that they need.

    Attributes:
        taps: the stage of each level that the stages can give.
        tapped: the levels of the pyramid that are built on taps.
        extra: the levels beyond the taps.
        top: ``top`` where the pyramid has a pooled top, else empty.
        last_stage: the last stage that the network needs: the stage of the coarsest tap, or the last stage of all for a
            pooled top or a head.
        stride: the stride of the last stage's map, in pixels of the image.
    """

    taps: Mapping[str, int]
    tapped: tuple[str, ...]
    extra: tuple[str, ...]
    top: tuple[str, ...]
    last_stage: int
    stride: int

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all levels of the pyramid; a pooled top is the last."""
        return self.tapped + self.extra + self.top


def plan_levels(settings: NetworkSettings) -> ChosenLevels:
    """Return the levels that the settings choose, and the stage of each.

    Raises:
        SettingsError: where the stages do not give the levels.
    """
    return _plan_levels(strides(settings), settings.pyramid)


# The networks of a sweep have few different combinations of strides and pyramid.
@lru_cache(maxsize=256)
def _plan_levels(strides: tuple[int, ...], pyramid: PyramidSettings | None) -> ChosenLevels:
    tapped, extra, top = tuple[str, ...](), tuple[str, ...](), tuple[str, ...]()
    taps, last_stage = _taps(strides, pyramid), len(strides) - 1
    if pyramid:
        _check_levels(strides, taps, pyramid)
        tapped = tuple(name for name in taps if pyramid.levels == "all" or name in pyramid.levels)
        extra = _extra_levels(taps, pyramid)
        if pyramid.top == "pool":
            top = ("top",)
        else:
            last_stage = taps[tapped[-1]]
    return ChosenLevels(taps, tapped, extra, top, last_stage, 2 << strides[: last_stage + 1].count(2))


def _taps(strides: Sequence[int], pyramid: PyramidSettings | None) -> dict[str, int]:
    """Return the stage that each level is built on.

    The stem has stride 2, so p2 starts at the first stage of stride 2. With pyramid.taps 'last', a level is built on
    the last stage before the next one of stride 2: the deepest map of that resolution. With 'first', it is built on
    the stage of stride 2 itself. The last stage gives no level where a pooled top is built on it.
    """
    taps, level = dict[str, int](), 1
    if pyramid and pyramid.top == "pool":
        strides = strides[:-1]
    from_last = pyramid is None or pyramid.taps == "last"
    for index, stride in enumerate(strides):
        level += stride == 2
        if level > 1 and (from_last or stride == 2):
            taps[f"p{level}"] = index
    return taps


def _extra_levels(taps: Mapping[str, int], pyramid: PyramidSettings) -> tuple[str, ...]:
    if pyramid.levels == "all":
        coarsest = _coarsest(taps)
        return tuple(f"p{coarsest + k}" for k in range(1, EXTRA_LEVELS[pyramid.extra] + 1))
    return tuple(sorted((name for name in pyramid.levels if name not in taps), key=level_stride))


def _coarsest(taps: Mapping[str, int]) -> int:
    return int(list(taps)[-1][1:])


def _check_levels(strides: Sequence[int], taps: Mapping[str, int], pyramid: PyramidSettings) -> None:
    if 2 not in strides:
        raise SettingsError("stages", "must have a stage of stride 2: each one gives the pyramid a level", "none")
    chosen, names = pyramid.levels, list(taps)
    if not taps:
        reason = "the last stage is the top, and no stage before it has stride 2"
        raise SettingsError("pyramid.top", f"must not be 'pool' where it leaves no level: {reason}", "'pool'")
    if chosen == "all":
        return
    if not chosen or len(set(chosen)) < len(chosen):
        raise SettingsError("pyramid.levels", "must name at least one level, and each once", ",".join(chosen) or "none")
    extra, coarsest = _extra_levels(taps, pyramid), _coarsest(taps)
    if extra and pyramid.extra == "none":
        rule = f"must be among the levels that the stages give ({', '.join(taps)})"
        raise SettingsError("pyramid.levels", rule, f"{_listed(extra)}{_nearest_level(extra[-1], names)}")
    if extra and (names[-1] not in chosen or extra != tuple(f"p{coarsest + k + 1}" for k in range(len(extra)))):
        rule = f"must hold {names[-1]} and no gap after it, as each extra level is made of the one before"
        raise SettingsError("pyramid.levels", rule, _listed(chosen))
    if len(extra) + coarsest > max(coarsest, COARSEST):
        raise SettingsError("pyramid.levels", f"must end at p{COARSEST}, which the largest image fills", extra[-1])


def _listed(levels: Sequence[str]) -> str:
    """List levels in a message; of more than `MAX_LISTED`, only the first two and the last."""
    return ", ".join(levels) if len(levels) <= MAX_LISTED else f"{levels[0]}, {levels[1]}, …, {levels[-1]}"


def _nearest_level(name: str, levels: Sequence[str]) -> str:
    """Return a suggestion for a message: the level with a similar name, or else with the nearest stride."""
    nearest = min(levels, key=lambda level: abs(int(level[1:]) - int(name[1:])))
    return did_you_mean(name, levels) or f"; did you mean '{nearest}'?"
