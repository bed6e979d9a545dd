"""What a file is tried with: the images, and at which sizes."""

from dataclasses import replace

import torch
from torch import Tensor

from mnfpn_cli.settings.input import NetworkInput, Size


def inputs_to_check(input: NetworkInput, least: int, dynamic: bool) -> tuple[NetworkInput, ...]:
    """The input that a file was made for; where its sides are free also one of odd sides, and the least there is.

    At the least size the coarsest maps have one cell, and at the odd one every halving rounds up.
    """
    if not dynamic:
        return (input,)
    odd = Size(*(_odd(side, least) for side in input.size))
    return tuple(dict.fromkeys(replace(input, size=size) for size in (input.size, odd, Size(least, least))))


def _odd(side: int, least: int) -> int:
    """An odd side of about half the length, no shorter than the least, and in any case another one."""
    odd = max(side // 2, least) | 1
    return odd if odd != side else odd + 2


def random_images(input: NetworkInput) -> Tensor:
    """Images (n, in_channels, h, w) of values from 0 to 1, the same every time."""
    return torch.rand(input.shape, generator=torch.Generator().manual_seed(0))
