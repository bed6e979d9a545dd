"""The result of a benchmark. Times are in seconds, memory in bytes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from mnfpn_cli.bench.postprocess import PostprocessRun
from mnfpn_cli.bench.workload import FvcoreCount
from mnfpn_cli.devices.nvml import GpuState
from mnfpn_cli.documents.bench import (
    InputNoise,
    ProfileRecord,
)
from mnfpn_cli.documents.quality import QualityRecord
from mnfpn_cli.documents.records import Ended, EnvironmentRecord, WarningRecord, WeightsRecord
from mnfpn_cli.external.origin import Inputs
from mnfpn_cli.measure.engine import WarmUp
from mnfpn_cli.measure.statistics import MEDIANS, Latency, TimeRatio, paired_ratio
from mnfpn_cli.plan.cost import NetworkCost, WholeCost
from mnfpn_cli.runtimes.runtime import ExecutedGraph
from mnfpn_cli.settings.input import DEFAULT_DTYPE, DType, Size
from mnfpn_cli.settings.measuring import BenchCase

LAUNCH_BOUND = 0.8
"""The share of a pass above which queueing it, by the host, sets its time."""


@dataclass(frozen=True, slots=True)
class RunKey:
    """What identifies a run of a benchmark: a runtime, a device, an input, and a dtype."""

    runtime: str
    device: str
    input: Inputs
    dtype: DType = DEFAULT_DTYPE

    def __str__(self) -> str:
        dtype = "" if self.dtype == DEFAULT_DTYPE else f", {self.dtype}"
        return f"{self.runtime} on {self.device}, batch {self.input.batch}, {self.input.size}{dtype}"


@dataclass(frozen=True, slots=True)
class FirstPass:
    """The time to the first result: to prepare the network (convert, compile), and to run it once, in seconds."""

    prepare_s: float
    pass_s: float

    @property
    def seconds(self) -> float:
        """The sum of both."""
        return self.prepare_s + self.pass_s


@dataclass(frozen=True, slots=True)
class OwnProcess:
    """What is known of a run that had a process of its own.

    Attributes:
        passes_memory_bytes: the peak of memory in the timed passes alone; None where it cannot be known.
        turn_s: the median time that a turn took beside the pass: to wake the process, and to hear from it.
        driver_memory_bytes: what the process takes on its GPU after the passes, by the driver; None where it does not
            say, and on the CPU.
    """

    passes_memory_bytes: int | None
    turn_s: float
    driver_memory_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class MeasuredRun:
    """A run that was measured.

    Attributes:
        key: what was timed.
        gpu_name: the name of the GPU; None on the CPU.
        threads: threads of the CPU.
        first: the time to the first result.
        warm_up: the passes of warm-up.
        latency: the timed passes.
        enqueue: the time that the host took to queue each of them; None where the device has no queue.
        ended: what ended the measurement.
        difference: the largest difference from eager float32, relative to each output's largest value; infinite where
            outputs cannot be compared, None where there was nothing to compare with.
        peak_memory_bytes: the peak from preparing on, to the last pass of a process of its own, else to the end of
            warm-up; None where it cannot be known.
        added_memory_bytes: that peak less the memory in use before; None where it cannot be known.
        gpu: the state of the GPU while passes were timed; None where it could not be read.
        page_faults: pages that the system prepared in a pass of a CPU, on average; None where they are not counted.
        energy_j: the energy of a pass; None where power could not be read.
        failure: why the run failed after some passes, or why its outputs are not worth timing; None where it is fine.
        warnings: reasons to trust its outputs, or its time, less.
        quality: its outputs beside eager float32's on other images; None where they were not judged.
        graph: what the runtime executed; None in float32, and where it cannot be known.
        file_bytes: of the file that the runtime loads; None where it loads none.
        keep_float: the paths of the layers that were to stay in float32.
        own_process: the figures of its own process; None where it shared one.
        status: distinguishes it from a `NotRun`.
    """

    key: RunKey
    gpu_name: str | None
    threads: int
    first: FirstPass
    warm_up: WarmUp
    latency: Latency
    enqueue: Latency | None
    ended: Ended
    difference: float | None
    peak_memory_bytes: int | None
    added_memory_bytes: int | None
    gpu: GpuState | None = None
    page_faults: float | None = None
    energy_j: float | None = None
    failure: str | None = None
    warnings: tuple[WarningRecord, ...] = ()
    quality: QualityRecord | None = None
    graph: ExecutedGraph | None = None
    file_bytes: int | None = None
    keep_float: frozenset[str] = frozenset()
    own_process: OwnProcess | None = None
    status: Literal["measured"] = "measured"

    @property
    def throughput_per_s(self) -> float:
        """Images per second at the median latency."""
        return self.key.input.batch / self.latency.median

    @property
    def enqueue_share(self) -> float | None:
        """The median time to queue a pass over the median time of a pass; None where the device has no queue."""
        return self.enqueue.median / self.latency.median if self.enqueue else None

    @property
    def launch_bound(self) -> bool:
        """Whether the host, which queues the work, sets the time of a pass."""
        return (self.enqueue_share or 0.0) > LAUNCH_BOUND


@dataclass(frozen=True, slots=True)
class NotRun:
    """A run without a measurement.

    Attributes:
        key: what should have been timed.
        status: unavailable (not installed, or not possible on the device), too_large for the memory, or failed.
        reason: why, in a sentence.
        details: the traceback of an external network; empty where there is none.
    """

    key: RunKey
    status: Literal["unavailable", "too_large", "failed"]
    reason: str
    details: str = ""


BenchRun = MeasuredRun | NotRun


@dataclass(frozen=True, slots=True)
class ProfiledRun:
    """A run, and where its time goes."""

    key: RunKey
    profile: ProfileRecord


@dataclass(frozen=True, slots=True)
class NoProfile:
    """A run that could not be profiled, and why; ``unavailable``: its runtime cannot tell its layers apart."""

    key: RunKey
    reason: str
    unavailable: bool = False


@dataclass(frozen=True, slots=True)
class SizeCost:
    """The cost of a network for one image of a size, or for tensors of given shapes.

    Attributes:
        size: the size of an image; for tensors, all shapes as text.
        cost: parameters and MACs.
        fvcore: fvcore's count; None where it cannot count the network.
        activation_bytes: the peak of activations of the first batch, in the dtype of the runs.
        model_bytes: parameters and buffers in that dtype.
    """

    size: Size | str
    cost: NetworkCost | WholeCost
    fvcore: FvcoreCount | None
    activation_bytes: int
    model_bytes: int


@dataclass(frozen=True, slots=True)
class Benchmark:
    """The result of a benchmark of one network.

    Attributes:
        case: what was run, and how.
        costs: the cost at each size.
        runs: all runs, in the order in which they were asked for; those of sizes that do not fit come last.
        warnings: reasons to trust the figures less.
        environment: the machine and its software.
        weights: the checkpoint in the network; None where none was given.
        complete: False where Ctrl-C ended it.
        postprocess: the time of turning outputs into boxes, for each group that was asked for it.
        profiles: the runs that were profiled.
        noise: what each layer loses in int8, for each input that was asked for it.
        no_profiles: the runs that could not be profiled.
    """

    case: BenchCase
    costs: tuple[SizeCost, ...]
    runs: tuple[BenchRun, ...]
    warnings: tuple[WarningRecord, ...]
    environment: EnvironmentRecord
    weights: WeightsRecord | None = None
    complete: bool = True
    postprocess: tuple[PostprocessRun, ...] = ()
    profiles: tuple[ProfiledRun, ...] = ()
    noise: tuple[InputNoise, ...] = ()
    no_profiles: tuple[NoProfile, ...] = ()

    @property
    def measured(self) -> tuple[MeasuredRun, ...]:
        """The runs that were measured."""
        return tuple(run for run in self.runs if run.status == "measured")

    @property
    def not_run(self) -> tuple[NotRun, ...]:
        """The runs that were not measured."""
        return tuple(run for run in self.runs if run.status != "measured")

    def first(self, run: MeasuredRun) -> MeasuredRun:
        """Return the first measured run on the same device and input, which was timed in turn with this one."""
        place = (run.key.device, run.key.input)
        return next(other for other in self.measured if (other.key.device, other.key.input) == place)

    def in_float32(self, run: MeasuredRun) -> MeasuredRun:
        """Return the same runtime's run in float32, timed in turn with this one; the first run where there is none."""
        key = replace(run.key, dtype="float32")
        return next((other for other in self.measured if other.key == key), self.first(run))

    @property
    def failures(self) -> tuple[str, ...]:
        """A sentence for each run, and each profile, that was asked for by name and could not be done."""
        failed = [one for one in self.no_profiles if not (one.unavailable and self.profiles)]
        return (*_failures(self.runs, self.case), *(f"{one.key}, by layer: {one.reason}" for one in failed))


def speed_up(base: MeasuredRun, run: MeasuredRun) -> TimeRatio:
    """Return the time of one run over that of another that was timed in turn with it.

    Runs in turn, A B C, C B A, give a ratio for each two rounds. Of too few of them for an interval, one that something
    disturbed would be the ratio: it is then that of the medians.
    """
    paired = paired_ratio(run.latency.samples, base.latency.samples) if run is not base else None
    if paired and paired.interval:
        return paired
    return TimeRatio(base.latency.median / run.latency.median, None, MEDIANS)


def _failures(runs: Sequence[BenchRun], case: BenchCase) -> Iterator[str]:
    """Yield what failed. Of several dtypes, a runtime need not have them all; of all runtimes, a machine neither."""
    measured = {run.key.runtime for run in runs if run.status == "measured"}
    for run in runs:
        reason = run.failure if run.status == "measured" else run.reason
        expected = run.status == "unavailable" and (case.all_runtimes or run.key.runtime in measured)
        if reason is not None and not expected:
            yield f"{run.key}: {reason}"
