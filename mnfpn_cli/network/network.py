"""The whole network: a backbone, and the feature pyramid, the head, or both, on its maps."""

from torch import Tensor, nn

from mnfpn_cli.network.backbone import Stage
from mnfpn_cli.network.head import head
from mnfpn_cli.network.layers import ConvNormAct
from mnfpn_cli.network.pyramid import Pyramid
from mnfpn_cli.plan.network import NetworkPlan


class Network(nn.Module):
    """A backbone with a feature pyramid, a head, or both.

    All of it is registered: ``stem``, ``stages.3.0…``, ``pyramid.lateral.p3…``, ``head.dense``. ``outputs`` names what
    comes out: the levels, finest first, or the logits.
    """

    def __init__(self, plan: NetworkPlan):
        super().__init__()
        self.stem = ConvNormAct(plan.backbone.stem)
        self.stem_pool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1) if plan.backbone.stem_pool else None
        self.stages = nn.ModuleList(Stage(stage) for stage in plan.backbone.stages)
        self.tapped = tuple(level.stage for level in plan.pyramid.levels) if plan.pyramid else ()
        self.pyramid = Pyramid(plan.pyramid) if plan.pyramid else None
        self.head = head(plan.head) if plan.head else None
        self.outputs = plan.outputs

    def forward(self, x: Tensor) -> tuple[Tensor, ...] | Tensor:
        """Turn images (n, in_channels, h, w) into maps (n, channels, h/2^k, w/2^k) or logits (n, classes).

        Maps come finest first, their sides rounded up.
        """
        taps = []
        x = self.stem(x)  # (n, stem, h/2, w/2)
        if self.stem_pool:
            x = self.stem_pool(x)  # (n, stem, h/4, w/4)
        for index, stage in enumerate(self.stages):
            x = stage(x)  # (n, c, h, w), or half the sides where the stage's stride is 2
            if index in self.tapped:
                taps.append(x)
        maps: tuple[Tensor, ...] | Tensor = self.pyramid(taps) if self.pyramid else x
        logits: Tensor | None = self.head(maps) if self.head else None
        return maps if logits is None else logits
