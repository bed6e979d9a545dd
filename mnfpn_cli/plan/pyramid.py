"""Plan the feature pyramid: the layers of each level, and the sizes of its maps."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from mnfpn_cli.plan.backbone import BackbonePlan
from mnfpn_cli.plan.layers import ConvPlan, halved
from mnfpn_cli.plan.levels import ChosenLevels, level_stride
from mnfpn_cli.settings.input import Size
from mnfpn_cli.settings.network import Merge, PyramidSettings, Upsample

SHARED = "shared"
"""The name of a smoothing that all levels share; it is one module, registered and counted once."""


@dataclass(frozen=True, slots=True)
class SeparablePlan:
    """A separable 3×3 convolution: a depthwise 3×3 with the stride, then a 1×1."""

    depthwise: ConvPlan
    pointwise: ConvPlan


@dataclass(frozen=True, slots=True)
class LevelPlan:
    """A level that is built on a stage.

    Attributes:
        name: ``p3``, or ``top`` for a pooled top.
        stride: nominal, in pixels of the image; None for a pooled top, whose map is 1×1.
        stage: the index of the stage whose map is the tap.
        lateral: the 1×1 convolution on the tap, or on its average.
        merged: channels after the coarser level is merged into the lateral.
        smooth: the convolution on the merged map; None for no smoothing.
    """

    name: str
    stride: int | None
    stage: int
    lateral: ConvPlan
    merged: int
    smooth: ConvPlan | SeparablePlan | None

    @property
    def pooled(self) -> bool:
        """Whether the level is built on the average of the stage's map."""
        return self.stride is None


@dataclass(frozen=True, slots=True)
class ExtraPlan:
    """A level beyond the taps, half the size of the level before. ``layer`` has stride 2; None means max-pooling."""

    name: str
    stride: int
    layer: ConvPlan | SeparablePlan | None


@dataclass(frozen=True, slots=True)
class PyramidPlan:
    """The levels of a pyramid, finest first, and how coarser levels are merged into finer ones.

    Attributes:
        levels: the levels on stages.
        extra: the levels beyond the taps.
        channels: of every level.
        upsample: the interpolation by which a coarser level is resized.
        merge: whether the resized level is added to the lateral, or concatenated.
        smooth_shared: whether all levels share one smoothing.
        extra_stage: the stage whose map the first extra level takes; None where it takes the coarsest level's map.
        extra_relu: whether a ReLU is between one extra level and the next.
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
        """Return the name of the module that smooths a level."""
        return SHARED if self.smooth_shared else level.name


def plan_pyramid(chosen: ChosenLevels, pyramid: PyramidSettings, backbone: BackbonePlan) -> PyramidPlan:
    """Plan the pyramid of the chosen levels."""
    levels = _plan_levels(chosen, pyramid, backbone)
    extra_stage = levels[-1].stage if pyramid.extra_from == "tap" else None
    channels = pyramid.channels if extra_stage is None else levels[-1].lateral.in_channels
    extra = []
    for name in chosen.extra:
        extra.append(ExtraPlan(name, level_stride(name), _conv(pyramid.extra, channels, pyramid.channels, stride=2)))
        channels = pyramid.channels
    return PyramidPlan(
        levels=levels,
        extra=tuple(extra),
        channels=pyramid.channels,
        upsample=pyramid.upsample,
        merge=pyramid.merge,
        smooth_shared=pyramid.smooth_shared,
        extra_stage=extra_stage,
        extra_relu=pyramid.extra_relu,
    )


def _plan_levels(chosen: ChosenLevels, pyramid: PyramidSettings, backbone: BackbonePlan) -> tuple[LevelPlan, ...]:
    on_stages: list[tuple[str, int | None, int]] = [
        (name, level_stride(name), chosen.taps[name]) for name in chosen.tapped
    ]
    if pyramid.top == "pool":
        on_stages.append(("top", None, chosen.last_stage))
    levels, merged = list[LevelPlan](), 0
    for name, stride, stage in reversed(on_stages):  # from the coarsest, as concatenated channels add up
        lateral = ConvPlan(backbone.stages[stage].out_channels, pyramid.channels, kernel=1, bias=True)
        is_merged = merged > 0
        merged = pyramid.channels + (merged if pyramid.merge == "concat" else 0)
        smooth = _conv(pyramid.smooth, merged, pyramid.channels, stride=1)
        if pyramid.smooth_levels == "merged" and not is_merged:
            smooth = None
        levels.insert(0, LevelPlan(name, stride, stage, lateral, merged, smooth))
    return tuple(levels)


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
"""The size of a pooled map."""


# In a sweep, many pyramids share one backbone.
@lru_cache(maxsize=256)
def stage_sizes(plan: BackbonePlan, size: Size) -> tuple[Size, ...]:
    """Return the size of each stage's map for an image of ``size``."""
    sizes, size = list[Size](), plan.stem.output(size)
    if plan.stem_pool:
        size = halved(size)
    for stage in plan.stages:
        size = size if stage.stride == 1 else halved(size)
        sizes.append(size)
    return tuple(sizes)


def level_sizes(plan: PyramidPlan, sizes: Sequence[Size]) -> tuple[Size, ...]:
    """Return the size of each level's map, finest first; ``sizes`` are those of the stages' maps."""
    levels = [ONE_CELL if level.pooled else sizes[level.stage] for level in plan.levels]
    for _ in plan.extra:
        levels.append(halved(levels[-1]))
    return tuple(levels)
