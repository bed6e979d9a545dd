"""The plan as torch modules: build a network, and initialise its weights."""

import math
from collections import OrderedDict

import torch
from torch import Tensor, nn

from mnfpn_cli.errors import Problem, UsageError
from mnfpn_cli.network.heads import build_head
from mnfpn_cli.network.layers import ConvNormAct, SamePad, activation
from mnfpn_cli.network.pyramid import Pyramid
from mnfpn_cli.plan.backbone import BlockPlan, StagePlan
from mnfpn_cli.plan.heads import CLASSES, DETECTOR_OUTPUTS, DensePlan
from mnfpn_cli.plan.network import NetworkPlan, plan_network
from mnfpn_cli.settings.network import NetworkSettings


class InvertedResidual(nn.Sequential):
    """Expand, convolve depthwise, project, and add the input where the plan has a residual."""

    def __init__(self, plan: BlockPlan):
        super().__init__(OrderedDict((name, ConvNormAct(conv)) for name, conv in plan.layers))
        self.residual = plan.residual

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, in, h, w) to (n, out, h/s, w/s)."""
        y: Tensor = super().forward(x)  # type: ignore[no-untyped-call]  # (n, out, h/s, w/s)
        return x + y if self.residual else y


class Bottleneck(nn.Module):
    """Reduce, convolve 3×3, restore, add the input or its shortcut, and activate."""

    def __init__(self, plan: BlockPlan):
        super().__init__()
        self.reduce, self.spatial, self.restore = (ConvNormAct(conv) for _, conv in plan.layers)
        self.shortcut = ConvNormAct(plan.shortcut) if plan.shortcut else None
        self.act = activation(plan.activation or "relu")

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, in, h, w) to (n, out, h/s, w/s)."""
        y = self.restore(self.spatial(self.reduce(x)))  # (n, out, h/s, w/s)
        z: Tensor = self.act(y + (self.shortcut(x) if self.shortcut else x))  # the same shape
        return z


class Stage(nn.Sequential):
    """The blocks of a stage, in order; the first one has the stride."""

    def __init__(self, plan: StagePlan):
        super().__init__(*map(block, plan.blocks))


def block(plan: BlockPlan) -> nn.Module:
    """Build a block."""
    return Bottleneck(plan) if plan.is_bottleneck else InvertedResidual(plan)


def stem_pool(same: bool) -> nn.Module:
    """Build the max-pooling behind a ResNet's stem: (n, c, h, w) to (n, c, h/2, w/2)."""
    if not same:
        return nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
    return nn.Sequential(OrderedDict(pad=SamePad(3, float("-inf")), pool=nn.MaxPool2d(kernel_size=3, stride=2)))


class Network(nn.Module):
    """A backbone with a feature pyramid, a head, or both.

    All modules are registered: ``stem``, ``stages.3.0…``, ``pyramid.lateral.p3…``, ``head.dense``.

    Attributes:
        plan: the plan that the network was built from.
        tapped: the indices of the stages whose maps the pyramid takes, finest first.
        outputs: the names of the outputs: the levels, finest first, ``logits``, or those of a detector.
    """

    def __init__(self, plan: NetworkPlan):
        super().__init__()
        self.plan = plan
        self.stem = ConvNormAct(plan.backbone.stem)
        self.stem_pool = stem_pool(plan.backbone.same) if plan.backbone.stem_pool else None
        self.stages = nn.ModuleList(Stage(stage) for stage in plan.backbone.stages)
        self.tapped = tuple(level.stage for level in plan.pyramid.levels) if plan.pyramid else ()
        self.pyramid = Pyramid(plan.pyramid) if plan.pyramid else None
        self.head = build_head(plan.head) if plan.head else None
        self.outputs = plan.outputs
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d | nn.GroupNorm):
                module.eps = plan.norm_eps

    def forward(self, x: Tensor) -> tuple[Tensor, ...] | Tensor:
        """Map images (n, in_channels, h, w) to levels (n, channels, h/2^k, w/2^k), or to what the head returns.

        Levels come finest first, their sides rounded up. A classifier returns logits (n, classes), a detector outputs
        (n, all anchors, values).
        """
        taps = []
        x = self.stem(x)  # (n, stem, h/2, w/2)
        if self.stem_pool:
            x = self.stem_pool(x)  # (n, stem, h/4, w/4)
        for index, stage in enumerate(self.stages):
            x = stage(x)  # (n, c, h, w), or (n, c, h/2, w/2) where the stage has stride 2
            if index in self.tapped:
                taps.append(x)
        # (n, channels, h/2^k, w/2^k) each
        maps: tuple[Tensor, ...] | Tensor = self.pyramid(taps) if self.pyramid else x
        return self.head(maps) if self.head else maps


def build_network(settings: NetworkSettings, seed: int = 0) -> Network:
    """Build a network on the CPU, in float32 and eval mode; the settings and the seed determine its weights."""
    return build_planned(plan_network(settings), seed)


def build_planned(plan: NetworkPlan, seed: int) -> Network:
    """Build a network from its plan, as `build_network` does from settings."""
    with torch.random.fork_rng(devices=[]):  # torch initialises each module from the global generator
        network = Network(plan).eval()
    initialise(network, torch.Generator().manual_seed(seed))
    return network


def build_meta(plan: NetworkPlan) -> Network:
    """Build a network on the meta device, in eval mode: it has all shapes and no values."""
    with torch.device("meta"):
        return Network(plan).eval()


FOCAL_PRIOR = -math.log((1 - 0.01) / 0.01)
"""The bias at which a sigmoid gives 0.01."""


@torch.no_grad()
def initialise(network: Network, generator: torch.Generator) -> None:
    """Initialise every layer so that activations keep their scale in eval mode.

    * Backbone: normal, by fan-in (He et al. 2015, "Delving Deep into Rectifiers", section 2.2). torchvision's
      MobileNetV2 uses fan-out, which counts the channels of a depthwise layer as if they were summed. In eval
      mode without training, p5 is then near 1e-9 and deeper maps are denormal, which slows a CPU; no trained network
      does.
    * The last convolutions of a detector: normal with standard deviation 0.01, biases zero, but for those of RetinaNet
      and FCOS's classes: there every score begins at 0.01 (Lin et al. 2017, "Focal Loss for Dense Object Detection",
      section 4.1).
    * Pyramid: uniform, by fan-in with a = 1, biases zero, as in the FPN of Detectron and torchvision.
    * Dense layers: normal with standard deviation 0.01, biases zero, as in torchvision's MobileNetV2.
    """
    head = network.plan.head
    focal = isinstance(head, DensePlan) and head.kind in ("retinanet", "fcos")
    for name, module in network.named_modules():
        if isinstance(module, nn.BatchNorm2d | nn.GroupNorm):
            if isinstance(module, nn.BatchNorm2d):
                module.reset_running_stats()
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Conv2d):
            output = next((output for output in DETECTOR_OUTPUTS if f".{output}" in name), None)
            if output and not name.endswith(".depthwise"):
                nn.init.normal_(module.weight, std=0.01, generator=generator)
            elif name.startswith("pyramid."):
                nn.init.kaiming_uniform_(module.weight, a=1, generator=generator)
            else:
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=generator)
            if module.bias is not None:
                nn.init.constant_(module.bias, FOCAL_PRIOR if output == CLASSES and focal else 0.0)
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.01, generator=generator)
            nn.init.zeros_(module.bias)


class DetectorBackbone(nn.Module):
    """A network whose levels are returned by name, as RetinaNet, FCOS and Faster R-CNN of torchvision require.

    The network is registered as ``network``, so the keys of its state dict have this prefix here.

    Attributes:
        out_channels: the channels of every level, which the detectors read.

    Raises:
        UsageError: where the network has a head, which returns logits instead of levels.
    """

    def __init__(self, network: Network):
        super().__init__()
        if not network.pyramid or network.head:
            got = f"a network that returns {' and '.join(network.outputs)}"
            raise UsageError(
                Problem("head.kind", "must be 'none' for a detector, which takes the levels of a pyramid", got)
            )
        self.out_channels = network.pyramid.channels
        self.network = network

    def forward(self, x: Tensor) -> OrderedDict[str, Tensor]:
        """Map images (n, in_channels, h, w) to ``{"p3": (n, out_channels, h/8, w/8), …}``, finest first."""
        return OrderedDict(zip(self.network.outputs, self.network(x), strict=True))
