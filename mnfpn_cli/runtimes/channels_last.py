"""Eager PyTorch with a pixel's channels adjacent in memory (NHWC), which is fast for convolutions on CPUs and GPUs."""

from collections.abc import Sequence

import torch

from mnfpn_cli.measure.layer_times import LayerTimes
from mnfpn_cli.plan.roofline import LayerWork
from mnfpn_cli.runtimes import eager
from mnfpn_cli.runtimes.runtime import Job, Prepared, ReportShare

ANY_NETWORK = eager.ANY_NETWORK
unavailable_reason = eager.unavailable_reason


def prepare(job: Job) -> Prepared:
    """Move the network and its inputs to the device, in the job's dtype and channels-last memory format."""
    return eager.prepare(job, torch.channels_last)


def time_layers(job: Job, works: Sequence[LayerWork], passes: int, progress: ReportShare) -> LayerTimes:
    """Time each layer by hooks around its calls."""
    return eager.time_layers(job, works, passes, progress, torch.channels_last)
