"""PyTorch as it is: each layer by itself, maps in torch's usual order."""

from functools import partial

import torch
from torch import Tensor

from mnfpn_cli.measure.runtime import Job, Prepared
from mnfpn_cli.measure.training import training_step
from mnfpn_cli.network.network import Network
from mnfpn_cli.settings.input import DType


def impossible(_device: torch.device, _dtype: DType, _train: bool) -> str | None:
    """It runs wherever torch does."""
    return None


def prepare(job: Job, memory_format: torch.memory_format = torch.contiguous_format) -> Prepared:
    """Move the network and the images to the device, in the dtype."""
    network, images = move(job, memory_format)
    return Prepared(training_step(network, images) if job.train else partial(network, images))


def move(job: Job, memory_format: torch.memory_format) -> tuple[Network, Tensor]:
    """The network and the images on the device, in the dtype and in an order in memory."""
    network = job.network.to(device=job.device, dtype=job.torch_dtype, memory_format=memory_format)  # type: ignore[call-overload]
    images = job.images.to(device=job.device, dtype=job.torch_dtype, memory_format=memory_format)
    return network, images
