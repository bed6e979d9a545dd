"""The blocks of the backbones: inverted residuals of MobileNetV2, and bottlenecks of ResNet."""

from typing import NamedTuple

from mnfpn_cli.plan.layers import Activation, ConvPlan
from mnfpn_cli.settings.backbones import MobileNetV2Settings

BOTTLENECK_EXPANSION = 4
"""A bottleneck's output channels over those of its 3×3 convolution (He et al. 2016, section 4.1)."""


class BlockPlan(NamedTuple):
    """Convolutions in a row, by name, and what is added to their result: nothing, the input, or its shortcut.

    Attributes:
        layers: the convolutions in the order in which they run.
        residual: whether the input is added.
        shortcut: the convolution that makes the input addable where the shape changes.
        activation: what follows the sum.
    """

    layers: tuple[tuple[str, ConvPlan], ...]
    residual: bool
    shortcut: ConvPlan | None = None
    activation: Activation | None = None

    @property
    def out_channels(self) -> int:
        """Channels of the block's output."""
        return self.layers[-1][1].out_channels


def inverted_residual(
    in_channels: int, out_channels: int, expansion: int, stride: int, has: MobileNetV2Settings
) -> BlockPlan:
    """Expand, filter depthwise, project without activation (Sandler et al. 2018, section 3.3)."""
    hidden, bias = in_channels * expansion, has.conv_bias
    depthwise = ConvPlan(hidden, hidden, 3, stride, groups=hidden, bias=bias, norm=True, activation="relu6")
    project = ConvPlan(hidden, out_channels, 1, bias=bias, norm=True)
    layers: tuple[tuple[str, ConvPlan], ...] = (("depthwise", depthwise), ("project", project))
    if expansion > 1 or has.expand_at_1:
        layers = (("expand", ConvPlan(in_channels, hidden, 1, bias=bias, norm=True, activation="relu6")), *layers)
    return BlockPlan(layers, residual=stride == 1 and in_channels == out_channels)


def bottleneck(in_channels: int, channels: int, stride: int) -> BlockPlan:
    """Reduce, convolve 3×3, restore, add, ReLU; the stride is the 3×3's, as in the implementations in circulation."""
    out_channels = channels * BOTTLENECK_EXPANSION
    layers = (
        ("reduce", ConvPlan(in_channels, channels, 1, norm=True, activation="relu")),
        ("spatial", ConvPlan(channels, channels, 3, stride, norm=True, activation="relu")),
        ("restore", ConvPlan(channels, out_channels, 1, norm=True)),
    )
    same = stride == 1 and in_channels == out_channels
    shortcut = None if same else ConvPlan(in_channels, out_channels, 1, stride, norm=True)
    return BlockPlan(layers, residual=True, shortcut=shortcut, activation="relu")
