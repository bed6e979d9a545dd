"""PyTorch as it is, with a pixel's channels side by side in memory (NHWC), as convolutions of CPUs and GPUs like it."""

import torch

from mnfpn_cli.runtimes import eager
from mnfpn_cli.runtimes.runtime import Job, Prepared

ANY_NETWORK = eager.ANY_NETWORK
impossible = eager.impossible


def prepare(job: Job) -> Prepared:
    """Move the network and its inputs to the device, in the dtype and in channels-last order."""
    return eager.prepare(job, torch.channels_last)
