"""Settings of a measurement: the runtime, the device, and when it is warm and precise enough."""

import math
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from mnfpn_cli.errors import Problem, UsageError
from mnfpn_cli.settings.input import DEFAULT_DTYPE, DType
from mnfpn_cli.settings.quantization import USUAL_QUANTIZATION, QuantizationCase
from mnfpn_cli.text import did_you_mean

DEFAULT_RUNTIME = "eager"
DEVICES = ("auto", "cpu", "cuda", "mps")
LAYERED = ("eager", "channels-last")
"""The runtimes that run layer by layer, so that each layer has a time of its own; the others join layers."""

WITHOUT_LAYERS = "cuda-graph"
"""The runtime that cannot tell its layers apart: it replays kernels."""

LITERT = "litert"
"""The runtime of .tflite files that were made elsewhere: it runs no network of ours."""

Allocator = Literal["system", "keep", "jemalloc"]
"""What happens to memory that a pass frees: the C library does what it does by default, or keeps it for the next; or
the library jemalloc is used instead."""

OF_OWN_PROCESS: tuple[Allocator, ...] = ("jemalloc",)
"""The allocators that a process must start with."""

ALLOCATORS: tuple[Allocator, ...] = get_args(Allocator)
DEFAULT_ALLOCATOR: Allocator = "system"

MAX_SEED, MAX_THREADS = 2**63 - 1, 4096
"""The largest seed of random weights, and the most CPU threads of a run."""

PASSES = ("inference", "training")
"""The kinds of pass, indexed by whether it is a training step."""


def runtime_names() -> tuple[str, ...]:
    """Return the names of all runtimes that run networks, ``eager`` first.

    They are the names of files and folders in `mnfpn_cli.runtimes`; none is imported.
    """
    folder = Path(__file__).parent.parent / "runtimes"
    stems = {path.stem for path in folder.glob("[a-z]*") if path.suffix == ".py" or (path / "__init__.py").is_file()}
    names = sorted(name.replace("_", "-") for name in stems - {"runtime", LITERT})  # `runtime` is their interface
    return (DEFAULT_RUNTIME, *(name for name in names if name != DEFAULT_RUNTIME))


def choose_runtimes(options: Sequence[str]) -> tuple[str, ...]:
    """Return the runtimes that options name, each once, in order; ``all`` stands for every runtime.

    Args:
        options: names, or several names separated by commas.

    Raises:
        UsageError: where no runtime has that name.
    """
    known = runtime_names()
    chosen = [name for text in options for name in text.split(",")]
    for name in chosen:
        if name not in (*known, "all"):
            near = did_you_mean(name, (*known, "all"))
            raise UsageError(Problem("`runtime`", f"must be one of {', '.join(known)} or all", f"'{name}'", near))
    return tuple(dict.fromkeys(runtime for name in chosen for runtime in (known if name == "all" else (name,))))


def check_device_name(name: str) -> str:
    """Return the name of a device, if it is well formed. Whether this machine has the device is checked on use.

    Raises:
        UsageError: where the name is not well formed.
    """
    if not re.fullmatch(r"auto|cpu|mps|cuda(:[0-9]{1,3})?", name):
        near = did_you_mean(name, (*DEVICES, "gpu"), {"gpu": "cuda"})
        raise UsageError(Problem("`device`", "must be auto, cpu, cuda, cuda:N or mps", f"'{name}'", near))
    return name


def check_allocator(name: str) -> Allocator:
    """Return the name of an allocator.

    Raises:
        UsageError: where it is none.
    """
    for known in ALLOCATORS:
        if name == known:
            return known
    near = did_you_mean(name, ALLOCATORS)
    raise UsageError(Problem("`allocator`", f"must be one of {', '.join(ALLOCATORS)}", f"'{name}'", near))


DEFAULT_PRECISION = 0.01
DEFAULT_MIN_TIME_S = 2.0
DEFAULT_MAX_TIME_S = 60.0
LEAST_SAMPLES = 10
DEFAULT_MARGIN = 0.01
"""The share up to which a comparison ignores a difference of times."""

DEFAULT_PROCESSES = 4
MOST_PROCESSES = 64
"""Processes of a side of a comparison, where the sides have processes of their own."""


def parse_share(where: str, text: str, zero: bool = False) -> float:
    """Read a share as ``1%`` or ``0.01``; ``zero``: whether 0 is allowed.

    Raises:
        UsageError: where it is no share.
    """
    least = "0 or more" if zero else "more than 0"
    digits = text.strip().removesuffix("%")
    try:
        value = float(digits) / (100 if digits != text.strip() else 1)
    except ValueError:
        raise UsageError(Problem(where, "must be a share, as 1% or 0.01", f"'{text}'")) from None
    if not 0 <= value < 1 or (value == 0 and not zero):
        raise UsageError(Problem(where, f"must be {least} and less than 100%, as 1% or 0.01", f"'{text}'"))
    return value


def check_timeout(where: str, seconds: float) -> float:
    """Return the time after which a run, or a training, of a sweep is stopped.

    Raises:
        UsageError: where it is not 1 to 1,000,000 seconds.
    """
    if not 1 <= seconds <= 1e6:
        raise UsageError(Problem(where, "must be 1 to 1000000 seconds", f"{seconds:g}"))
    return seconds


@dataclass(frozen=True, slots=True)
class Sampling:
    """How many passes warm a network up, and how many are timed.

    Attributes:
        warmup: number of untimed passes; None to run them until their times are steady.
        passes: number of timed passes; ``min_time_s`` may add to it, ``max_time_s`` may end it early. None to go by
            ``precision``.
        precision: the farther bound of the median's 95 % interval may be this share of the median away from it.
        min_time_s: the least time to spend on timed passes, and on what runs do to settle before them, in seconds.
        max_time_s: the time, in seconds, after which a measurement ends, precise or not, once it has the fewest passes
            that its rule needs.
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
        dtypes: the element types to compute in; each runtime is measured in each.
        threads: number of CPU threads; None for torch's choice.
        allocator: what happens to memory that a pass frees.
        isolate: whether each run has a process of its own.
        train: whether a pass is a training step.
        cold_cache: whether caches are cleared before each pass.
        by_layer: whether each layer is timed too.
        roofline: whether the peaks of the device are measured, and each layer is compared with them.
        postprocess: whether turning a detector's outputs into boxes is timed too.
        image: the file of an image, of whose outputs boxes are made; None for random logits.
        tflite: a file that LiteRT runs beside the runtimes; None for none.
        quantization: what to calibrate with, and which layers stay in float32.
        sampling: when a measurement ends.
    """

    batches: tuple[int, ...] = (1,)
    runtimes: tuple[str, ...] = (DEFAULT_RUNTIME,)
    dtypes: tuple[DType, ...] = (DEFAULT_DTYPE,)
    threads: int | None = None
    allocator: Allocator = DEFAULT_ALLOCATOR
    isolate: bool = False
    train: bool = False
    cold_cache: bool = False
    by_layer: bool = False
    roofline: bool = False
    postprocess: bool = False
    image: Path | None = None
    tflite: Path | None = None
    quantization: QuantizationCase = USUAL_QUANTIZATION
    sampling: Sampling = Sampling()

    @property
    def runs(self) -> tuple[tuple[str, DType], ...]:
        """The runtime and the dtype of each run on one device and input, in order."""
        return tuple((runtime, dtype) for dtype in self.dtypes for runtime in self.runtimes)

    @property
    def all_runtimes(self) -> bool:
        """Whether all runtimes were asked for: then it is no failure where this machine lacks one."""
        return set(self.runtimes) >= set(runtime_names())

    @property
    def widest(self) -> DType:
        """The dtype of the runs that needs most memory: what quantises runs the network in float32 before."""
        return "float32" if {"float32", "int8"} & set(self.dtypes) else self.dtypes[0]


def checked_case(case: BenchCase, isolate: bool | None, only_here: str = "") -> BenchCase:
    """Check that the options of a case do not contradict each other, and decide whether runs have own processes.

    Args:
        case: the case; its ``isolate`` is not read.
        isolate: what was asked for; where it is None, runs have their own where there are several and nothing is
            against it.
        only_here: why no other process can build the network; empty where one can.

    Raises:
        UsageError: where options contradict each other.
    """
    if problems := list(_contradictions(case)):
        raise UsageError(*problems)
    return replace(case, isolate=_isolate(isolate, case, only_here))


def _isolate(asked: bool | None, case: BenchCase, only_here: str) -> bool:
    """Return whether each run has a process of its own.

    Raises:
        UsageError: where it must have one, or is to have one, and cannot.
    """
    against = only_here or ("" if os.name == "posix" else "this system has no pipes that can be waited for")
    own = case.allocator in OF_OWN_PROCESS
    if asked is False and own:
        raise UsageError(
            Problem("`isolate`", f"must be on for `allocator` {case.allocator}, which a process starts with")
        )
    if (asked or own) and against:
        raise UsageError(
            Problem("`isolate`" if asked else f"`allocator` {case.allocator}", f"needs another process: {against}")
        )
    several = len(case.runs) + bool(case.tflite) > 1
    return own or (several and not against if asked is None else asked)


def _contradictions(case: BenchCase) -> Iterator[Problem]:
    """Yield the options of a case that cannot be together, and those that would have no effect."""
    layered = ", ".join(["`by_layer`"] * case.by_layer + ["`roofline`"] * case.roofline)
    if case.train:
        never = {
            layered: "since layers are timed in inference passes",
            "`postprocess`" * case.postprocess: "since a training step makes no boxes",
            "`tflite`" * bool(case.tflite): "since a file has no training step",
            "`dtype` int8" * ("int8" in case.dtypes): "since a training step needs gradients",
        }
        yield from (Problem(where, f"cannot be used with `train`, {why}") for where, why in never.items() if where)
    if case.postprocess and case.allocator in OF_OWN_PROCESS:
        rule = (
            f"cannot be used with `allocator` {case.allocator}, which a process starts with: boxes are made in this one"
        )
        yield Problem("`postprocess`", rule)
    if case.image and not case.postprocess:
        yield Problem("`image`", "requires `postprocess`: passes of the network take random images")
    if case.quantization.keep_float and "int8" not in case.dtypes:
        yield Problem("`keep_float`", "requires `dtype` int8: no other quantises a layer", ", ".join(case.dtypes))
    if case.quantization.calibration and set(case.dtypes) == {"float32"} and not case.tflite:
        rule = "requires another `dtype` than float32, or `tflite`: images calibrate int8, and judge the outputs"
        yield Problem("`calibration`", rule)
    if case.by_layer and set(case.runtimes) == {WITHOUT_LAYERS}:
        rule = f"requires another `runtime` than {WITHOUT_LAYERS}, which replays kernels and has no layers"
        yield Problem("`by_layer`", rule, ", ".join(case.runtimes))


def sampling(
    warmup: int | None = None,
    passes: int | None = None,
    precision: float | None = None,
    min_time_s: float | None = None,
    max_time_s: float | None = None,
    usual: float = DEFAULT_PRECISION,
) -> Sampling:
    """Make the sampling of the given options. With ``passes``, a time applies only if it is given too.

    ``usual``: the precision where none is given.

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
    return Sampling(warmup, passes, usual if precision is None else precision, least, most)


def _seconds(where: str, value: float | None, default: float) -> float:
    if value is None:
        return default
    if not math.isfinite(value) or value < 0:
        raise UsageError(Problem(where, "must be a finite number of seconds, 0 or more", f"{value:g}"))
    return value
