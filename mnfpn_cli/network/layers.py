"""Convolutions with what follows them."""

from collections import OrderedDict

from torch import nn

from mnfpn_cli.plan.layers import ConvPlan


class ConvNormAct(nn.Sequential):
    """A convolution, batch norm, and an activation if the plan has one: (n, in, h, w) to (n, out, h/s, w/s)."""

    def __init__(self, plan: ConvPlan):
        layers: OrderedDict[str, nn.Module] = OrderedDict(conv=conv2d(plan), norm=nn.BatchNorm2d(plan.out_channels))
        if plan.activation == "relu6":
            layers["act"] = nn.ReLU6(inplace=True)
        super().__init__(layers)


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
