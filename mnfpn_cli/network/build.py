"""Build networks: on the meta device (shapes without memory), from a seed, as torchvision's detectors take them."""

from collections import OrderedDict

import torch
from torch import Tensor, nn

from mnfpn_cli.errors import Problem, UsageError
from mnfpn_cli.network.network import Network
from mnfpn_cli.plan.network import NetworkPlan, plan_network
from mnfpn_cli.settings.network import NetworkSettings


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
