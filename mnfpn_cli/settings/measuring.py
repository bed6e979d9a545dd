"""What a person may say about a measurement."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mnfpn_cli.errors import Problem, UsageError
from mnfpn_cli.settings.input import DType
from mnfpn_cli.text import did_you_mean

DEFAULT_PRECISION = 0.01
DEFAULT_MIN_TIME_S = 2.0
DEFAULT_MAX_TIME_S = 60.0
LEAST_SAMPLES = 10
DEFAULT_RUNTIME = "eager"
DEVICES = ("auto", "cpu", "cuda", "mps")
LAYERED = ("eager", "channels-last")
"""The runtimes that run layer by layer, so that each layer can be timed; the others join them."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """When a measurement is warm, and when it is enough.

    Attributes:
        warmup: untimed passes; None for as many as it takes until they are steady.
        runs: timed passes, exactly, unless the least time asks for more; None for as many as the precision takes.
        precision: how far the median's 95 % interval may reach, relative to the median.
        min_time_s: the least time of timed passes in seconds.
        max_time_s: the time after which a measurement ends, precise or not, but never before its least passes.
    """

    warmup: int | None = None
    runs: int | None = None
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
    runs: int | None = None,
    precision: float | None = None,
    min_time_s: float | None = None,
    max_time_s: float | None = None,
) -> Sampling:
    """The sampling that is asked for; ``runs`` alone is exact, and no time ends it.

    Raises:
        UsageError: where a time is no time, or the precision is none.
    """
    if runs is not None and precision is not None:
        raise UsageError(Problem("`precision`", "has no meaning with `runs`, which says how many passes there are"))
    least = _seconds("`min_time`", min_time_s, DEFAULT_MIN_TIME_S if runs is None else 0.0)
    most = _seconds("`max_time`", max_time_s, max(DEFAULT_MAX_TIME_S, least) if runs is None else math.inf)
    if max_time_s is not None and min_time_s is None:
        least = min(least, most)
    if most < least:
        raise UsageError(Problem("`max_time`", f"must not be less than `min_time`, {least:g} seconds", f"{most:g}"))
    return Sampling(warmup, runs, DEFAULT_PRECISION if precision is None else precision, least, most)


def _seconds(where: str, value: float | None, otherwise: float) -> float:
    if value is None:
        return otherwise
    if not math.isfinite(value) or value < 0:
        raise UsageError(Problem(where, "must be a finite number of seconds, 0 or more", f"{value:g}"))
    return value


def runtime_names() -> tuple[str, ...]:
    """Name the runtimes, ``eager`` first, by the files and folders of `mnfpn_cli.runtimes`: none is imported for it."""
    folder = Path(__file__).parent.parent / "runtimes"
    found = {path.stem for path in folder.glob("[a-z]*") if path.suffix == ".py" or (path / "__init__.py").is_file()}
    names = sorted(name.replace("_", "-") for name in found - {"runtime"})  # which is what all of them have in common
    return (DEFAULT_RUNTIME, *(name for name in names if name != DEFAULT_RUNTIME))


def choose_runtimes(named: Sequence[str]) -> tuple[str, ...]:
    """The runtimes that an option names, each once, in that order; ``all`` is all of them.

    Raises:
        UsageError: where there is none of that name.
    """
    known = runtime_names()
    chosen = [name for text in named for name in text.split(",")]
    for name in chosen:
        if name not in (*known, "all"):
            near = did_you_mean(name, (*known, "all"))
            raise UsageError(Problem("`runtime`", f"must be one of {', '.join(known)} or all", f"'{name}'", near))
    return tuple(dict.fromkeys(one for name in chosen for one in (known if name == "all" else (name,))))


def check_device_name(name: str) -> str:
    """The name, if a device could have it; whether this machine has that device is seen when it is used.

    Raises:
        UsageError: where no device has such a name.
    """
    if not re.fullmatch(r"auto|cpu|mps|cuda(:[0-9]{1,3})?", name):
        near = did_you_mean(name, (*DEVICES, "gpu"), {"gpu": "cuda"})
        raise UsageError(Problem("`device`", "must be auto, cpu, cuda, cuda:N or mps", f"'{name}'", near))
    return name
