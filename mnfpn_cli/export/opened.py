"""A file that was written, read back."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Opened:
    """What a file says of itself, and the network in it: images (n, in_channels, h, w) to outputs by name."""

    metadata: Mapping[str, str]
    run: Callable[[Tensor], Mapping[str, Tensor]]
