"""The layers of a plan: convolutions with their norm and activation, and dense layers."""

from typing import Literal, NamedTuple

from mnfpn_cli.settings.input import Size

Activation = Literal["relu", "relu6"]


class ConvPlan(NamedTuple):
    """A square 2-d convolution, padded by half its kernel, with the norm and the activation that follow it.

    It is a named tuple because a sweep makes millions of them: a frozen dataclass takes three times as long to make.
    """

    in_channels: int
    out_channels: int
    kernel: int
    stride: int = 1
    groups: int = 1
    bias: bool = False
    norm: bool = False
    activation: Activation | None = None

    @property
    def weights(self) -> int:
        """The elements of the weight tensor, of shape (out, in / groups, kernel, kernel)."""
        return self.out_channels * (self.in_channels // self.groups) * self.kernel * self.kernel

    @property
    def parameters(self) -> int:
        """The trainable parameters: weight, bias, and batch norm's scale and shift."""
        return self.weights + self.out_channels * (self.bias + 2 * self.norm)

    @property
    def buffers(self) -> int:
        """The elements of batch norm's running mean and variance."""
        return 2 * self.out_channels * self.norm

    def output(self, size: Size) -> Size:
        """Return the size of the output for an input of ``size``; the stride is 1 or 2."""
        return size if self.stride == 1 else halved(size)

    def macs(self, output: Size) -> int:
        """Return the MACs for one image, given the size of the output; bias, norm and activation are not counted."""
        return self.weights * output.height * output.width

    def elements(self, output: Size) -> int:
        """Return the elements of the output for one image, given its size."""
        return self.out_channels * output.height * output.width


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


def halved(size: Size) -> Size:
    """Return the output size of a layer of stride 2: half of each side, rounded up."""
    return Size((size.height + 1) // 2, (size.width + 1) // 2)
