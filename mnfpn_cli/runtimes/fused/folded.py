"""Convolutions with batch norm folded into them, and what follows them done in the same pass where torch can.

Folding: Jacob et al. 2018, "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
Inference", section 3.2.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor, nn

from mnfpn_cli.network.network import ConvNormAct
from mnfpn_cli.plan.layers import Activation

# oneDNN's convolutions as torch's own compiler calls them: private, so they are looked up, and done without elsewhere.
ONEDNN = ("_reorder_convolution_weight", "_convolution_pointwise", "_convolution_pointwise_")
ATTRIBUTES: dict[Activation | None, tuple[str, list[float]]] = {
    None: ("none", []),
    "relu": ("relu", []),
    "relu6": ("hardtanh", [0.0, 6.0]),
}


@dataclass(frozen=True)
class Savings:
    """What is saved besides folding; each needs float32 on a CPU.

    Attributes:
        packed: weights are put into oneDNN's order once, not in each pass; activations are part of convolutions.
        added: sums are part of the convolution before them; needs ``packed``.
        early: a level is smoothed before it is resized, where that is less work.
    """

    packed: bool = False
    added: bool = False
    early: bool = False


@dataclass(frozen=True)
class Folded:
    """A convolution with all that is linear behind it folded in, in float64, and the activation that is not."""

    weight: Tensor
    bias: Tensor | None
    stride: int
    groups: int
    activation: Activation | None = None


def fold(layer: ConvNormAct | nn.Conv2d) -> Folded:
    """Fold a layer's batch norm, as it is in eval mode, into its convolution."""
    conv, norm, act = parts(layer)
    weight = conv.weight.detach().double()
    bias = None if conv.bias is None else conv.bias.detach().double()
    if norm is not None:
        mean, variance = norm.running_mean, norm.running_var
        assert mean is not None
        assert variance is not None  # ours all track them
        scale = norm.weight.detach().double() / torch.sqrt(variance.double() + norm.eps)
        centred = -mean.double() if bias is None else bias - mean.double()
        weight, bias = weight * scale[:, None, None, None], centred * scale + norm.bias.detach().double()
    return Folded(weight, bias, conv.stride[0], conv.groups, activation_of(act))


def parts(layer: ConvNormAct | nn.Conv2d) -> tuple[nn.Conv2d, nn.BatchNorm2d | None, nn.Module | None]:
    """The convolution, the batch norm and the activation of a layer."""
    if isinstance(layer, nn.Conv2d):
        return layer, None, None
    named = dict(layer.named_children())
    conv, norm = named["conv"], named.get("norm")
    assert isinstance(conv, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d | None)
    return conv, norm, named.get("act")


def activation_of(module: nn.Module | None) -> Activation | None:
    """The name of an activation."""
    if module is None:
        return None
    return "relu6" if isinstance(module, nn.ReLU6) else "relu"


class FoldedConv(nn.Module):
    """A folded convolution: (n, in, h, w) to (n, out, h/s, w/s), a map of that shape added before the activation."""

    def __init__(self, folded: Folded, savings: Savings):
        super().__init__()
        self.bias: Tensor | None
        self.weight = nn.Buffer(folded.weight)
        self.register_buffer("bias", folded.bias)
        self.stride, self.groups, self.activation = folded.stride, folded.groups, folded.activation
        self.padding = folded.weight.shape[-1] // 2
        self.savings = savings
        self.packed: Tensor | None = None

    def forward(self, x: Tensor, added: Tensor | None = None, overwrite: bool = False) -> Tensor:
        """Convolve, add and activate; ``overwrite`` says that ``added`` is not needed any more."""
        if not self.savings.packed:
            y = F.conv2d(x, self.weight, self.bias, self.stride, self.padding, groups=self.groups)
            return self._activate(y if added is None else y.add_(added))
        if self.packed is None:  # oneDNN's best order depends on the size of the map, which the first pass tells
            self.packed = pack(self.weight, self.padding, self.stride, self.groups, x.shape)
        attribute = ATTRIBUTES[self.activation]
        if added is None:
            return self._convolve(x, *attribute)
        if self.savings.added and self.activation != "relu6":  # which oneDNN has not behind a sum, nor do our networks
            return self._convolve_onto(x, added, overwrite)
        return self._activate(self._convolve(x, *ATTRIBUTES[None]).add_(added))

    def _activate(self, y: Tensor) -> Tensor:
        if self.activation is None:
            return y
        return F.relu_(y) if self.activation == "relu" else F.hardtanh_(y, 0.0, 6.0)

    def _convolve(self, x: Tensor, attribute: str, scalars: list[float]) -> Tensor:
        y: Tensor = torch.ops.mkldnn._convolution_pointwise(
            x, self.packed, self.bias, *self._geometry(), attribute, scalars, ""
        )
        return y

    def _convolve_onto(self, x: Tensor, added: Tensor, overwrite: bool) -> Tensor:
        rest = (self.packed, self.bias, *self._geometry(), "add", 1.0, self.activation, list[float](), None)
        if overwrite:
            y: Tensor = torch.ops.mkldnn._convolution_pointwise_.binary(added, x, *rest)
        else:
            y = torch.ops.mkldnn._convolution_pointwise.binary(x, added, *rest)
        return y

    def _geometry(self) -> tuple[list[int], list[int], list[int], int]:
        return [self.padding] * 2, [self.stride] * 2, [1, 1], self.groups


def pack(weight: Tensor, padding: int, stride: int, groups: int, input: torch.Size) -> Tensor:
    """The weight in the order in memory that oneDNN likes best for a map of the shape of the input."""
    order = torch.ops.mkldnn._reorder_convolution_weight
    packed: Tensor = order(weight, [padding] * 2, [stride] * 2, [1, 1], groups, list(input))
    return packed


def can_pack() -> bool:
    """Whether this torch has oneDNN's convolutions."""
    available = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return bool(available) and all(hasattr(torch.ops.mkldnn, name) for name in ONEDNN)
