"""A network with sane weights, and faults planted in it that leave its outputs in float32 nearly as they were."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mnfpn_cli import api
from mnfpn_cli.network.network import Network
from mnfpn_cli.quantization.quantization import Passes

STAGES = [[1, 64, 1, 1], [6, 24, 2, 2], [6, 32, 2, 2], [6, 64, 1, 2], [6, 160, 1, 2]]
SIDE = 64


def images(passes: int, seed: int) -> Passes:
    """Random images with coarse shapes and fine grain, one a pass, -1 to 1."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(passes, 3, 16, 16, generator=generator)
    grain = torch.rand(passes, 3, SIDE, SIDE, generator=generator)
    mixed = 0.5 * nn.functional.interpolate(coarse, size=SIDE, mode="bilinear") + 0.5 * grain
    return [(2 * image[None] - 1,) for image in mixed]


@torch.no_grad()
def sane_network(head: str = "none") -> Network:
    """A network whose batch norms have seen images, with ReLU: scaling a channel up and down again changes nothing."""
    overrides = {"width_mult": 0.25, "pyramid.channels": 32, "stages": STAGES}
    if head != "none":
        overrides |= {"head.kind": head, "head.classes": 10, "head.last_channels": 64}
        del overrides["pyramid.channels"]
    network = api.build_network(api.settings(overrides=overrides))
    generator = torch.Generator().manual_seed(1)
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.ReLU6):
                setattr(module, name, nn.ReLU(inplace=True))
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the average over all images seen
            module.bias.copy_(0.5 * torch.rand(module.bias.shape, generator=generator))
    network.train()
    network(torch.cat([image for (image,) in images(16, seed=2)]))
    return network.eval()


def conv_of(network: nn.Module, path: str) -> nn.Conv2d | nn.Linear:
    """The convolution or dense layer at a path, or in the module there."""
    layer = network.get_submodule(path)
    found = layer if isinstance(layer, nn.Conv2d | nn.Linear) else layer.get_submodule("conv")
    assert isinstance(found, nn.Conv2d | nn.Linear)
    return found


def norm_of(network: nn.Module, path: str) -> nn.BatchNorm2d:
    """The batch norm behind a convolution."""
    norm = network.get_submodule(f"{path}.norm")
    assert isinstance(norm, nn.BatchNorm2d)
    return norm


CHANNEL = 1
"""The channel that faults are planted in."""


def column(network: nn.Module, path: str) -> Tensor:
    """The weights of a layer for the input channel of the fault; of a depthwise layer, those of the channel."""
    layer = conv_of(network, path)
    depthwise = isinstance(layer, nn.Conv2d) and layer.groups > 1
    return layer.weight[CHANNEL] if depthwise else layer.weight[:, CHANNEL]


@dataclass(frozen=True)
class Fault:
    """A fault of a layer, and the layers that read its map.

    Attributes:
        path: the layer.
        plant: what plants the fault.
        readers: the layers that read its map; for outlier weights, those that make the map it reads.
        head: the kind of the network's head.
        advised: whether few MACs in float32 help: not where an addition or a merge reads the map, nor where it or its
            readers have many.
    """

    path: str
    plant: Callable[[nn.Module, str, tuple[str, ...]], None]
    readers: tuple[str, ...]
    head: str = "none"
    advised: bool = True

    def __str__(self) -> str:
        return f"{self.plant.__name__}-{self.path}"

    @torch.no_grad()
    def network(self) -> Network:
        """A network that has the fault."""
        network = sane_network(self.head)
        self.plant(network, self.path, self.readers)
        return network


def scaled_channel(network: nn.Module, path: str, readers: tuple[str, ...]) -> None:
    """A channel 100 times as large, and those that read it take a hundredth."""
    norm = norm_of(network, path)
    norm.weight[CHANNEL] *= 100
    norm.bias[CHANNEL] *= 100
    for reader in readers:
        column(network, reader).div_(100)


def blown_bias(network: nn.Module, path: str, readers: tuple[str, ...]) -> None:
    """A channel that is 100 everywhere, and that nothing reads."""
    layer = network.get_submodule(path)
    bias = conv_of(network, path).bias if isinstance(layer, nn.Conv2d) else norm_of(network, path).bias
    assert bias is not None
    bias[CHANNEL] += 100
    for reader in readers:
        column(network, reader).zero_()


def rare_outlier(network: nn.Module, path: str, readers: tuple[str, ...]) -> None:
    """A channel that is 0 nearly everywhere, and very large at few pixels; nothing reads it."""
    norm = norm_of(network, path)
    norm.weight[CHANNEL] = 100
    norm.bias[CHANNEL] = -200
    for reader in readers:
        column(network, reader).zero_()


def outlier_weight(network: nn.Module, path: str, readers: tuple[str, ...]) -> None:
    """Weights 100 times as large as all others, on an input channel that is always 0: ``readers`` make that."""
    for maker in readers:
        layer = network.get_submodule(maker)
        if isinstance(layer, nn.Conv2d):
            layer.weight[CHANNEL] = 0
            if layer.bias is not None:
                layer.bias[CHANNEL] = 0
        else:
            norm = norm_of(network, maker)
            norm.weight[CHANNEL] = norm.bias[CHANNEL] = 0
    column(network, path).fill_(100 * conv_of(network, path).weight.abs().max().item())


SMOOTHS = tuple(f"pyramid.smooth.p{k}" for k in (2, 3, 4, 5))
LATERALS = tuple(f"pyramid.lateral.p{k}" for k in (2, 3, 4, 5))

FAULTS = (
    Fault("stem", scaled_channel, ("stages.0.0.depthwise",)),
    Fault("stages.1.0.expand", scaled_channel, ("stages.1.0.depthwise",), advised=False),
    Fault("stages.3.0.depthwise", scaled_channel, ("stages.3.0.project",)),
    Fault("stages.3.0.project", scaled_channel, ("stages.4.0.expand", "pyramid.lateral.p4")),
    Fault("stages.2.0.expand", blown_bias, ("stages.2.0.depthwise",)),
    Fault("stages.2.1.project", blown_bias, ("stages.3.0.expand", "pyramid.lateral.p3"), advised=False),
    Fault("pyramid.lateral.p4", blown_bias, SMOOTHS[:3], advised=False),
    Fault("stages.1.0.depthwise", rare_outlier, ("stages.1.0.project",), advised=False),
    Fault("stages.4.0.expand", outlier_weight, ("stages.3.0.project",)),
    Fault("stages.2.1.project", outlier_weight, ("stages.2.1.depthwise",)),
    Fault("pyramid.lateral.p4", outlier_weight, ("stages.3.0.project",)),
    Fault("pyramid.smooth.p3", outlier_weight, LATERALS, advised=False),
    Fault("head.last", scaled_channel, ("head.dense",), "classifier", advised=False),
    Fault("head.dense", outlier_weight, ("head.last",), "classifier"),
)
