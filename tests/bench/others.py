"""External networks as a user may have them: they print, return nested objects, and fail in several ways."""

import ctypes
import os
import sys
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

sys.stdout.write("hello from the file\n")


@dataclass
class Found:
    """An object that a detector may return."""

    score: Tensor
    labels: Tensor


class Levels(nn.Module):
    """Two maps and a sum, in a dictionary with another in it; prints in every pass, by Python and below it."""

    def __init__(self, width: int = 4):
        super().__init__()
        self.fine = nn.Conv2d(3, width, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(width)
        self.coarse = nn.Conv2d(width, width, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Any:
        """Turn (n, 3, h, w) into (n, width, h/2, w/2), (n, width, h/4, w/4) and (n,)."""
        fine = torch.relu(self.norm(self.fine(x)))
        coarse = self.coarse(fine)
        return {"fine": fine, "more": [coarse, {"sum": coarse.sum((1, 2, 3))}]}


class Loud(Levels):
    """The same, printing in every pass: by Python, past its standard output, and below it."""

    def forward(self, x: Tensor) -> Any:
        """Print, and run the network."""
        sys.stdout.write("hello from forward\n")
        sys.__stdout__.write("hello from Python's own\n")  # type: ignore[union-attr]
        ctypes.CDLL(None).printf(b"hello from C\n")
        os.write(1, b"hello from below\n")
        return super().forward(x)


class Words(nn.Module):
    """Whole numbers in and out, and a second input."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(10, 8)
        self.dense = nn.Linear(8, 4)

    def forward(self, words: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
        """Turn (n, words) and (n, words, 1) into (n, words, 4) and (n, words)."""
        return self.dense(self.table(words)) * scale, words + 1


class Detector(Levels):
    """Returns an object of its own, one of whose tensors has no gradient."""

    def forward(self, x: Tensor) -> Found:
        """Turn (n, 3, h, w) into one score and one label each."""
        score = super().forward(x)["more"][1]["sum"]
        return Found(score, (score > 0).long())


class Fails(Levels):
    """Fails on small images, and after a number of passes."""

    def __init__(self, least: int = 0, passes: int = 1000, ends: bool = False):
        super().__init__()
        self.least, self.left, self.ends = least, [passes], ends

    def __deepcopy__(self, _memo: Any) -> "Fails":
        return self  # so that passes of all copies are counted together

    def forward(self, x: Tensor) -> Any:
        """Fail on a small image or after too many passes, else run the network."""
        if x.shape[-1] < self.least:
            raise ValueError(f"no images of {x.shape[-1]} pixels\nat all")
        if not x.is_meta:
            self.left[0] -= 1
        if self.left[0] < 0:
            if self.ends:
                sys.exit(7)
            raise ValueError("too often")
        return super().forward(x)


class Untraceable(Levels):
    """Fails where it is traced."""

    def forward(self, x: Tensor) -> Any:
        """Fail in a trace, else run the network."""
        if torch._C._get_tracing_state() is not None:
            raise RuntimeError("not to be traced")
        return super().forward(x)


class Tied(nn.Module):
    """One weight under two names, in float64, in training mode."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Linear(4, 4, bias=False)
        self.two = self.one
        self.double()

    def forward(self, x: Tensor) -> Tensor:
        """Turn (n, 4) into (n, 4)."""
        return self.two(self.one(x))  # type: ignore[no-any-return]


class Bits(nn.Module):
    """A product of a matrix and a vector, which is not counted."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(32))

    def forward(self, x: Tensor) -> Tensor:
        """Turn (1, 3, 16, 32) into (16)."""
        return x[0, 0] @ self.weight
