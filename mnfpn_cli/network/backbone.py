"""The stages of the backbones: inverted residuals, or bottlenecks.

Sources: Sandler et al. 2018, "MobileNetV2", section 3.3; He et al. 2016, "Deep Residual Learning for Image
Recognition", section 4.1.
"""

from collections import OrderedDict

from torch import Tensor, nn

from mnfpn_cli.network.layers import ConvNormAct, activation
from mnfpn_cli.plan.backbone import StagePlan
from mnfpn_cli.plan.blocks import BlockPlan


class InvertedResidual(nn.Sequential):
    """Expand, filter depthwise, project; the input is added where the plan says so."""

    def __init__(self, plan: BlockPlan):
        super().__init__(OrderedDict((name, ConvNormAct(conv)) for name, conv in plan.layers))
        self.residual = plan.residual

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, in, h, w) to (n, out, h/s, w/s)."""
        y: Tensor = super().forward(x)  # type: ignore[no-untyped-call]
        return x + y if self.residual else y


class Bottleneck(nn.Module):
    """Reduce, convolve 3×3, restore; the input or its shortcut is added, and an activation follows."""

    def __init__(self, plan: BlockPlan):
        super().__init__()
        self.reduce, self.spatial, self.restore = (ConvNormAct(conv) for _, conv in plan.layers)
        self.shortcut = ConvNormAct(plan.shortcut) if plan.shortcut else None
        self.act = activation(plan.activation or "relu")

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, in, h, w) to (n, out, h/s, w/s)."""
        y = self.restore(self.spatial(self.reduce(x)))  # (n, out, h/s, w/s)
        z: Tensor = self.act(y + (self.shortcut(x) if self.shortcut else x))
        return z


class Stage(nn.Sequential):
    """Blocks in a row; the first of them has the stride."""

    def __init__(self, plan: StagePlan):
        super().__init__(*(block(one) for one in plan.blocks))


def block(plan: BlockPlan) -> nn.Module:
    """The block of a plan: a bottleneck is what has an activation behind the sum."""
    return Bottleneck(plan) if plan.activation else InvertedResidual(plan)
