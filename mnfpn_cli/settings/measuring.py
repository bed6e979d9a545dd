"""What a person may say about a measurement: what is run, and when it is enough."""

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
    """When a measurement is warm, and when it is enough.

    Attributes:
        warmup: untimed passes; None for as many as it takes until they are steady.
        passes: timed passes, exactly, unless the least time asks for more; None for as many as the precision takes.
        precision: how far the median's 95 % interval may reach, relative to the median.
        min_time_s: the least time of timed passes in seconds.
        max_time_s: the time after which a measurement ends, precise or not, but never before its least passes.
    """

    warmup: int | None = None
    passes: int | None = None
    precision: float = DEFAULT_PRECISION
    min_time_s: float = DEFAULT_MIN_TIME_S
    max_time_s: float = DEFAULT_MAX_TIME_S


@dataclass(frozen=True, slots=True)
class BenchCase:
    """What to run and how to time it, apart from networks and devices.

    Attributes:
        batches: images in a batch, each to be measured.
        runtimes: timed in turn with each other.
        dtype: to compute in.
        threads: of the CPU; None is torch's choice.
        train: whether a pass is a training step.
        cold_cache: whether caches are cleared before each pass.
        by_layer: whether each layer is timed too.
        roofline: whether what the device can do is measured, and held against each layer.
        all_runtimes: whether the runtimes are all that there are, so that one may be missing here.
        sampling: when it is enough.
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
    """The sampling that is asked for; ``passes`` alone is exact, and no time ends it.

    Raises:
        UsageError: where a time is no time, or the precision is none.
    """
    if passes is not None and precision is not None:
        raise UsageError(Problem("`precision`", "has no meaning with `passes`, which says how many passes there are"))
    least = _seconds("`min_time`", min_time_s, DEFAULT_MIN_TIME_S if passes is None else 0.0)
    most = _seconds("`max_time`", max_time_s, max(DEFAULT_MAX_TIME_S, least) if passes is None else math.inf)
    if max_time_s is not None and min_time_s is None:
        least = min(least, most)
    if most < least:
        raise UsageError(Problem("`max_time`", f"must not be less than `min_time`, {least:g} seconds", f"{most:g}"))
    return Sampling(warmup, passes, DEFAULT_PRECISION if precision is None else precision, least, most)


def _seconds(where: str, value: float | None, otherwise: float) -> float:
    if value is None:
        return otherwise
    if not math.isfinite(value) or value < 0:
        raise UsageError(Problem(where, "must be a finite number of seconds, 0 or more", f"{value:g}"))
    return value
