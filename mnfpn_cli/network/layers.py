"""Convolutions with what follows them."""

from collections import OrderedDict

from torch import nn

from mnfpn_cli.plan.layers import Activation, ConvPlan
from mnfpn_cli.plan.pyramid import SeparablePlan


class ConvNormAct(nn.Sequential):
    """A convolution, and batch norm and an activation if the plan has them: (n, in, h, w) to (n, out, h/s, w/s)."""

    def __init__(self, plan: ConvPlan):
        layers: OrderedDict[str, nn.Module] = OrderedDict(conv=conv2d(plan))
        if plan.norm:
            layers["norm"] = nn.BatchNorm2d(plan.out_channels)
        if plan.activation:
            layers["act"] = activation(plan.activation)
        super().__init__(layers)


class SeparableConv(nn.Sequential):
    """A depthwise 3×3 convolution and a 1×1: (n, in, h, w) to (n, out, h/s, w/s)."""

    def __init__(self, plan: SeparablePlan):
        super().__init__(OrderedDict(depthwise=conv2d(plan.depthwise), pointwise=conv2d(plan.pointwise)))


def conv2d(plan: ConvPlan) -> nn.Conv2d:
    """The bare convolution of a plan, padded so that only the stride changes the size."""
    return nn.Conv2d(
        plan.in_channels,
        plan.out_channels,
        plan.kernel,
        stride=plan.stride,
        padding=plan.kernel // 2,
        groups=plan.groups,
        bias=plan.bias,
    )


def bare(plan: ConvPlan | SeparablePlan) -> nn.Module:
    """A convolution without norm and activation, as the pyramid has them."""
    return SeparableConv(plan) if isinstance(plan, SeparablePlan) else conv2d(plan)


def activation(name: Activation) -> nn.Module:
    """An activation that works in place."""
    return nn.ReLU6(inplace=True) if name == "relu6" else nn.ReLU(inplace=True)
