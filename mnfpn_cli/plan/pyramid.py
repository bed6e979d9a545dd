"""The feature pyramid worked out: for each level its lateral, its smoothing, and its size."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from mnfpn_cli.plan.backbone import BackbonePlan
from mnfpn_cli.plan.layers import ConvPlan, halved
from mnfpn_cli.plan.levels import Levels, level_stride
from mnfpn_cli.settings.input import Size
from mnfpn_cli.settings.network import Merge, PyramidSettings, Upsample

SHARED = "shared"
"""The name of a smoothing that levels have in common: one module in one place, so that it is counted once."""


@dataclass(frozen=True, slots=True)
class SeparablePlan:
    """A 3×3 convolution parted into a depthwise 3×3, which has the stride, and a 1×1."""

    depthwise: ConvPlan
    pointwise: ConvPlan


@dataclass(frozen=True, slots=True)
class LevelPlan:
    """A level on a stage: its own map, or where it is pooled (and has no stride) the map's average.

    ``merged`` are the channels after the coarser level was merged into the lateral.
    """

    name: str
    stride: int | None
    stage: int
    lateral: ConvPlan
    merged: int
    smooth: ConvPlan | SeparablePlan | None

    @property
    def pooled(self) -> bool:
        """Whether it is the average of the stage's map: 1×1."""
        return self.stride is None


@dataclass(frozen=True, slots=True)
class ExtraPlan:
    """A level that is half of the one before it: by a convolution of stride 2, or, where there is none, max-pooling."""

    name: str
    stride: int
    layer: ConvPlan | SeparablePlan | None


@dataclass(frozen=True, slots=True)
class PyramidPlan:
    """The levels, finest first, and how a coarser one comes into a finer one.

    ``extra_stage`` is the stage whose map the first extra level is made of; None for the map of the level before it.
    """

    levels: tuple[LevelPlan, ...]
    extra: tuple[ExtraPlan, ...]
    channels: int
    upsample: Upsample
    merge: Merge
    smooth_shared: bool
    extra_stage: int | None
    extra_relu: bool

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all levels, finest first."""
        return (*(level.name for level in self.levels), *(extra.name for extra in self.extra))

    def smoothing(self, level: LevelPlan) -> str:
        """The name of the module that smooths a level."""
        return SHARED if self.smooth_shared else level.name


def plan_pyramid(named: Levels, pyramid: PyramidSettings, backbone: BackbonePlan) -> PyramidPlan:
    """Work out the pyramid on the levels that the settings choose."""
    levels: list[LevelPlan] = []
    on_stages: list[tuple[str, int | None, int]] = [
        (name, level_stride(name), named.taps[name]) for name in named.tapped
    ]
    if pyramid.top == "pool":
        on_stages.append(("top", None, named.last_stage))
    merged = 0
    for name, stride, stage in reversed(on_stages):
        lateral = ConvPlan(backbone.stages[stage].out_channels, pyramid.channels, kernel=1, bias=True)
        is_merged = merged > 0
        merged = pyramid.channels + (merged if pyramid.merge == "concat" else 0)
        smooth = _conv(pyramid.smooth, merged, pyramid.channels, stride=1)
        if pyramid.smooth_levels == "merged" and not is_merged:
            smooth = None
        levels.insert(0, LevelPlan(name, stride, stage, lateral, merged, smooth))
    extra_stage = levels[-1].stage if pyramid.extra_from == "tap" else None
    channels = pyramid.channels if extra_stage is None else levels[-1].lateral.in_channels
    extra = []
    for name in named.extra:
        extra.append(ExtraPlan(name, level_stride(name), _conv(pyramid.extra, channels, pyramid.channels, stride=2)))
        channels = pyramid.channels
    return PyramidPlan(
        levels=tuple(levels),
        extra=tuple(extra),
        channels=pyramid.channels,
        upsample=pyramid.upsample,
        merge=pyramid.merge,
        smooth_shared=pyramid.smooth_shared,
        extra_stage=extra_stage,
        extra_relu=pyramid.extra_relu,
    )


def _conv(kind: str, in_channels: int, out_channels: int, stride: int) -> ConvPlan | SeparablePlan | None:
    match kind:
        case "conv":
            return ConvPlan(in_channels, out_channels, kernel=3, stride=stride, bias=True)
        case "separable":
            return SeparablePlan(
                depthwise=ConvPlan(in_channels, in_channels, kernel=3, stride=stride, groups=in_channels),
                pointwise=ConvPlan(in_channels, out_channels, kernel=1, bias=True),
            )
        case _:
            return None


ONE_CELL = Size(1, 1)


# A sweep asks for those of one backbone under each of its pyramids.
@lru_cache(maxsize=256)
def stage_sizes(plan: BackbonePlan, size: Size) -> tuple[Size, ...]:
    """The size of each stage's output for an image of ``size``."""
    sizes, size = list[Size](), plan.stem.output(size)
    if plan.stem_pool:
        size = halved(size)
    for stage in plan.stages:
        size = size if stage.stride == 1 else halved(size)
        sizes.append(size)
    return tuple(sizes)


def level_sizes(plan: PyramidPlan, sizes: Sequence[Size]) -> tuple[Size, ...]:
    """The size of each level's map, finest first and extra levels last, for stage outputs of ``sizes``."""
    levels = [ONE_CELL if level.pooled else sizes[level.stage] for level in plan.levels]
    for _ in plan.extra:
        levels.append(halved(levels[-1]))
    return tuple(levels)
