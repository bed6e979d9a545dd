"""The tensors that networks are measured on."""

import torch
from torch import Tensor

from mnfpn_cli.models.inputs import Inputs, specs_of
from mnfpn_cli.models.target import InputSpec


def random_tensors(inputs: Inputs) -> tuple[Tensor, ...]:
    """Values from 0 to 1 in float32, the same every time; zeros where the elements are whole numbers.

    Zero is in the range of whatever they count: words of a vocabulary, classes, rows of a table.
    """
    generator = torch.Generator().manual_seed(0)
    return tuple(_tensor(spec, generator) for spec in specs_of(inputs))


def _tensor(spec: InputSpec, generator: torch.Generator) -> Tensor:
    dtype = torch_dtype(spec)
    if dtype is None or dtype.is_floating_point:
        return torch.rand(spec.shape, generator=generator)
    return torch.zeros(spec.shape, dtype=dtype)


def torch_dtype(spec: InputSpec) -> torch.dtype | None:
    """The element type that was said, as torch has it."""
    dtype: torch.dtype | None = getattr(torch, spec.dtype) if spec.dtype else None
    return dtype
