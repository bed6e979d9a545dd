"""The inverted residual block (Sandler et al. 2018, "MobileNetV2", section 3.3)."""

from collections import OrderedDict

from torch import Tensor, nn

from mnfpn_cli.network.layers import ConvNormAct
from mnfpn_cli.plan.backbone import BlockPlan, StagePlan


class InvertedResidual(nn.Sequential):
    """Expand, filter depthwise, project; the input is added where the plan says so."""

    def __init__(self, plan: BlockPlan):
        super().__init__(OrderedDict((name, ConvNormAct(conv)) for name, conv in plan.convs()))
        self.residual = plan.residual

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, in, h, w) to (n, out, h/s, w/s)."""
        y: Tensor = super().forward(x)  # type: ignore[no-untyped-call]
        return x + y if self.residual else y


class Stage(nn.Sequential):
    """The blocks of one row of the table; the first of them has the stride."""

    def __init__(self, plan: StagePlan):
        super().__init__(*(InvertedResidual(block) for block in plan.blocks))
