"""What a person may say about a measurement."""

import math
import re
from dataclasses import dataclass

from mnfpn_cli.errors import UsageError
from mnfpn_cli.settings.input import DType, NetworkInput

DEFAULT_RUNS = 10
DEFAULT_MIN_TIME_S = 2.0


@dataclass(frozen=True, slots=True)
class Sampling:
    """How many passes: ``warmup`` untimed; then at least ``runs``, and at least ``min_time_s`` seconds of them."""

    warmup: int
    runs: int
    min_time_s: float


@dataclass(frozen=True, slots=True)
class BenchCase:
    """What to run and how to time it, apart from the network and the device. ``threads`` None is torch's choice."""

    input: NetworkInput
    dtype: DType
    channels_last: bool
    threads: int | None
    sampling: Sampling


def sampling(warmup: int, runs: int | None, min_time_s: float | None) -> Sampling:
    """The sampling that options ask for: ``runs`` alone is exact, otherwise both are lower bounds.

    Raises:
        UsageError: where the time is no time.
    """
    if min_time_s is None:
        min_time_s = DEFAULT_MIN_TIME_S if runs is None else 0.0
    if not math.isfinite(min_time_s) or min_time_s < 0:
        raise UsageError(f"--min-time: must be 0 or more seconds, got {min_time_s:g}")
    return Sampling(warmup, DEFAULT_RUNS if runs is None else runs, min_time_s)


def check_device_name(name: str) -> str:
    """The name, if a device could have it; whether this machine has that device is seen when it is used.

    Raises:
        UsageError: where no device has such a name.
    """
    if not re.fullmatch(r"auto|cpu|mps|cuda(:[0-9]{1,3})?", name):
        raise UsageError(f"--device: must be auto, cpu, cuda, cuda:N or mps, got '{name}'")
    return name
