"""A network as torchvision's detectors take a backbone."""

from collections import OrderedDict

from torch import Tensor, nn

from mnfpn_cli.errors import UsageError
from mnfpn_cli.network.network import Network


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
            raise UsageError(f"head.kind: must be 'none' for a detector, which takes a pyramid's levels, got {got}")
        self.out_channels = network.pyramid.channels
        self.network = network

    def forward(self, x: Tensor) -> OrderedDict[str, Tensor]:
        """Turn images (n, in_channels, h, w) into ``{"p3": (n, out_channels, h/8, w/8), …}``, finest first."""
        return OrderedDict(zip(self.network.outputs, self.network(x), strict=True))
