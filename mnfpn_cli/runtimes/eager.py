"""PyTorch as it is: each layer by itself, maps in torch's usual order."""

from functools import partial

import torch
from torch import Tensor, nn

from mnfpn_cli.runtimes.runtime import Job, Prepared, training_step
from mnfpn_cli.settings.input import DType

ANY_NETWORK = True


def impossible(_device: torch.device, _dtype: DType, _train: bool) -> str | None:
    """It runs wherever torch does."""
    return None


def prepare(job: Job, memory_format: torch.memory_format = torch.contiguous_format) -> Prepared:
    """Move the network and its inputs to the device, in the dtype."""
    network, inputs = move(job, memory_format)
    return Prepared(training_step(network, inputs) if job.train else partial(network, *inputs))


def move(job: Job, memory_format: torch.memory_format) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """The network and its inputs on the device, in the dtype and in an order in memory.

    Whole numbers and complex ones stay what they are, and what has not four dimensions keeps its order.
    """

    def moved(tensor: Tensor) -> Tensor:
        dtype = job.torch_dtype if tensor.is_floating_point() else tensor.dtype
        order = memory_format if tensor.dim() == 4 else torch.preserve_format
        return tensor.to(job.device, dtype, memory_format=order)

    job.network._apply(moved)  # type: ignore[no-untyped-call]
    job.network.to(job.device)  # which networks of others replace, to move what is not registered
    return job.network, tuple(map(moved, job.inputs))
