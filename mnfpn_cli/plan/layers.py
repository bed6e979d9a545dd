"""The smallest parts of a plan: a convolution with what follows it, and the sizes that it gives."""

from typing import Literal, NamedTuple

from mnfpn_cli.settings.input import Size

Activation = Literal["relu6"]


class ConvPlan(NamedTuple):
    """A square 2-d convolution, padded by half its kernel, with the norm and the activation that follow it.

    A named tuple, as a sweep makes millions of them and a frozen dataclass takes three times as long to make.
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
        """Elements of the weight tensor, shape (out, in / groups, kernel, kernel)."""
        return self.out_channels * (self.in_channels // self.groups) * self.kernel * self.kernel

    @property
    def parameters(self) -> int:
        """Trainable parameters: weight, bias, and batch norm's scale and shift."""
        return self.weights + self.out_channels * (self.bias + 2 * self.norm)

    @property
    def buffers(self) -> int:
        """Batch norm's running mean and variance."""
        return 2 * self.out_channels * self.norm

    def output(self, size: Size) -> Size:
        """The size of the map that it makes of one of ``size``: each side over the stride, rounded up."""
        return size if self.stride == 1 else Size(-(-size.height // self.stride), -(-size.width // self.stride))

    def macs(self, output: Size) -> int:
        """Multiply-accumulates for one image, given the size of the output; bias, norm and activation excluded."""
        return self.weights * output.height * output.width

    def elements(self, output: Size) -> int:
        """Elements of the output for one image."""
        return self.out_channels * output.height * output.width
