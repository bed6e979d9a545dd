"""The layers of a plan: convolutions with their norm and activation, norms of their own, and dense layers."""

from dataclasses import dataclass
from math import prod
from typing import Literal, NamedTuple

from mnfpn_cli.settings.input import Size

Activation = Literal["relu", "relu6"]
Norm = Literal["batch", "group"]


class ConvPlan(NamedTuple):
    """A square 2-d convolution, padded so that only its stride changes the size, with the norm and activation after it.

    It is a named tuple because a sweep makes millions of them: a frozen dataclass takes three times as long to make.

    Attributes:
        norm_groups: the groups of a group norm.
        same: whether the input is padded as TensorFlow's ``same`` does, which only a stride tells from torch's: the odd
            pixel goes to the bottom and to the right. The input is then copied.
    """

    in_channels: int
    out_channels: int
    kernel: int
    stride: int = 1
    groups: int = 1
    bias: bool = False
    norm: Norm | None = None
    activation: Activation | None = None
    norm_groups: int = 0
    same: bool = False

    @property
    def weights(self) -> int:
        """The elements of the weight tensor, of shape (out, in / groups, kernel, kernel)."""
        return self.out_channels * (self.in_channels // self.groups) * self.kernel * self.kernel

    def sizes(self) -> tuple[int, int, int]:
        """Return `weights`, `parameters` and `buffers` at once: a sweep needs all three of millions of layers."""
        out_channels, norm, weights = self.out_channels, self.norm, self.weights
        parameters = weights + out_channels * (self.bias + 2 * (norm is not None))
        return weights, parameters, 2 * out_channels if norm == "batch" else 0

    @property
    def parameters(self) -> int:
        """The trainable parameters: weight, bias, and the norm's scale and shift."""
        return self.sizes()[1]

    @property
    def buffers(self) -> int:
        """The elements of batch norm's running mean and variance."""
        return self.sizes()[2]

    @property
    def bare(self) -> bool:
        """Whether it is nothing but a convolution of torch."""
        return not (self.norm or self.activation or self.same)

    def padded(self, input: Size) -> int:
        """Return the elements of the padded copy of an input for one image; 0 where none is made."""
        return self.in_channels * padded_cells(self.kernel, input) if self.same else 0

    def output(self, size: Size) -> Size:
        """Return the size of the output for an input of ``size``; the stride is 1 or 2."""
        return size if self.stride == 1 else halved(size)

    def macs(self, output: Size) -> int:
        """Return the MACs for one image, given the size of the output; bias, norm and activation are not counted."""
        return self.weights * output.height * output.width

    def elements(self, output: Size) -> int:
        """Return the elements of the output for one image, given its size."""
        return self.out_channels * output.height * output.width


@dataclass(frozen=True, slots=True)
class SeparablePlan:
    """A separable 3×3 convolution: a depthwise 3×3 with the stride, then a 1×1."""

    depthwise: ConvPlan
    pointwise: ConvPlan


LayerPlan = ConvPlan | SeparablePlan


class NormPlan(NamedTuple):
    """A norm and an activation behind a convolution that other norms follow as well: those of other levels."""

    channels: int
    norm: Norm
    activation: Activation | None
    norm_groups: int = 0

    @property
    def parameters(self) -> int:
        """The trainable parameters: scale and shift."""
        return 2 * self.channels

    @property
    def buffers(self) -> int:
        """The elements of batch norm's running mean and variance."""
        return 2 * self.channels * (self.norm == "batch")


class LinearPlan(NamedTuple):
    """A dense layer with a bias."""

    in_features: int
    out_features: int

    @property
    def parameters(self) -> int:
        """The trainable parameters: weight and bias."""
        return self.macs + self.out_features

    @property
    def macs(self) -> int:
        """The MACs for one image; the bias is not counted."""
        return self.in_features * self.out_features


def same_padding(kernel: int, side: int) -> tuple[int, int]:
    """Return the pixels before and after a side that TensorFlow's ``same`` adds for an odd kernel of stride 2.

    One pixel of an odd side is without its pair. The side cancels out of the padded size as it is written here, so that
    torch's export, for which it is a symbol, sees half of it, rounded up, come out of each layer.
    """
    unpaired = 2 * ((side + 1) // 2) - side
    return (kernel // 2 - 1 + unpaired, kernel // 2) if kernel > 1 else (0, 0)


def padded_cells(kernel: int, size: Size) -> int:
    """Return the cells of a map after this padding."""
    return prod(side + sum(same_padding(kernel, side)) for side in size)


def halved(size: Size) -> Size:
    """Return the output size of a layer of stride 2: half of each side, rounded up."""
    return Size((size.height + 1) // 2, (size.width + 1) // 2)
