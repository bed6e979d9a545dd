"""Settings of a measurement: what is run, and when a measurement is warm and precise enough."""

import math
from dataclasses import dataclass

from mnfpn_cli.errors import Problem, UsageError
from mnfpn_cli.settings.execution import DEFAULT_RUNTIME
from mnfpn_cli.settings.input import DType

DEFAULT_PRECISION = 0.01
DEFAULT_MIN_TIME_S = 2.0
DEFAULT_MAX_TIME_S = 60.0
LEAST_SAMPLES = 10


@dataclass(frozen=True, slots=True)
class Sampling:
    """How many passes warm a network up, and how many are timed.

    Attributes:
        warmup: number of untimed passes; None to run them until their times are steady.
        passes: number of timed passes, exact unless ``min_time_s`` asks for more; None to go by ``precision``.
        precision: the largest distance of the bounds of the median's 95 % interval, as a share of the median.
        min_time_s: the least total time of timed passes, in seconds.
        max_time_s: seconds after which a measurement ends, precise or not, once it has `LEAST_SAMPLES` passes.
    """

    warmup: int | None = None
    passes: int | None = None
    precision: float = DEFAULT_PRECISION
    min_time_s: float = DEFAULT_MIN_TIME_S
    max_time_s: float = DEFAULT_MAX_TIME_S


@dataclass(frozen=True, slots=True)
class BenchCase:
    """What to measure and how, apart from the networks and the devices.

    Attributes:
        batches: numbers of images in a batch; each is measured.
        runtimes: names of the runtimes, whose passes are timed in turn.
        all_runtimes: whether ``all`` was asked for, so that a runtime may be missing on this machine.
        dtype: the element type to compute in.
        threads: number of CPU threads; None for torch's choice.
        train: whether a pass is a training step.
        cold_cache: whether caches are cleared before each pass.
        by_layer: whether each layer is timed too.
        roofline: whether the peaks of the device are measured, and each layer is compared with them.
        sampling: when a measurement ends.
    """

    batches: tuple[int, ...] = (1,)
    runtimes: tuple[str, ...] = (DEFAULT_RUNTIME,)
    all_runtimes: bool = False
    dtype: DType = "float32"
    threads: int | None = None
    train: bool = False
    cold_cache: bool = False
    by_layer: bool = False
    roofline: bool = False
    sampling: Sampling = Sampling()


def sampling(
    warmup: int | None = None,
    passes: int | None = None,
    precision: float | None = None,
    min_time_s: float | None = None,
    max_time_s: float | None = None,
) -> Sampling:
    """Make the sampling of the given options; with ``passes`` their number is exact, and no time ends a measurement.

    Raises:
        UsageError: where a time is not finite or is negative, or two options contradict each other.
    """
    if passes is not None and precision is not None:
        raise UsageError(Problem("`precision`", "cannot be used with `passes`, which fixes the number of passes"))
    least = _seconds("`min_time`", min_time_s, DEFAULT_MIN_TIME_S if passes is None else 0.0)
    most = _seconds("`max_time`", max_time_s, max(DEFAULT_MAX_TIME_S, least) if passes is None else math.inf)
    if max_time_s is not None and min_time_s is None:
        least = min(least, most)
    if most < least:
        raise UsageError(Problem("`max_time`", f"must not be less than `min_time`, {least:g} seconds", f"{most:g}"))
    return Sampling(warmup, passes, DEFAULT_PRECISION if precision is None else precision, least, most)


def _seconds(where: str, value: float | None, default: float) -> float:
    if value is None:
        return default
    if not math.isfinite(value) or value < 0:
        raise UsageError(Problem(where, "must be a finite number of seconds, 0 or more", f"{value:g}"))
    return value
