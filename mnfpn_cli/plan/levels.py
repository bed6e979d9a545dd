"""Choose the levels of the pyramid and their stages, and check the rules between settings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from mnfpn_cli.documents.settings import Preset, PresetsDocument
from mnfpn_cli.errors import Problem, UsageError
from mnfpn_cli.plan.backbone import Widths, plan_widths
from mnfpn_cli.settings.backbones import ResNetSettings
from mnfpn_cli.settings.files import preset_description, preset_names, read_preset
from mnfpn_cli.settings.input import DEFAULT_SIZE, MAX_SIDE, NetworkInput, Size, parse_size
from mnfpn_cli.settings.network import ClassifierHead, LevelClassifiersHead, NetworkSettings, PyramidSettings
from mnfpn_cli.settings.problems import SettingsError
from mnfpn_cli.settings.sources import Source, merge, with_source
from mnfpn_cli.text import did_you_mean

MAX_BLOCKS = 1000
"""The most blocks of a backbone."""

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


class Outline(NamedTuple):
    """The scaled channels and the levels of a network: with the settings, they determine all layers."""

    widths: Widths
    levels: ChosenLevels


def plan_outline(settings: NetworkSettings) -> Outline:
    """Return scaled channels and levels, and check every rule between settings.

    Raises:
        SettingsError: where settings break a rule together.
    """
    _check_parts(settings)
    widths = plan_widths(settings)
    _check_blocks(settings)
    if settings.pyramid:
        _check_pyramid(settings.pyramid)
    levels, made_for = plan_levels(settings), settings.made_for
    if made_for and min(made_for) < levels.stride:
        rule = f"must have sides of at least {levels.stride} pixels, the stride of the backbone's last map"
        raise SettingsError("head.size", rule, made_for)
    return Outline(widths, levels)


def _check_parts(settings: NetworkSettings) -> None:
    head = settings.head
    if isinstance(settings.backbone, ResNetSettings) and settings.stages is not None:
        rule = "must be null with backbone.kind 'resnet', whose stages are in backbone.blocks"
        count = len(settings.stages)
        raise SettingsError("stages", rule, f"{count} stage{'s' if count > 1 else ''}")
    if isinstance(head, ClassifierHead):
        if settings.pyramid is not None:
            rule = "must be null with head.kind 'classifier', which takes the backbone's last map"
            raise SettingsError("pyramid", rule, "a pyramid")
    elif settings.pyramid is None:
        reason = "the network would have no output" if head.kind == "none" else "it classifies the pyramid's levels"
        raise SettingsError("pyramid", f"must not be null with head.kind '{head.kind}': {reason}")
    if isinstance(head, LevelClassifiersHead) and head.size and head.pool == "average":
        raise SettingsError("head.size", "must be null with head.pool 'average', which takes any size", head.size)


def _check_blocks(settings: NetworkSettings) -> None:
    if isinstance(settings.backbone, ResNetSettings):
        where, blocks = "backbone.blocks", sum(settings.backbone.blocks)
    else:
        where, blocks = "stages", sum(stage.repeats for stage in settings.stages or ())
    if blocks > MAX_BLOCKS:
        raise SettingsError(where, f"must have at most {MAX_BLOCKS} blocks in all", blocks)


def _check_pyramid(pyramid: PyramidSettings) -> None:
    if pyramid.merge == "concat":
        if pyramid.smooth == "none":
            reason = "smoothing brings the concatenated maps back to the pyramid's channels"
            raise SettingsError("pyramid.smooth", f"must not be 'none' with pyramid.merge 'concat': {reason}", "'none'")
        if pyramid.smooth_shared:
            reason = "each level's smoothing has its own number of input channels"
            raise SettingsError("pyramid.smooth_shared", f"must be false with pyramid.merge 'concat': {reason}", "true")
    if pyramid.extra == "maxpool" and pyramid.extra_from == "tap":
        reason = "pooling keeps a tap's channels, which are not the pyramid's"
        raise SettingsError("pyramid.extra_from", f"must be 'map' with pyramid.extra 'maxpool': {reason}", "'tap'")
    if pyramid.extra != "none" and pyramid.top == "pool":
        reason = "a 1×1 map cannot be downsampled"
        raise SettingsError("pyramid.extra", f"must be 'none' with pyramid.top 'pool': {reason}", f"'{pyramid.extra}'")


def resolve(sources: Sequence[Source]) -> NetworkSettings:
    """Return the settings of sources merged on top of the defaults, after a check of each value and of every rule.

    Raises:
        UsageError: where a rule is broken; it names the source of the value.
    """
    settings = merge(sources)
    try:
        plan_outline(settings)
    except SettingsError as error:
        raise UsageError(with_source(error.problem, sources)) from None
    return settings


def presets_document() -> PresetsDocument:
    """Return the document of all presets."""
    presets = tuple(
        Preset(name=name, description=preset_description(name), settings=resolve([read_preset(name)]))
        for name in preset_names()
    )
    return PresetsDocument(settings=None, model=None, presets=presets)


def choose_size(settings: NetworkSettings, text: str | None) -> tuple[NetworkSettings, Size]:
    """Return the size of images that ``text`` gives, and settings with a head for that size where the head needs one.

    Without a text, the size is that of the head, or else the default.

    Raises:
        UsageError: where the text is not a size.
    """
    size = parse_size(text) if text is not None else settings.made_for or parse_size(DEFAULT_SIZE)
    return settings.at(size), size


def network_input(settings: NetworkSettings, size: Size, batch: int = 1) -> NetworkInput:
    """Return the input of a network: ``batch`` images of a size.

    Raises:
        UsageError: where a side is shorter than the stride of the backbone's last map, so that the map would have no
            whole cell; or where the head is made for another size.
    """
    if settings.made_for not in (None, size):
        rule = f"must be {settings.made_for}, which the head's dense layers are made for (head.size)"
        raise UsageError(Problem("`size`", rule, str(size)))
    levels = plan_levels(settings)
    if min(size) < levels.stride:
        what = "the backbone's last map" if levels.top or not levels.tapped else levels.tapped[-1]
        rule = f"each side must be at least {levels.stride} pixels, the stride of {what}"
        raise UsageError(Problem("`size`", rule, str(size)))
    return NetworkInput(batch, settings.in_channels, size)
