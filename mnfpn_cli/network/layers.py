"""Layers: convolutions with their norm and activation, separable convolutions, padding, dense layers."""

from collections import OrderedDict

import torch.nn.functional as F  # noqa: N812 - as torch's documentation names it
from torch import Tensor, nn

from mnfpn_cli.plan.layers import Activation, ConvPlan, LayerPlan, LinearPlan, NormPlan, SeparablePlan, same_padding


class SamePad(nn.Module):
    """Pad for a layer of stride 2 as TensorFlow's ``same``: (n, c, h, w) to (n, c, h + 0 to k - 1, w + 0 to k - 1).

    An odd number of pixels is uneven: the larger part goes to the bottom and to the right.
    """

    def __init__(self, kernel: int, value: float = 0.0):
        super().__init__()
        self.kernel, self.value = kernel, value

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, c, h, w) to the padded map."""
        height, width = x.shape[-2:]
        padding = (*same_padding(self.kernel, width), *same_padding(self.kernel, height))
        return F.pad(x, padding, value=self.value)

    def extra_repr(self) -> str:
        """Describe the padding in a printed network."""
        return f"kernel={self.kernel}"


class ConvNormAct(nn.Sequential):
    """A convolution, then a norm and an activation where the plan has them: (n, in, h, w) to (n, out, h/s, w/s)."""

    def __init__(self, plan: ConvPlan):
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        if plan.same:
            layers["pad"] = SamePad(plan.kernel)
        layers["conv"] = conv2d(plan)
        if plan.norm:
            layers["norm"] = norm(plan.norm, plan.out_channels, plan.norm_groups)
        if plan.activation:
            layers["act"] = activation(plan.activation)
        super().__init__(layers)


class NormAct(nn.Sequential):
    """A norm of its own, and an activation: (n, c, h, w) to the same shape."""

    def __init__(self, plan: NormPlan):
        layers: OrderedDict[str, nn.Module] = OrderedDict(norm=norm(plan.norm, plan.channels, plan.norm_groups))
        if plan.activation:
            layers["act"] = activation(plan.activation)
        super().__init__(layers)


class SeparableConv(nn.Sequential):
    """A depthwise 3×3 convolution, then a 1×1: (n, in, h, w) to (n, out, h/s, w/s)."""

    def __init__(self, plan: SeparablePlan):
        super().__init__(OrderedDict(depthwise=conv_layer(plan.depthwise), pointwise=conv_layer(plan.pointwise)))


def conv_layer(plan: LayerPlan) -> nn.Module:
    """Build a layer: a convolution alone is a convolution of torch."""
    if isinstance(plan, SeparablePlan):
        return SeparableConv(plan)
    return conv2d(plan) if plan.bare else ConvNormAct(plan)


def conv2d(plan: ConvPlan) -> nn.Conv2d:
    """Build a convolution without norm and activation; it pads so that only the stride changes the size."""
    return nn.Conv2d(
        plan.in_channels,
        plan.out_channels,
        plan.kernel,
        stride=plan.stride,
        padding=0 if plan.same else plan.kernel // 2,
        groups=plan.groups,
        bias=plan.bias,
    )


def norm(kind: str, channels: int, groups: int) -> nn.BatchNorm2d | nn.GroupNorm:
    """Build a batch norm or a group norm."""
    return nn.BatchNorm2d(channels) if kind == "batch" else nn.GroupNorm(groups, channels)


def activation(name: Activation) -> nn.Module:
    """Build an activation that works in place."""
    return nn.ReLU6(inplace=True) if name == "relu6" else nn.ReLU(inplace=True)


def linear(plan: LinearPlan) -> nn.Linear:
    """Build a dense layer."""
    return nn.Linear(plan.in_features, plan.out_features)
