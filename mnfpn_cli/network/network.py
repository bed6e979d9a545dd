"""The plan as torch modules: build a network, and initialise its weights."""

from collections import OrderedDict
from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812 - as torch's documentation names it
from torch import Tensor, nn

from mnfpn_cli.errors import Problem, UsageError
from mnfpn_cli.plan.backbone import BlockPlan, StagePlan
from mnfpn_cli.plan.layers import Activation, ConvPlan, LinearPlan
from mnfpn_cli.plan.network import ClassifierPlan, HeadPlan, LevelClassifiersPlan, NetworkPlan, plan_network
from mnfpn_cli.plan.pyramid import ExtraPlan, LevelPlan, PyramidPlan, SeparablePlan
from mnfpn_cli.settings.network import NetworkSettings


class ConvNormAct(nn.Sequential):
    """A convolution, then batch norm and an activation where the plan has them: (n, in, h, w) to (n, out, h/s, w/s)."""

    def __init__(self, plan: ConvPlan):
        layers: OrderedDict[str, nn.Module] = OrderedDict(conv=conv2d(plan))
        if plan.norm:
            layers["norm"] = nn.BatchNorm2d(plan.out_channels)
        if plan.activation:
            layers["act"] = activation(plan.activation)
        super().__init__(layers)


class SeparableConv(nn.Sequential):
    """A depthwise 3×3 convolution, then a 1×1: (n, in, h, w) to (n, out, h/s, w/s)."""

    def __init__(self, plan: SeparablePlan):
        super().__init__(OrderedDict(depthwise=conv2d(plan.depthwise), pointwise=conv2d(plan.pointwise)))


def conv2d(plan: ConvPlan) -> nn.Conv2d:
    """Build a convolution without norm and activation, padded so that only the stride changes the size."""
    return nn.Conv2d(
        plan.in_channels,
        plan.out_channels,
        plan.kernel,
        stride=plan.stride,
        padding=plan.kernel // 2,
        groups=plan.groups,
        bias=plan.bias,
    )


def pyramid_conv(plan: ConvPlan | SeparablePlan) -> nn.Module:
    """Build a convolution of the pyramid, which has no norm and no activation."""
    return SeparableConv(plan) if isinstance(plan, SeparablePlan) else conv2d(plan)


def activation(name: Activation) -> nn.Module:
    """Build an activation that works in place."""
    return nn.ReLU6(inplace=True) if name == "relu6" else nn.ReLU(inplace=True)


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


class Pyramid(nn.Module):
    """Laterals on the taps, the top-down path, smoothing, and extra levels."""

    def __init__(self, plan: PyramidPlan):
        super().__init__()
        self.lateral = nn.ModuleDict({level.name: lateral(level) for level in plan.levels})
        self.smoothing = {level.name: plan.smoothing(level) for level in plan.levels if level.smooth}
        layers = {self.smoothing[level.name]: level.smooth for level in plan.levels if level.smooth}
        self.smooth = nn.ModuleDict({name: pyramid_conv(layer) for name, layer in layers.items()})
        extra = {level.name: extra_level(level) for level in plan.extra}
        self.extra = nn.ModuleDict(extra) if extra else None
        self.channels, self.upsample, self.merge = plan.channels, plan.upsample, plan.merge
        self.extra_on_tap, self.extra_relu = plan.extra_stage is not None, plan.extra_relu

    def forward(self, taps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Map taps (n, c_k, h/2^k, w/2^k), finest first, to levels (n, channels, h/2^k, w/2^k), extra levels last."""
        # (n, channels, h/2^k, w/2^k) each
        maps = [lateral(tap) for lateral, tap in zip(self.lateral.values(), taps, strict=True)]
        for k in reversed(range(len(maps) - 1)):
            maps[k] = self._merge(maps[k], self._resize(maps[k + 1], maps[k]))  # (n, merged, h/2^k, w/2^k)
        # (n, channels, h/2^k, w/2^k) each
        levels = [self._smooth(name, x) for name, x in zip(self.lateral, maps, strict=True)]
        x = taps[-1] if self.extra_on_tap else levels[-1]
        for index, layer in enumerate(self.extra.values() if self.extra else ()):
            x = layer(F.relu(x) if index and self.extra_relu else x)  # (n, channels, h/2^(k+1), w/2^(k+1))
            levels.append(x)
        return tuple(levels)

    def _merge(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """Add or concatenate maps: (n, c, h, w) and (n, d, h, w) to (n, c, h, w) or (n, c + d, h, w)."""
        return fine + coarse if self.merge == "add" else torch.cat((fine, coarse), dim=1)

    def _smooth(self, name: str, x: Tensor) -> Tensor:
        """Map (n, merged, h, w) to (n, channels, h, w); return a level without smoothing unchanged."""
        smoothed: Tensor = self.smooth[self.smoothing[name]](x) if name in self.smoothing else x
        return smoothed

    def _resize(self, coarse: Tensor, like: Tensor) -> Tensor:
        """Resize (n, c, h/2, w/2) to the size of a finer map (n, c, h, w); h/2 and w/2 were rounded up."""
        # Corners are not aligned: a pixel is an area, as in torchvision, detectron2 and OpenCV.
        align_corners = False if self.upsample == "bilinear" else None
        return F.interpolate(coarse, size=like.shape[-2:], mode=self.upsample, align_corners=align_corners)


def lateral(plan: LevelPlan) -> nn.Module:
    """Build a lateral, on a tap or its average: (n, c, h, w) to (n, channels, h, w) or (n, channels, 1, 1)."""
    conv = pyramid_conv(plan.lateral)
    return nn.Sequential(OrderedDict(pool=nn.AdaptiveAvgPool2d(1), conv=conv)) if plan.pooled else conv


def extra_level(plan: ExtraPlan) -> nn.Module:
    """Build the layer that computes an extra level from the map before it: (n, c, h, w) to (n, channels, h/2, w/2)."""
    return pyramid_conv(plan.layer) if plan.layer else nn.MaxPool2d(kernel_size=1, stride=2)


class Classifier(nn.Sequential):
    """A last convolution or none, average pooling, dropout, a dense layer: (n, c, h, w) to logits (n, classes)."""

    def __init__(self, plan: ClassifierPlan):
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        if plan.last:
            layers["last"] = ConvNormAct(plan.last) if plan.last.norm else conv2d(plan.last)
        layers["pool"] = nn.AdaptiveAvgPool2d(1)
        layers["dropout"] = nn.Dropout(plan.dropout)
        if isinstance(plan.dense, ConvPlan):
            layers.update(dense=conv2d(plan.dense), flatten=nn.Flatten())
        else:
            layers.update(flatten=nn.Flatten(), dense=linear(plan.dense))
        super().__init__(layers)


class LevelClassifiers(nn.Module):
    """A classifier on each level, and a dense layer over all: levels (n, c, h/2^k, w/2^k) to logits (n, classes)."""

    def __init__(self, plan: LevelClassifiersPlan):
        super().__init__()
        self.levels = nn.ModuleDict({name: level_classifier(plan, layer) for name, layer in plan.levels})
        self.final = linear(plan.final)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Map levels (n, c, h/2^k, w/2^k), finest first, to logits (n, classes)."""
        votes = [classify(x) for classify, x in zip(self.levels.values(), maps, strict=True)]  # (n, classes) each
        logits: Tensor = self.final(torch.cat(votes, dim=1))  # (n, levels × classes) to (n, classes)
        return logits


def level_classifier(plan: LevelClassifiersPlan, layer: LinearPlan) -> nn.Module:
    """Build the classifier of one level: flatten or average, dropout, dense layer, ReLU."""
    layers: OrderedDict[str, nn.Module] = OrderedDict(pool=nn.AdaptiveAvgPool2d(1)) if plan.pool else OrderedDict()
    dropout, dense, act = nn.Dropout(plan.dropout), linear(layer), nn.ReLU(inplace=True)
    layers.update(flatten=nn.Flatten(), dropout=dropout, dense=dense, act=act)
    return nn.Sequential(layers)


def linear(plan: LinearPlan) -> nn.Linear:
    """Build a dense layer."""
    return nn.Linear(plan.in_features, plan.out_features)


def head(plan: HeadPlan) -> Classifier | LevelClassifiers:
    """Build a head."""
    return Classifier(plan) if isinstance(plan, ClassifierPlan) else LevelClassifiers(plan)


class Network(nn.Module):
    """A backbone with a feature pyramid, a head, or both.

    All modules are registered: ``stem``, ``stages.3.0…``, ``pyramid.lateral.p3…``, ``head.dense``.

    Attributes:
        plan: the plan that the network was built from.
        tapped: the indices of the stages whose maps the pyramid takes, finest first.
        outputs: the names of the outputs: the levels, finest first, or ``logits``.
    """

    def __init__(self, plan: NetworkPlan):
        super().__init__()
        self.plan = plan
        self.stem = ConvNormAct(plan.backbone.stem)
        self.stem_pool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1) if plan.backbone.stem_pool else None
        self.stages = nn.ModuleList(Stage(stage) for stage in plan.backbone.stages)
        self.tapped = tuple(level.stage for level in plan.pyramid.levels) if plan.pyramid else ()
        self.pyramid = Pyramid(plan.pyramid) if plan.pyramid else None
        self.head = head(plan.head) if plan.head else None
        self.outputs = plan.outputs

    def forward(self, x: Tensor) -> tuple[Tensor, ...] | Tensor:
        """Map images (n, in_channels, h, w) to levels (n, channels, h/2^k, w/2^k) or logits (n, classes).

        Levels come finest first, their sides rounded up.
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
        logits: Tensor | None = self.head(maps) if self.head else None  # (n, classes)
        return maps if logits is None else logits


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


@torch.no_grad()
def initialise(network: Network, generator: torch.Generator) -> None:
    """Initialise every layer so that activations keep their scale in eval mode.

    * Backbone: normal, by fan-in (He et al. 2015, "Delving Deep into Rectifiers", section 2.2). torchvision's
      MobileNetV2 uses fan-out, which counts the channels of a depthwise layer as if they were summed. In eval
      mode without training, p5 is then near 1e-9 and deeper maps are denormal, which slows a CPU; no trained network
      does.
    * Pyramid: uniform, by fan-in with a = 1, biases zero, as in the FPN of Detectron and torchvision.
    * Dense layers: normal with standard deviation 0.01, biases zero, as in torchvision's MobileNetV2.
    """
    for name, module in network.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Conv2d):
            if name.startswith("pyramid."):
                nn.init.kaiming_uniform_(module.weight, a=1, generator=generator)
            else:
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
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
