"""Plan the backbone: scale and round channels, and plan the stem, the stages and their blocks."""

from dataclasses import dataclass, field
from functools import lru_cache
from math import ceil, prod
from typing import NamedTuple

from mnfpn_cli.plan.layers import Activation, ConvPlan, Norm
from mnfpn_cli.settings.backbones import MAX_CHANNELS, MobileNetV2Settings, ResNetSettings, Rounding, StageSettings
from mnfpn_cli.settings.network import ClassifierHead, NetworkSettings
from mnfpn_cli.settings.problems import SettingsError


def scale_channels(channels: int, width_mult: float, rounding: Rounding) -> int:
    """Scale a channel count by the width multiplier.

    * ``nearest8``: the nearest multiple of 8, at least 8, and never less than 90 % of the exact value
      (``_make_divisible`` in the TensorFlow models repository, copied by torchvision and timm).
    * ``ceil8``: the next multiple of 8 that is not smaller (tonylins/pytorch-mobilenet-v2).
    * ``truncate``: ``int(channels × width_mult)``; may be 0, which `plan_widths` refuses.
    """
    exact = channels * width_mult
    match rounding:
        case "nearest8":
            rounded = max(8, int(exact + 4) // 8 * 8)
            return rounded + 8 if rounded < 0.9 * exact else rounded
        case "ceil8":
            return ceil(exact / 8) * 8
        case "truncate":
            return int(exact)


def scale_stem(channels: int, width_mult: float, rounding: Rounding) -> int:
    """Scale the channels of the stem; ``ceil8`` does not change them."""
    return channels if rounding == "ceil8" else scale_channels(channels, width_mult, rounding)


def scale_stage(channels: int, expansion: int, width_mult: float, rounding: Rounding) -> int:
    """Scale the channels of a stage; ``ceil8`` does not change those of a stage of expansion 1."""
    if rounding == "ceil8" and expansion == 1:
        return channels
    return scale_channels(channels, width_mult, rounding)


def scale_last(channels: int, width_mult: float, rounding: Rounding) -> int:
    """Scale the channels of the classifier's last convolution: up with a multiplier above 1, but never down.

    All but ``ceil8`` round them even where the multiplier is 1 or less.
    """
    if rounding == "ceil8" and width_mult <= 1:
        return channels
    return scale_channels(channels, max(1.0, width_mult), rounding)


class Widths(NamedTuple):
    """The scaled channels of the stem, of each stage (of its bottlenecks in a ResNet), and of a last convolution.

    The last convolution is the head's, or the pyramid's. ``levels`` are the channels of the pyramid's levels.
    """

    stem: int
    stages: tuple[int, ...]
    last: int | None
    levels: int


LEAST_SCALED_LEVEL = 16
"""The fewest channels of a level that the width multiplier scales, as in TensorFlow's FPNLite."""


def plan_widths(settings: NetworkSettings) -> Widths:
    """Return all channels that depend on the width multiplier, scaled and rounded.

    Raises:
        SettingsError: where a layer would have no channels, or too many.
    """
    width, rounding = settings.width_mult, settings.rounding

    def checked(where: str, channels: int, scaled: int) -> int:
        if 1 <= scaled <= MAX_CHANNELS:
            return scaled
        rule = f"{where} must be 1 to {MAX_CHANNELS} channels after scaling ({rounding})"
        raise SettingsError("width_mult", rule, f"{channels} × {width:g} = {scaled:g}")

    stem = checked("stem_channels", settings.stem_channels, scale_stem(settings.stem_channels, width, rounding))
    stages = [
        checked(f"stages[{k}].channels", row.channels, scale_stage(row.channels, row.expansion, width, rounding))
        for k, row in enumerate(settings.stages or ())
    ]
    if isinstance(settings.backbone, ResNetSettings):
        for k in range(len(settings.backbone.blocks)):
            channels = settings.stem_channels << k
            where = f"the bottlenecks of backbone.blocks[{k}]"
            stages.append(checked(where, channels, scale_channels(channels, width, rounding)))
    last = None
    if isinstance(settings.head, ClassifierHead) and settings.head.last_channels:
        channels = settings.head.last_channels
        last = checked("head.last_channels", channels, scale_last(channels, width, rounding))
    elif settings.pyramid and settings.pyramid.last_channels:
        channels = settings.pyramid.last_channels
        last = checked("pyramid.last_channels", channels, scale_channels(channels, min(1.0, width), rounding))
    levels = settings.pyramid.channels if settings.pyramid else 0
    if settings.pyramid and settings.pyramid.scaled:
        levels = checked("pyramid.channels", levels, max(LEAST_SCALED_LEVEL, int(levels * width)))
    return Widths(stem, tuple(stages), last, levels)


BOTTLENECK_EXPANSION = 4
"""The output channels of a bottleneck over those of its 3×3 convolution (He et al. 2016, section 4.1)."""


class BlockPlan(NamedTuple):
    """A block: convolutions, and a residual or none.

    Attributes:
        layers: the convolutions by name, in the order in which they run.
        residual: whether the input of the block, or its shortcut, is added to the output of the last convolution.
        shortcut: the convolution on the input, where the block changes the shape; else None.
        activation: on the sum.
    """

    layers: tuple[tuple[str, ConvPlan], ...]
    residual: bool
    shortcut: ConvPlan | None = None
    activation: Activation | None = None

    @property
    def is_bottleneck(self) -> bool:
        """Whether the block is a bottleneck, with an activation on the sum; else it is an inverted residual."""
        return self.activation is not None

    @property
    def out_channels(self) -> int:
        """The channels of the block's output."""
        return self.layers[-1][1].out_channels


def inverted_residual(
    in_channels: int, out_channels: int, expansion: int, stride: int, options: MobileNetV2Settings, same: bool = False
) -> BlockPlan:
    """Plan an inverted residual: expand, depthwise 3×3, project without activation (Sandler et al. 2018, 3.3)."""
    hidden, bias, same = in_channels * expansion, options.conv_bias, same and stride == 2
    depthwise = ConvPlan(hidden, hidden, 3, stride, hidden, bias, norm="batch", activation="relu6", same=same)
    project = ConvPlan(hidden, out_channels, 1, bias=bias, norm="batch")
    layers: tuple[tuple[str, ConvPlan], ...] = (("depthwise", depthwise), ("project", project))
    if expansion > 1 or options.expand_at_1:
        layers = (("expand", ConvPlan(in_channels, hidden, 1, bias=bias, norm="batch", activation="relu6")), *layers)
    return BlockPlan(layers, residual=stride == 1 and in_channels == out_channels)


def bottleneck(in_channels: int, channels: int, stride: int, same: bool = False) -> BlockPlan:
    """Plan a bottleneck: reduce, 3×3, restore, add, ReLU. The 3×3 convolution has the stride, as in torchvision."""
    out_channels = channels * BOTTLENECK_EXPANSION
    same = same and stride == 2
    layers = (
        ("reduce", ConvPlan(in_channels, channels, 1, norm="batch", activation="relu")),
        (
            "spatial",
            ConvPlan(channels, channels, 3, stride, norm="batch", activation="relu", same=same),
        ),
        ("restore", ConvPlan(channels, out_channels, 1, norm="batch")),
    )
    same = stride == 1 and in_channels == out_channels
    shortcut = None if same else ConvPlan(in_channels, out_channels, 1, stride, norm="batch")
    return BlockPlan(layers, residual=True, shortcut=shortcut, activation="relu")


@dataclass(frozen=True, slots=True)
class StagePlan:
    """The blocks of a stage, in order; the first one has the stride of the stage."""

    blocks: tuple[BlockPlan, ...]
    stride: int

    @property
    def out_channels(self) -> int:
        """The channels of the stage's map."""
        return self.blocks[-1].out_channels


@dataclass(frozen=True, slots=True)
class BackbonePlan:
    """The stem and the stages of a backbone, up to the last stage that a level or a head needs.

    Attributes:
        stem: the first convolution.
        stem_pool: whether a 3×3 max-pooling of stride 2 follows the stem.
        stages: in order.
        activation: that of the backbone's convolutions, and of a classifier's last convolution.
        conv_bias: whether these convolutions have a bias.
        same: whether layers of stride 2 pad as TensorFlow's ``same`` does.
    """

    stem: ConvPlan
    stem_pool: bool
    stages: tuple[StagePlan, ...]
    activation: Activation
    conv_bias: bool
    same: bool = False
    _hash: int = field(init=False, repr=False, compare=False)

    @property
    def stride(self) -> int:
        """The stride of the last stage's map, in pixels of the image."""
        return self.stem.stride * (2 if self.stem_pool else 1) * prod(stage.stride for stage in self.stages)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_hash", hash((self.stem, self.stem_pool, self.stages)))

    def __hash__(self) -> int:
        """Return the stored hash: it covers every convolution, and caches of backbones need it often."""
        return self._hash


def plan_backbone(settings: NetworkSettings, widths: Widths, last_stage: int | None = None) -> BackbonePlan:
    """Plan the backbone up to and including ``last_stage``; None for all stages."""
    end = None if last_stage is None else last_stage + 1
    stages = widths.stages[:end]
    same = settings.padding == "same"
    if isinstance(settings.backbone, ResNetSettings):
        return _plan_resnet(settings.in_channels, widths.stem, settings.backbone.blocks[:end], stages, same)
    rows = (settings.stages or ())[:end]
    return _plan_mobilenet_v2(settings.backbone, settings.in_channels, widths.stem, rows, stages, same)


# In a sweep, many pyramids share one backbone, and several width multipliers round to the same channels.
@lru_cache(maxsize=256)
def _plan_mobilenet_v2(
    backbone: MobileNetV2Settings,
    in_channels: int,
    channels: int,
    rows: tuple[StageSettings, ...],
    widths: tuple[int, ...],
    same: bool,
) -> BackbonePlan:
    bare, bias = backbone.bare_stem, backbone.conv_bias
    activation: Activation | None = None if bare else "relu6"
    norm: Norm | None = None if bare else "batch"
    stem = ConvPlan(in_channels, channels, 3, 2, bias=bare or bias, norm=norm, activation=activation, same=same)
    stages = []
    for row, width in zip(rows, widths, strict=True):
        blocks: tuple[BlockPlan, ...] = (inverted_residual(channels, width, row.expansion, row.stride, backbone, same),)
        if row.repeats > 1:  # the other blocks are equal: they share one plan
            blocks += (inverted_residual(width, width, row.expansion, 1, backbone),) * (row.repeats - 1)
        stages.append(StagePlan(blocks, row.stride))
        channels = width
    return BackbonePlan(stem, False, tuple(stages), "relu6", bias, same)


@lru_cache(maxsize=256)
def _plan_resnet(
    in_channels: int, channels: int, repeats: tuple[int, ...], widths: tuple[int, ...], same: bool
) -> BackbonePlan:
    stem = ConvPlan(in_channels, channels, kernel=7, stride=2, norm="batch", activation="relu", same=same)
    stages = []
    for index, (count, width) in enumerate(zip(repeats, widths, strict=True)):
        stride = 1 if index == 0 else 2
        blocks: tuple[BlockPlan, ...] = (bottleneck(channels, width, stride, same),)
        channels = width * BOTTLENECK_EXPANSION
        if count > 1:
            blocks += (bottleneck(channels, width, 1),) * (count - 1)
        stages.append(StagePlan(blocks, stride))
    return BackbonePlan(stem, True, tuple(stages), "relu", False, same)
