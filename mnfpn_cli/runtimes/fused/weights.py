"""What kernels read of a convolution: its weights in their order and in their dtype, and what turns sums into values.

In int8, weights are symmetric for each output channel, and operands are unsigned (Jacob et al. 2018, sections 2.2 and
2.4). Sums of their products are whole numbers and exact. What leaves a dense convolution is in floating point again, so
additions, resizing and depthwise convolutions round nothing.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor

from mnfpn_cli.plan.layers import Activation
from mnfpn_cli.runtimes.fused.folded import Folded, FoldedConv, MapRange
from mnfpn_cli.runtimes.fused.kernels import KernelConvolution, Kernels

LARGEST = 127
"""The largest weight in eight bits."""

MOST_INPUTS = 2**31 // (255 * LARGEST)
"""The inputs of an output, the sum of whose products cannot exceed 32 bits."""

AS_IT_IS = MapRange(0.0, 255.0)
"""The range of a map that is not rounded: its values are their own steps."""

INFINITY = float("inf")
BOUNDS: dict[Activation | None, tuple[float, float]] = {
    None: (-INFINITY, INFINITY),
    "relu": (0.0, INFINITY),
    "relu6": (0.0, 6.0),
}


@dataclass(frozen=True, slots=True)
class KernelWeights:
    """A convolution as kernels read it.

    Attributes:
        weight: of a dense one (vectors, inputs / pair, width, pair), of a depthwise one (vectors, 9, width).
        bias: of each output, in float32.
        scale: of each output: what a sum in int8 is multiplied by.
        low: the least output.
        high: the largest output.
        reads: how the input is rounded.
    """

    weight: Tensor
    bias: Tensor
    scale: Tensor
    low: float
    high: float
    reads: MapRange

    def as_convolution(self, kernel: int, stride: int, top: int, left: int) -> KernelConvolution:
        """Return it with its geometry; ``top`` and ``left`` are rows and columns of zeros before the map."""
        addresses = (one.data_ptr() for one in (self.weight, self.bias, self.scale))
        numbers = self.low, self.high, self.reads.inverse, self.reads.zero
        return KernelConvolution(*addresses, *numbers, len(self.weight), kernel, stride, top, left)


def dense_weights(conv: FoldedConv, kernels: Kernels, multiple: int) -> KernelWeights:
    """Return a dense convolution as kernels read it; zeros fill its inputs to a multiple of some number."""
    weight = conv.weight.to(kernels.maps)
    bias, scale, width = _bias(conv), torch.ones(len(weight)), kernels.width
    if kernels.products == "int8":
        assert conv.reads is not None
        weight, steps = in_eight_bits(weight)
        scale = steps * conv.reads.step
        bias = bias - conv.reads.zero * scale * weight.flatten(1).sum(1)  # what the zero of the operands adds
    ordered, reads = vectors(weight, width, kernels.pair, multiple), conv.reads or AS_IT_IS
    return KernelWeights(ordered, _filled(bias, width), _filled(scale, width), *BOUNDS[conv.activation], reads)


def mixing_weights(mix: FoldedConv, kernels: Kernels, offsets: int) -> KernelWeights:
    """Return a convolution to (offsets × out) channels as kernels read it: (vectors × offsets, …)."""
    weight, bias, width = mix.weight, _bias(mix), kernels.width
    rows = torch.cat([weight.double().flatten(1), bias[:, None]], dim=1)  # (offsets × out, in + 1)
    filled = F.pad(rows.view(offsets, -1, rows.shape[1]), (0, 0, 0, -(len(rows) // offsets) % width))
    ordered = filled.view(offsets, -1, width, rows.shape[1]).transpose(0, 1).flatten(0, 2)  # by vector, then by offset
    conv = FoldedConv(Folded(ordered[:, :-1, None, None], ordered[:, -1], 1, 0, 1), mix.optimizations)
    conv.reads = mix.reads
    return dense_weights(conv, kernels, kernels.pair)


def depthwise_weights(conv: FoldedConv, kernels: Kernels, makes: MapRange) -> KernelWeights:
    """Return a depthwise convolution as kernels read it: its outputs are the steps of a range."""
    width, bias = kernels.width, _bias(conv) * makes.inverse + makes.zero
    low, high = (bound * makes.inverse + makes.zero for bound in BOUNDS[conv.activation])
    ordered, scale = vectors(conv.weight.float() * makes.inverse, width), torch.ones(len(bias))
    return KernelWeights(ordered, _filled(bias, width), _filled(scale, width), low, high, AS_IT_IS)


def _bias(conv: FoldedConv) -> Tensor:
    return torch.zeros(len(conv.weight)).double() if conv.bias is None else conv.bias.double()


def _filled(of_outputs: Tensor, width: int) -> Tensor:
    """Return numbers of outputs in float32, with zeros to whole vectors."""
    return F.pad(of_outputs.float(), (0, -len(of_outputs) % width))


def in_eight_bits(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return a weight (out, …) in int8, and for each output what one is in it."""
    steps = weight.double().abs().flatten(1).amax(1) / LARGEST  # (out,)
    steps = steps.where(steps > 0, 1.0)
    whole = torch.round(weight.double() / steps.view(-1, *[1] * (weight.dim() - 1)))
    return whole.to(torch.int8), steps


def vectors(weight: Tensor, width: int, pair: int = 1, multiple: int = 1) -> Tensor:
    """Return a weight (out, in, rows, columns) in the order of kernels: (vectors, inputs / pair, width, pair).

    Inputs are in the order of memory: rows, columns, channels. Zeros fill outputs to whole vectors, and the inputs of a
    row to a multiple of some number.
    """
    rows = weight.permute(0, 2, 3, 1).flatten(2)  # (out, rows, columns × in)
    filled = F.pad(rows, (0, -rows.shape[-1] % multiple, 0, 0, 0, -len(rows) % width))
    steps = filled.flatten(1).view(-1, width, filled[0].numel() // pair, pair)
    return steps.transpose(1, 2).contiguous()
