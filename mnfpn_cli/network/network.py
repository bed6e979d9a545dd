"""The whole network: a MobileNetV2 backbone and the feature pyramid on its taps."""

from torch import Tensor, nn

from mnfpn_cli.network.backbone import Stage
from mnfpn_cli.network.layers import ConvNormAct
from mnfpn_cli.network.pyramid import Pyramid
from mnfpn_cli.plan.network import NetworkPlan


class Network(nn.Module):
    """A backbone with a feature pyramid.

    All of it is registered: ``stem``, ``stages.3.0…``, ``pyramid.lateral.p3…``.
    """

    def __init__(self, plan: NetworkPlan):
        super().__init__()
        self.stem = ConvNormAct(plan.backbone.stem)
        self.stages = nn.ModuleList(Stage(stage) for stage in plan.backbone.stages)
        self.pyramid = Pyramid(plan.pyramid)
        self.levels = tuple(level.name for level in plan.pyramid.levels)
        self.tapped = tuple(level.stage for level in plan.pyramid.levels)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Turn images (n, in_channels, h, w) into maps (n, channels, h/2^k, w/2^k), finest first, sides rounded up."""
        taps = []
        x = self.stem(x)  # (n, stem, h/2, w/2)
        for index, stage in enumerate(self.stages):
            x = stage(x)  # (n, c, h, w), or half the sides where the stage's stride is 2
            if index in self.tapped:
                taps.append(x)
        maps: tuple[Tensor, ...] = self.pyramid(taps)
        return maps
