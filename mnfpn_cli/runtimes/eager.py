"""Eager PyTorch: layer by layer, in torch's usual memory format (NCHW)."""

from functools import partial

import torch
from torch import Tensor, nn

from mnfpn_cli.runtimes.runtime import NO_INT8, Job, Prepared, training_step
from mnfpn_cli.settings.input import DType

ANY_NETWORK = True


def unavailable_reason(_device: torch.device, dtype: DType, _train: bool) -> str | None:
    """Return why it cannot run here: it runs wherever torch does, but torch's layers compute in floating point."""
    return NO_INT8 if dtype == "int8" else None


def prepare(job: Job, memory_format: torch.memory_format = torch.contiguous_format) -> Prepared:
    """Move the network and its inputs to the device, in the job's dtype and a memory format."""
    network, inputs = move(job, memory_format)
    return Prepared(training_step(network, inputs) if job.train else partial(network, *inputs), inputs)


def move(job: Job, memory_format: torch.memory_format) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """Return the network and its inputs on the device, in the job's dtype and a memory format.

    Integer and complex tensors keep their dtype, and tensors without four dimensions keep their memory format.
    """

    def moved(tensor: Tensor) -> Tensor:
        dtype = job.torch_dtype if tensor.is_floating_point() else tensor.dtype
        order = memory_format if tensor.dim() == 4 else torch.preserve_format
        return tensor.to(job.device, dtype, memory_format=order)

    job.network._apply(moved)  # type: ignore[no-untyped-call]
    job.network.to(job.device)  # external networks override it to move unregistered tensors
    return job.network, tuple(map(moved, job.inputs))
