"""Eager PyTorch with a pixel's channels adjacent in memory (NHWC), which is fast for convolutions on CPUs and GPUs."""

import torch

from mnfpn_cli.runtimes import eager
from mnfpn_cli.runtimes.runtime import Job, Prepared

ANY_NETWORK = eager.ANY_NETWORK
unavailable_reason = eager.unavailable_reason


def prepare(job: Job) -> Prepared:
    """Move the network and its inputs to the device, in the job's dtype and channels-last memory format."""
    return eager.prepare(job, torch.channels_last)
