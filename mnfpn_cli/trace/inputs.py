"""The tensors that a network is run on, given or random, and what a trace takes in their place."""

import torch
from torch import Tensor

from mnfpn_cli.external.origin import Inputs, specs_of
from mnfpn_cli.external.target import InputSpec
from mnfpn_cli.trace.passes import Input


def input_tensors(inputs: Inputs) -> tuple[Tensor, ...]:
    """Return the tensors of a pass on the CPU, floating-point ones in float32: copies of those that were given.

    The others have values from 0 to 1, the same every time, and zeros where elements are integers.
    Zero is a valid index of anything: of a vocabulary, of classes, of rows of a table.
    """
    generator = torch.Generator().manual_seed(0)
    return tuple(_tensor(spec, generator) for spec in specs_of(inputs))


def _tensor(spec: InputSpec, generator: torch.Generator) -> Tensor:
    dtype = _torch_dtype(spec)
    if spec.value is not None:
        given = spec.value.detach().to("cpu", copy=True)
        return given.float() if given.is_floating_point() else given
    if dtype is None or dtype.is_floating_point:
        return torch.rand(spec.shape, generator=generator)
    return torch.zeros(spec.shape, dtype=dtype)


def traced_input(spec: InputSpec) -> Input:
    """Return an input for a trace; without a dtype where it is floating-point, which takes the network's own."""
    dtype = _torch_dtype(spec)
    return Input(spec.shape, None if dtype is None or dtype.is_floating_point else dtype, spec.value)


def _torch_dtype(spec: InputSpec) -> torch.dtype | None:
    """Return the torch dtype of an input, if it names one."""
    dtype: torch.dtype | None = getattr(torch, spec.dtype) if spec.dtype else None
    return dtype
