"""What a benchmark found. Times are in seconds, memory in bytes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from mnfpn_cli.bench.flops import FvcoreCount
from mnfpn_cli.devices.nvml import GpuState
from mnfpn_cli.documents.bench import ProfileRecord
from mnfpn_cli.documents.inputs import WeightsRecord
from mnfpn_cli.documents.measurement import Ended, EnvironmentRecord
from mnfpn_cli.external.inputs import Inputs
from mnfpn_cli.measure.engine import WarmUp
from mnfpn_cli.measure.statistics import Latency
from mnfpn_cli.measure.unsteady import Unsteady
from mnfpn_cli.plan.cost import NetworkCost, WholeCost
from mnfpn_cli.settings.input import Size
from mnfpn_cli.settings.measuring import BenchCase

LAUNCH_BOUND = 0.8
"""The share of a pass from which on the host, which queues the work, is what takes the time."""


@dataclass(frozen=True, slots=True)
class RunKey:
    """What is timed by one row: a runtime on a device, and its input."""

    runtime: str
    device: str
    input: Inputs

    def __str__(self) -> str:
        return f"{self.runtime} on {self.device}, batch {self.input.batch}, {self.input.size}"


@dataclass(frozen=True, slots=True)
class FirstPass:
    """The time to the first result: to prepare the network (to convert, to compile), and to run it once."""

    prepare_s: float
    pass_s: float

    @property
    def seconds(self) -> float:
        """Both together."""
        return self.prepare_s + self.pass_s


@dataclass(frozen=True, slots=True)
class BenchRun:
    """What was measured in one row.

    Attributes:
        cell: what was timed.
        device_name: the GPU's.
        threads: of the CPU.
        first: the first pass.
        warm_up: the passes before the timed ones.
        latency: the timed passes.
        enqueue: for each of them what the host took to queue it, where the device has a queue.
        ended: what ended the measurement.
        difference: the largest from eager float32, relative to each output's largest value; None where none was taken.
        peak_memory_bytes: while it was prepared and warmed up; None where it cannot be known.
        added_memory_bytes: that less what was in use before.
        gpu: clocks, temperature and power behind the last pass, as far as they can be read.
        energy_j: of one pass, where power was read.
        failure: why it failed: after so many passes, or in what it returns.
        doubts: what its outputs leave in doubt.
        status: tells it from a row that was not run.
    """

    cell: RunKey
    device_name: str | None
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
    energy_j: float | None = None
    failure: str | None = None
    doubts: tuple[Unsteady, ...] = ()
    status: Literal["measured"] = "measured"

    @property
    def throughput_per_s(self) -> float:
        """Images a second at the median latency."""
        return self.cell.input.batch / self.latency.median

    @property
    def enqueue_share(self) -> float | None:
        """The median time to queue a pass over the median pass."""
        return self.enqueue.median / self.latency.median if self.enqueue else None

    @property
    def launch_bound(self) -> bool:
        """Whether the host, not the device, takes the time."""
        return (self.enqueue_share or 0.0) > LAUNCH_BOUND


@dataclass(frozen=True, slots=True)
class NotRun:
    """A row without a measurement, and why.

    ``unavailable``: not installed, or not possible on the device; ``too_large`` for the memory; or ``failed``.
    ``details``: the traceback of a network of others.
    """

    cell: RunKey
    status: Literal["unavailable", "too_large", "failed"]
    reason: str
    details: str = ""


Row = BenchRun | NotRun


@dataclass(frozen=True, slots=True)
class CellProfile:
    """Where the time of one row goes."""

    cell: RunKey
    profile: ProfileRecord


@dataclass(frozen=True, slots=True)
class NoProfile:
    """A row of which it is not known where the time goes, and why."""

    cell: RunKey
    reason: str


@dataclass(frozen=True, slots=True)
class SizeCost:
    """What a network costs for one image of a size, or for tensors of given shapes.

    Attributes:
        size: of images; of tensors, all shapes in words.
        cost: parameters and MACs.
        fvcore: its own count; None where it cannot count the network.
        activation_bytes: for a batch as the first rows have it, in the run's dtype.
        model_bytes: in the run's dtype.
    """

    size: Size | str
    cost: NetworkCost | WholeCost
    fvcore: FvcoreCount | None
    activation_bytes: int
    model_bytes: int


@dataclass(frozen=True, slots=True)
class Benchmark:
    """The cost of a network, its rows in the order in which they were asked for, and what made them uncertain.

    ``complete`` is False where Ctrl-C ended it.
    """

    case: BenchCase
    costs: tuple[SizeCost, ...]
    rows: tuple[Row, ...]
    warnings: tuple[Unsteady, ...]
    environment: EnvironmentRecord
    weights: WeightsRecord | None = None
    complete: bool = True
    profiles: tuple[CellProfile, ...] = ()
    no_profiles: tuple[NoProfile, ...] = ()

    @property
    def runs(self) -> tuple[BenchRun, ...]:
        """The rows that were measured."""
        return tuple(row for row in self.rows if row.status == "measured")

    @property
    def not_run(self) -> tuple[NotRun, ...]:
        """The rows that were not."""
        return tuple(row for row in self.rows if row.status != "measured")

    def speed_up(self, run: BenchRun) -> float:
        """How many times as fast as the first row of the same device and input that was measured."""
        first = next(row for row in self.runs if beside(row.cell, run.cell))
        return first.latency.median / run.latency.median

    @property
    def failures(self) -> tuple[str, ...]:
        """What was asked for by name and could not be done, each with its place."""
        return (*_failures(self.rows, self.case), *(f"{one.cell}, by layer: {one.reason}" for one in self.no_profiles))


def beside(one: RunKey, other: RunKey) -> bool:
    """Whether two cells were timed in turn with each other."""
    return (one.device, one.input) == (other.device, other.input)


def _failures(rows: Sequence[Row], case: BenchCase) -> list[str]:
    found = []
    for row in rows:
        reason = row.failure if row.status == "measured" else row.reason
        expected = row.status == "unavailable" and case.all_runtimes
        if reason is not None and not expected:
            found.append(f"{row.cell}: {reason}")
    return found
