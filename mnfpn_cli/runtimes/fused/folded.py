"""Folded convolutions: batch norm is folded in; the addition and activation after it are fused where torch can.

Folding: Jacob et al. 2018, "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
Inference", section 3.2.
"""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor, nn

from mnfpn_cli.network.layers import ConvNormAct, SamePad
from mnfpn_cli.network.network import Bottleneck
from mnfpn_cli.plan.layers import Activation
from mnfpn_cli.runtimes.fused.kernels import Kernels
from mnfpn_cli.settings.input import DType

# oneDNN's convolutions, as torch's compiler calls them. They are private to torch: `can_pack` checks that they exist.
ONEDNN = ("_reorder_convolution_weight", "_convolution_pointwise", "_convolution_pointwise_")
SUPPORTED: dict[DType, str] = {"bfloat16": "_is_mkldnn_bf16_supported", "float16": "_is_mkldnn_fp16_supported"}
"""The functions of torch that say whether oneDNN computes in a dtype on this processor; float32 it always does."""

ATTRIBUTES: dict[Activation | None, tuple[str, list[float]]] = {
    None: ("none", []),
    "relu": ("relu", []),
    "relu6": ("hardtanh", [0.0, 6.0]),
}


@dataclass(frozen=True)
class Optimizations:
    """Optimizations besides folding; each needs a CPU, and those of oneDNN a dtype that it computes in there.

    Attributes:
        packed: weights are put into oneDNN's order once, not in each pass, and activations fused into convolutions.
        added: additions are fused into the convolution before them; needs ``packed``.
        early: levels are smoothed before they are resized, where that is less work.
        kernels: those of ours, for inverted residuals, separable and 1×1 convolutions and whole levels;
            None where torch runs them.
    """

    packed: bool = False
    added: bool = False
    early: bool = False
    kernels: Kernels | None = None


@dataclass(frozen=True, slots=True)
class MapRange:
    """The values of a map in calibration passes, from at most 0 to at least 0: 256 equal steps are in eight bits."""

    low: float = 0.0
    high: float = 0.0

    @property
    def step(self) -> float:
        """What one more in eight bits is; 1 of a map that is all zeros."""
        return (self.high - self.low) / 255 or 1.0

    @property
    def inverse(self) -> float:
        """The steps of a value of 1."""
        return 1 / self.step

    @property
    def zero(self) -> int:
        """What zero is in eight bits."""
        return round(-self.low / self.step)


@dataclass(frozen=True)
class Folded:
    """A convolution in float64 with its batch norm folded in, the padding before it, and the activation after it.

    ``padding`` is that of the convolution itself; ``pad`` is the module that pads before it, None where none does.
    With ``keep_float`` it is never quantised.
    """

    weight: Tensor
    bias: Tensor | None
    stride: int
    padding: int
    groups: int
    activation: Activation | None = None
    pad: SamePad | None = None
    keep_float: bool = False


@dataclass(frozen=True)
class Parts:
    """The modules of a layer, in the order in which they run; what it does not have is None."""

    pad: nn.Module | None
    conv: nn.Conv2d
    norm: nn.Module | None
    act: nn.Module | None

    @property
    def foldable(self) -> bool:
        """Whether the norm is a linear map in eval mode, as a batch norm is, or there is none."""
        return self.norm is None or isinstance(self.norm, nn.BatchNorm2d)


def parts(layer: ConvNormAct | nn.Conv2d) -> Parts:
    """Return the modules of a layer."""
    if isinstance(layer, nn.Conv2d):
        return Parts(None, layer, None, None)
    named = dict(layer.named_children())
    conv = named["conv"]
    assert isinstance(conv, nn.Conv2d)
    return Parts(named.get("pad"), conv, named.get("norm"), named.get("act"))


def fold(layer: Parts) -> Folded:
    """Fold a layer's batch norm, in eval mode, into its convolution."""
    conv, norm, pad = layer.conv, layer.norm, layer.pad
    assert isinstance(norm, nn.BatchNorm2d | None)
    assert isinstance(pad, SamePad | None)
    weight = conv.weight.detach().double()
    bias = None if conv.bias is None else conv.bias.detach().double()
    if norm is not None:
        mean, variance = norm.running_mean, norm.running_var
        assert mean is not None
        assert variance is not None  # all of our batch norms track them
        scale = norm.weight.detach().double() / torch.sqrt(variance.double() + norm.eps)
        centred = -mean.double() if bias is None else bias - mean.double()
        weight, bias = weight * scale[:, None, None, None], centred * scale + norm.bias.detach().double()
    padding = conv.padding[0]
    assert isinstance(padding, int)
    activation, kept = activation_of(layer.act), keeps_float(conv)
    return Folded(weight, bias, conv.stride[0], padding, conv.groups, activation, pad, kept)


def keep_float(layer: nn.Module) -> None:
    """Have a layer of a network that is not fused yet stay in floating point where others are quantised."""
    layer.keep_float = True  # type: ignore[assignment]  # a plain attribute, which copies of the layer have too


def keeps_float(layer: nn.Module) -> bool:
    """Return whether a layer stays in floating point."""
    return hasattr(layer, "keep_float")


def as_convolution(layer: nn.Linear) -> Folded:
    """Return a dense layer as a 1×1 convolution."""
    weight, bias = layer.weight.detach().double(), None if layer.bias is None else layer.bias.detach().double()
    return Folded(weight[:, :, None, None], bias, 1, 0, 1, keep_float=keeps_float(layer))


def activation_of(module: nn.Module | None) -> Activation | None:
    """Return the name of an activation."""
    if module is None:
        return None
    return "relu6" if isinstance(module, nn.ReLU6) else "relu"


class FoldedConv(nn.Module):
    """A folded convolution, (n, in, h, w) to (n, out, h/s, w/s); may add a map of that shape before the activation."""

    def __init__(self, folded: Folded, optimizations: Optimizations):
        super().__init__()
        self.bias: Tensor | None
        self.weight = nn.Buffer(folded.weight)
        self.register_buffer("bias", folded.bias)
        self.stride, self.groups, self.activation = folded.stride, folded.groups, folded.activation
        self.padding, self.pad = folded.padding, folded.pad
        self.optimizations = optimizations
        self.packed: Tensor | None = None
        self.path = ""  # in the network that it is of, where kernels run it in another module
        self.keep_float = folded.keep_float
        self.reads: MapRange | None = None  # None where it is not quantised

    def forward(self, x: Tensor, added: Tensor | None = None, overwrite: bool = False) -> Tensor:
        """Convolve, add ``added`` and activate; with ``overwrite`` the result may overwrite ``added``.

        A dense layer maps (n, in) to (n, out).
        """
        if x.dim() == 2:
            y: Tensor = self(x[:, :, None, None]).flatten(1)
            return y
        if self.pad is not None:
            x = self.pad(x)  # (n, in, h + 0 to k - 1, w + 0 to k - 1)
        if not self.optimizations.packed:
            y = F.conv2d(x, self.weight, self.bias, self.stride, self.padding, groups=self.groups)
            return self._activate(y if added is None else y.add_(added))
        if self.packed is None:  # oneDNN's order depends on the size of the map, known in the first pass
            self.packed = pack(self.weight, self.padding, self.stride, self.groups, x.shape)
        attribute = ATTRIBUTES[self.activation]
        if added is None:
            return self._convolve(x, *attribute)
        if self.optimizations.added and self.activation != "relu6":  # oneDNN cannot fuse relu6 after a sum
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


class FusedResidual(nn.Sequential):
    """An inverted residual whose last convolution adds the input."""

    def __init__(self, layers: Mapping[str, nn.Module], residual: bool):
        super().__init__(OrderedDict(layers))
        self.residual = residual

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, in, h, w) to (n, out, h/s, w/s)."""
        *before, last = self
        y = x
        for conv in before:
            y = conv(y)  # (n, hidden, h, w), after the depthwise convolution (n, hidden, h/s, w/s)
        z: Tensor = last(y, x if self.residual else None)
        return z


class FusedBottleneck(nn.Module):
    """A bottleneck whose last convolution adds the input or its shortcut, and applies the activation."""

    def __init__(self, block: Bottleneck, optimizations: Optimizations):
        super().__init__()
        reduce, spatial, restore = map(parts, (block.reduce, block.spatial, block.restore))
        self.reduce, self.spatial = (FoldedConv(fold(layer), optimizations) for layer in (reduce, spatial))
        self.restore = FoldedConv(fold(replace(restore, act=block.act)), optimizations)
        self.shortcut = FoldedConv(fold(parts(block.shortcut)), optimizations) if block.shortcut else None

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, in, h, w) to (n, out, h/s, w/s)."""
        y = self.spatial(self.reduce(x))  # (n, out / 4, h/s, w/s)
        z: Tensor = self.restore(y, self.shortcut(x), overwrite=True) if self.shortcut else self.restore(y, x)
        return z


def pack(weight: Tensor, padding: int, stride: int, groups: int, input: torch.Size) -> Tensor:
    """Return the weight in oneDNN's fastest memory order for an input of this shape."""
    order = torch.ops.mkldnn._reorder_convolution_weight
    packed: Tensor = order(weight, [padding] * 2, [stride] * 2, [1, 1], groups, list(input))
    return packed


def can_pack(dtype: DType) -> bool:
    """Return whether this torch has the convolutions of oneDNN that `FoldedConv` calls, and they compute in a dtype."""
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    if not all(hasattr(torch.ops.mkldnn, name) for name in ONEDNN):
        return False
    if dtype == "float32":
        return True
    supported = getattr(torch.ops.mkldnn, SUPPORTED.get(dtype, ""), None)
    return bool(supported and supported())
