"""Plan the feature pyramid: the layers of each level, and the sizes of its maps."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from mnfpn_cli.plan.backbone import BackbonePlan, Widths
from mnfpn_cli.plan.layers import Activation, ConvPlan, LayerPlan, Norm, SeparablePlan, halved
from mnfpn_cli.plan.levels import ChosenLevels, level_stride
from mnfpn_cli.settings.input import Size
from mnfpn_cli.settings.network import Merge, PyramidSettings, Upsample

SHARED = "shared"
"""The name of a smoothing that all levels share; it is one module, registered and counted once."""


class LevelPlan(NamedTuple):
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
    smooth: LayerPlan | None

    @property
    def pooled(self) -> bool:
        """Whether the level is built on the average of the stage's map."""
        return self.stride is None


@dataclass(frozen=True, slots=True)
class ExtraPlan:
    """A level beyond the taps, half the size of the level before. ``layer`` has stride 2; None means max-pooling."""

    name: str
    stride: int
    layer: LayerPlan | None


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
        smoothed_down: whether a level's map is merged into the finer one after it was smoothed, not before.
        last: a last convolution on the coarsest tap, which stands for it then; None for none.
    """

    levels: tuple[LevelPlan, ...]
    extra: tuple[ExtraPlan, ...]
    channels: int
    upsample: Upsample
    merge: Merge
    smooth_shared: bool
    extra_stage: int | None
    extra_relu: bool
    smoothed_down: bool = False
    last: ConvPlan | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all levels, finest first."""
        return (*(level.name for level in self.levels), *(extra.name for extra in self.extra))

    def resized_channels(self, level: LevelPlan) -> int:
        """Return the channels of the map of a level that is merged into the next finer one."""
        return self.channels if self.smoothed_down else level.merged

    def smoothing(self, level: LevelPlan) -> str:
        """Return the name of the module that smooths a level."""
        return SHARED if self.smooth_shared else level.name


def plan_pyramid(chosen: ChosenLevels, pyramid: PyramidSettings, backbone: BackbonePlan, widths: Widths) -> PyramidPlan:
    """Plan the pyramid of the chosen levels; ``widths`` has their channels, and those of a last convolution."""
    last = None
    if widths.last:
        channels = backbone.stages[chosen.last_stage].out_channels
        last = ConvPlan(channels, widths.last, kernel=1, norm="batch", activation=backbone.activation)
    layers = _Layers(pyramid, backbone.same)
    levels = _plan_levels(chosen, pyramid, backbone, last, widths)
    extra_stage = levels[-1].stage if pyramid.extra_from == "tap" else None
    channels = widths.levels if extra_stage is None else levels[-1].lateral.in_channels
    extra = []
    for name in chosen.extra:
        layer = layers.make(pyramid.extra, channels, widths.levels, stride=2)
        extra.append(ExtraPlan(name, level_stride(name), layer))
        channels = widths.levels
    return PyramidPlan(
        levels=levels,
        extra=tuple(extra),
        channels=widths.levels,
        upsample=pyramid.upsample,
        merge=pyramid.merge,
        smooth_shared=pyramid.smooth_shared,
        extra_stage=extra_stage,
        extra_relu=pyramid.extra_relu,
        smoothed_down=pyramid.top_down == "smoothed",
        last=last,
    )


def _plan_levels(
    chosen: ChosenLevels, pyramid: PyramidSettings, backbone: BackbonePlan, last: ConvPlan | None, widths: Widths
) -> tuple[LevelPlan, ...]:
    on_stages: list[tuple[str, int | None, int]] = [
        (name, level_stride(name), chosen.taps[name]) for name in chosen.tapped
    ]
    if pyramid.top == "pool":
        on_stages.append(("top", None, chosen.last_stage))
    levels, below, layers = list[LevelPlan](), 0, _Layers(pyramid, backbone.same)
    for name, stride, stage in reversed(on_stages):  # from the coarsest, as concatenated channels add up
        channels = last.out_channels if last and not levels else backbone.stages[stage].out_channels
        lateral = ConvPlan(channels, widths.levels, kernel=1, bias=True)
        merged = widths.levels + (below if pyramid.merge == "concat" else 0)
        smooth = layers.make(pyramid.smooth, merged, widths.levels, stride=1)
        if pyramid.smooth_levels == "merged" and not levels:
            smooth = None
        levels.append(LevelPlan(name, stride, stage, lateral, merged, smooth))
        below = widths.levels if pyramid.top_down == "smoothed" else merged
    return tuple(reversed(levels))


class _Layers:
    """Makes the smoothing and the extra levels of a pyramid, with its norm and activation and the network's padding."""

    def __init__(self, pyramid: PyramidSettings, same: bool) -> None:
        self._norm: Norm | None = None if pyramid.norm == "none" else pyramid.norm
        self._activation: Activation | None = None if pyramid.activation == "none" else pyramid.activation
        self._same = same

    def conv(self, in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> ConvPlan:
        """A convolution, which has a bias unless a norm follows."""
        return ConvPlan(
            in_channels,
            out_channels,
            kernel,
            stride,
            bias=self._norm is None,
            norm=self._norm,
            activation=self._activation,
            same=self._same and stride == 2,
        )

    def make(self, kind: str, in_channels: int, out_channels: int, stride: int) -> LayerPlan | None:
        """A 3×3 convolution of a kind; None for kinds without weights."""
        match kind:
            case "conv":
                return self.conv(in_channels, out_channels, 3, stride)
            case "separable":
                same = self._same and stride == 2
                depthwise = ConvPlan(in_channels, in_channels, 3, stride, groups=in_channels, same=same)
                return SeparablePlan(depthwise, self.conv(in_channels, out_channels, 1))
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
