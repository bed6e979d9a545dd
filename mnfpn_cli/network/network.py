"""The plan made of torch modules: the network, and how it is built and initialised."""

from collections import OrderedDict
from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor, nn

from mnfpn_cli.errors import Problem, UsageError
from mnfpn_cli.plan.backbone import BlockPlan, StagePlan
from mnfpn_cli.plan.layers import Activation, ConvPlan, LinearPlan
from mnfpn_cli.plan.network import ClassifierPlan, HeadPlan, LevelClassifiersPlan, NetworkPlan, plan_network
from mnfpn_cli.plan.pyramid import ExtraPlan, LevelPlan, PyramidPlan, SeparablePlan
from mnfpn_cli.settings.network import NetworkSettings


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


class InvertedResidual(nn.Sequential):
    """Expand, filter depthwise, project; the input is added where the plan says so."""

    def __init__(self, plan: BlockPlan):
        super().__init__(OrderedDict((name, ConvNormAct(conv)) for name, conv in plan.layers))
        self.residual = plan.residual

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, in, h, w) to (n, out, h/s, w/s)."""
        y: Tensor = super().forward(x)  # type: ignore[no-untyped-call]  # (n, out, h/s, w/s)
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
        z: Tensor = self.act(y + (self.shortcut(x) if self.shortcut else x))  # the same shape
        return z


class Stage(nn.Sequential):
    """Blocks in a row; the first of them has the stride."""

    def __init__(self, plan: StagePlan):
        super().__init__(*(block(one) for one in plan.blocks))


def block(plan: BlockPlan) -> nn.Module:
    """The block of a plan."""
    return Bottleneck(plan) if plan.is_bottleneck else InvertedResidual(plan)


class Pyramid(nn.Module):
    """Laterals on the taps, the top-down path, smoothing, and extra levels."""

    def __init__(self, plan: PyramidPlan):
        super().__init__()
        self.lateral = nn.ModuleDict({level.name: lateral(level) for level in plan.levels})
        self.smoothing = {level.name: plan.smoothing(level) for level in plan.levels if level.smooth}
        layers = {self.smoothing[level.name]: level.smooth for level in plan.levels if level.smooth}
        self.smooth = nn.ModuleDict({name: bare(layer) for name, layer in layers.items()})
        extra = {extra.name: halving(extra) for extra in plan.extra}
        self.extra = nn.ModuleDict(extra) if extra else None
        self.channels, self.upsample, self.merge = plan.channels, plan.upsample, plan.merge
        self.extra_on_tap, self.extra_relu = plan.extra_stage is not None, plan.extra_relu

    def forward(self, taps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Turn taps (n, c_k, h/2^k, w/2^k), finest first, into maps (n, channels, h/2^k, w/2^k) in that order."""
        # (n, channels, h/2^k, w/2^k) each
        maps = [lateral(tap) for lateral, tap in zip(self.lateral.values(), taps, strict=True)]
        for k in reversed(range(len(maps) - 1)):
            maps[k] = self._merge(maps[k], self._resize(maps[k + 1], maps[k]))  # (n, merged, h/2^k, w/2^k)
        # (n, channels, h/2^k, w/2^k) each
        levels = [self._smooth(name, x) for name, x in zip(self.lateral, maps, strict=True)]
        x = taps[-1] if self.extra_on_tap else levels[-1]
        for index, halve in enumerate(self.extra.values() if self.extra else ()):
            x = halve(F.relu(x) if index and self.extra_relu else x)  # (n, channels, h/2^k, w/2^k), k one more
            levels.append(x)
        return tuple(levels)

    def _merge(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """Add the maps, or join their channels: (n, c, h, w) and (n, d, h, w) to (n, c, h, w) or (n, c + d, h, w)."""
        return fine + coarse if self.merge == "add" else torch.cat((fine, coarse), dim=1)

    def _smooth(self, name: str, x: Tensor) -> Tensor:
        """Smooth (n, merged, h, w) to (n, channels, h, w); a level that is not smoothed stays as it is."""
        smoothed: Tensor = self.smooth[self.smoothing[name]](x) if name in self.smoothing else x
        return smoothed

    def _resize(self, coarse: Tensor, like: Tensor) -> Tensor:
        """Resize (n, c, h/2, w/2) to the exact size (n, c, h, w) of a finer map: twice as large, less one where odd."""
        # Corners are not aligned: pixels are areas, as in torchvision, detectron2 and OpenCV.
        align_corners = False if self.upsample == "bilinear" else None
        return F.interpolate(coarse, size=like.shape[-2:], mode=self.upsample, align_corners=align_corners)


def lateral(plan: LevelPlan) -> nn.Module:
    """The 1×1 convolution on a tap, or on its average: (n, c, h, w) to (n, channels, h, w) or (n, channels, 1, 1)."""
    conv = bare(plan.lateral)
    return nn.Sequential(OrderedDict(pool=nn.AdaptiveAvgPool2d(1), conv=conv)) if plan.pooled else conv


def halving(plan: ExtraPlan) -> nn.Module:
    """What makes an extra level of the one before: (n, c, h, w) to (n, channels, h/2, w/2)."""
    return bare(plan.layer) if plan.layer else nn.MaxPool2d(kernel_size=1, stride=2)


class Classifier(nn.Sequential):
    """A last convolution, average pooling, dropout, and a dense layer: (n, c, h, w) to logits (n, classes)."""

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
    """A classifier on each level, and a dense layer over all: maps (n, c, h/2^k, w/2^k) to logits (n, classes)."""

    def __init__(self, plan: LevelClassifiersPlan):
        super().__init__()
        self.levels = nn.ModuleDict({name: level_classifier(plan, layer) for name, layer in plan.levels})
        self.final = linear(plan.final)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Turn maps (n, c, h/2^k, w/2^k), finest first, into logits (n, classes)."""
        votes = [classify(x) for classify, x in zip(self.levels.values(), maps, strict=True)]  # (n, classes) each
        logits: Tensor = self.final(torch.cat(votes, dim=1))  # (n, levels × classes) to (n, classes)
        return logits


def level_classifier(plan: LevelClassifiersPlan, layer: LinearPlan) -> nn.Module:
    """One level's: the map flattened, or averaged, then dropout, a dense layer and ReLU."""
    layers: OrderedDict[str, nn.Module] = OrderedDict(pool=nn.AdaptiveAvgPool2d(1)) if plan.pool else OrderedDict()
    dropout, dense, act = nn.Dropout(plan.dropout), linear(layer), nn.ReLU(inplace=True)
    layers.update(flatten=nn.Flatten(), dropout=dropout, dense=dense, act=act)
    return nn.Sequential(layers)


def linear(plan: LinearPlan) -> nn.Linear:
    """The dense layer of a plan."""
    return nn.Linear(plan.in_features, plan.out_features)


def head(plan: HeadPlan) -> Classifier | LevelClassifiers:
    """The head of a plan."""
    return Classifier(plan) if isinstance(plan, ClassifierPlan) else LevelClassifiers(plan)


class Network(nn.Module):
    """A backbone with a feature pyramid, a head, or both.

    All of it is registered: ``stem``, ``stages.3.0…``, ``pyramid.lateral.p3…``, ``head.dense``. ``plan`` is what
    it is made of, and ``outputs`` names what comes out: the levels, finest first, or the logits.
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
        maps: tuple[Tensor, ...] | Tensor = (
            self.pyramid(taps) if self.pyramid else x
        )  # (n, channels, h/2^k, w/2^k) each
        logits: Tensor | None = self.head(maps) if self.head else None  # (n, classes)
        return maps if logits is None else logits


def build_network(settings: NetworkSettings, seed: int = 0) -> Network:
    """A network on the CPU in float32 and eval mode; the same weights for the same settings and seed, every time."""
    return build_planned(plan_network(settings), seed)


def build_planned(plan: NetworkPlan, seed: int) -> Network:
    """The same from a plan that was made already."""
    with torch.random.fork_rng(devices=[]):  # torch's modules initialise themselves, from the global generator
        network = Network(plan).eval()
    initialise(network, torch.Generator().manual_seed(seed))
    return network


def build_meta(plan: NetworkPlan) -> Network:
    """A network on the meta device, in eval mode: it knows every shape and holds no weights."""
    with torch.device("meta"):
        return Network(plan).eval()


@torch.no_grad()
def initialise(network: Network, generator: torch.Generator) -> None:
    """Initialise every layer so that activations keep their scale in eval mode.

    Backbone: He et al. 2015 ("Delving Deep into Rectifiers", section 2.2), normal, by fan-in. torchvision's
    MobileNetV2 goes by fan-out, which counts a depthwise layer's channels as if they were summed: untrained and in
    eval mode its p5 comes out near 1e-9, and deeper ones denormal, which slows a CPU as no trained network does.
    Pyramid: uniform by fan-in with a = 1, biases zero, as Detectron's and torchvision's FPN. Dense layers: normal with
    0.01, biases zero, as torchvision's MobileNetV2.
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
    """The levels of a network by name, as RetinaNet, FCOS and Faster R-CNN of torchvision take them.

    ``out_channels`` is what they ask of a backbone. The network is registered as ``network``, so the keys of its own
    state dict are those of this one without that prefix.

    Raises:
        UsageError: where the network has a head, which gives logits instead of levels.
    """

    def __init__(self, network: Network):
        super().__init__()
        if not network.pyramid or network.head:
            got = f"a network that ends in {' and '.join(network.outputs)}"
            raise UsageError(Problem("head.kind", "must be 'none' for a detector, which takes a pyramid's levels", got))
        self.out_channels = network.pyramid.channels
        self.network = network

    def forward(self, x: Tensor) -> OrderedDict[str, Tensor]:
        """Turn images (n, in_channels, h, w) into ``{"p3": (n, out_channels, h/8, w/8), …}``, finest first."""
        return OrderedDict(zip(self.network.outputs, self.network(x), strict=True))
