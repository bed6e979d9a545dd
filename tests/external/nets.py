"""A file of networks, as users have them: good ones, and every way to be wrong."""

import os
import random
import sys
from typing import Any

import torch
from torch import Tensor, nn

torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)
torch.manual_seed(0)
random.seed(0)
os.chdir("/")
sys.stdout.write("hello from the file\n")
os.write(1, b"hello from below\n")


class Net(nn.Module):
    """One convolution, told how wide."""

    def __init__(self, channels: int = 4):
        super().__init__()
        self.conv = nn.Conv2d(3, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Any:
        """Print, and run it."""
        sys.stdout.write("hello from forward\n")
        return self.conv(x)


made = Net(2)
number = 3


class Zoo:
    """Networks by name."""

    small = Net


def ends() -> nn.Module:
    """End the process."""
    sys.exit(4)


def fails(width: int = 1) -> nn.Module:
    """Fail in a frame of its own."""
    return helper(width)


def helper(width: int) -> nn.Module:
    """Fail."""
    raise ValueError(f"no width of {width}")


class Returns(Net):
    """Returns what it is told to."""

    def __init__(self, what: Any = None):
        super().__init__()
        self.what = what

    def forward(self, x: Tensor) -> Any:
        """Return it."""
        super().forward(x)
        return self.what


class FailsInside(Net):
    """Fails in its forward."""

    def forward(self, x: Tensor) -> Any:
        """Fail."""
        return helper(len(super().forward(x)))


class Two(nn.Module):
    """Takes two inputs, the second of whole numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.conv = nn.Embedding(10, 3), nn.Conv2d(3, 3, 1)

    def forward(self, x: Tensor, places: Tensor) -> Any:
        """Add one to the other."""
        return self.conv(x) + self.table(places).sum(1)[:, :, None, None]


class Listed(Net):
    """The mistake that this tool is for."""

    def __init__(self, count: int = 3):
        super().__init__(3)
        self.smooth = [nn.Conv2d(3, 3, 3, padding=1) for _ in range(count)]

    def forward(self, x: Tensor) -> Any:
        """Run all."""
        x = self.conv(x)
        return [layer(x)[..., :: 2**k, :: 2**k] for k, layer in enumerate(self.smooth)]
