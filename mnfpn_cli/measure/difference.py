"""How far two results of the same computation are apart."""

from collections.abc import Sequence
from math import inf

import torch
from torch import Tensor


def largest(tensor: Tensor) -> float:
    """The largest absolute value; 0 of no elements."""
    return tensor.abs().max().item() if tensor.numel() else 0.0


def relative_difference(found: Tensor, expected: Tensor) -> float:
    """The largest difference of two elements, over the largest absolute value that was expected.

    Infinite where either is not finite, where their shapes differ, or where all that was expected is zero and
    something else was found.
    """
    if found.shape != expected.shape or not (found.isfinite().all() and expected.isfinite().all()):
        return inf
    difference, scale = largest(found - expected), largest(expected)
    return difference / scale if scale else (inf if difference else 0.0)


def largest_difference(found: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
    """The largest relative difference over all outputs, 0 of none, in float32 and on the CPU."""
    differences = (
        relative_difference(_in_float32(one), _in_float32(other)) for one, other in zip(found, expected, strict=True)
    )
    return max(differences, default=0.0)


def _in_float32(tensor: Tensor) -> Tensor:
    """On the CPU; of complex numbers, both parts."""
    tensor = tensor.detach().cpu()
    return (torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor).float()
