"""What a benchmark found, and its document. Times are in seconds, memory in bytes."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Literal

from mnfpn_cli.bench.workload import FvcoreCount
from mnfpn_cli.devices.nvml import GpuState
from mnfpn_cli.documents.bench import (
    BenchDocument,
    CostRecord,
    FirstResult,
    GpuRecord,
    NotRunRecord,
    PartCost,
    ProfileRecord,
    RunConditions,
    RunProfile,
    RunRecord,
    SizeRecord,
)
from mnfpn_cli.documents.records import Ended, EnvironmentRecord, WeightsRecord
from mnfpn_cli.external.origin import Inputs, Origin, input_record
from mnfpn_cli.measure.engine import WarmUp
from mnfpn_cli.measure.statistics import Latency, latency_record
from mnfpn_cli.measure.unsteady import Unsteady
from mnfpn_cli.plan.cost import Cost, NetworkCost, WholeCost
from mnfpn_cli.settings.input import Size
from mnfpn_cli.settings.measuring import BenchCase

LAUNCH_BOUND = 0.8
"""The share of a pass from which on the host, which queues the work, is what takes the time."""


@dataclass(frozen=True, slots=True)
class RunKey:
    """What is timed by one run: a runtime on a device, and its input."""

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
class MeasuredRun:
    """What was measured in one run.

    Attributes:
        key: what was timed.
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
        status: tells it from a run that was not run.
    """

    key: RunKey
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
        return self.key.input.batch / self.latency.median

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
    """A run without a measurement, and why.

    ``unavailable``: not installed, or not possible on the device; ``too_large`` for the memory; or ``failed``.
    ``details``: the traceback of a network of others.
    """

    key: RunKey
    status: Literal["unavailable", "too_large", "failed"]
    reason: str
    details: str = ""


BenchRun = MeasuredRun | NotRun


@dataclass(frozen=True, slots=True)
class ProfiledRun:
    """Where the time of one run goes."""

    key: RunKey
    profile: ProfileRecord


@dataclass(frozen=True, slots=True)
class NoProfile:
    """A run of which it is not known where the time goes, and why."""

    key: RunKey
    reason: str


@dataclass(frozen=True, slots=True)
class SizeCost:
    """What a network costs for one image of a size, or for tensors of given shapes.

    Attributes:
        size: of images; of tensors, all shapes in words.
        cost: parameters and MACs.
        fvcore: its own count; None where it cannot count the network.
        activation_bytes: for a batch as the first runs have it, in the run's dtype.
        model_bytes: in the run's dtype.
    """

    size: Size | str
    cost: NetworkCost | WholeCost
    fvcore: FvcoreCount | None
    activation_bytes: int
    model_bytes: int


@dataclass(frozen=True, slots=True)
class Benchmark:
    """The cost of a network, its runs in the order in which they were asked for, and what made them uncertain.

    ``complete`` is False where Ctrl-C ended it.
    """

    case: BenchCase
    costs: tuple[SizeCost, ...]
    runs: tuple[BenchRun, ...]
    warnings: tuple[Unsteady, ...]
    environment: EnvironmentRecord
    weights: WeightsRecord | None = None
    complete: bool = True
    profiles: tuple[ProfiledRun, ...] = ()
    no_profiles: tuple[NoProfile, ...] = ()

    @property
    def measured(self) -> tuple[MeasuredRun, ...]:
        """The runs that were measured."""
        return tuple(run for run in self.runs if run.status == "measured")

    @property
    def not_run(self) -> tuple[NotRun, ...]:
        """The runs that were not."""
        return tuple(run for run in self.runs if run.status != "measured")

    def speed_up(self, run: MeasuredRun) -> float:
        """How many times as fast as the first run of the same device and input that was measured."""
        first = next(one for one in self.measured if beside(one.key, run.key))
        return first.latency.median / run.latency.median

    @property
    def failures(self) -> tuple[str, ...]:
        """What was asked for by name and could not be done, each with its place."""
        return (*_failures(self.runs, self.case), *(f"{one.key}, by layer: {one.reason}" for one in self.no_profiles))


def beside(one: RunKey, other: RunKey) -> bool:
    """Whether two keys were timed in turn with each other."""
    return (one.device, one.input) == (other.device, other.input)


def _failures(runs: Sequence[BenchRun], case: BenchCase) -> list[str]:
    found = []
    for run in runs:
        reason = run.failure if run.status == "measured" else run.reason
        expected = run.status == "unavailable" and case.all_runtimes
        if reason is not None and not expected:
            found.append(f"{run.key}: {reason}")
    return found


def bench_document(result: Benchmark, origin: Origin) -> BenchDocument:
    """Make the document of a benchmark; ``origin`` is the network's."""
    positions = {run.key: position for position, run in enumerate(result.runs)}
    profiles = tuple(_profile(one.key, one.profile, result.case) for one in result.profiles)
    return BenchDocument(
        settings=origin.settings,
        model=origin.model,
        complete=result.complete,
        input=input_record(result.runs[0].key.input),
        cost=_cost(result.costs[0]),
        sizes=tuple(_size(one) for one in result.costs),
        runs=tuple(_run(result, run, positions[run.key]) for run in result.measured),
        not_run=tuple(_not_run(run, positions[run.key], result.case) for run in result.not_run),
        profiles=profiles or None,
        failures=result.failures,
        warnings=tuple(warning.record() for warning in result.warnings),
        environment=result.environment,
        weights=result.weights,
    )


def _size(one: SizeCost) -> SizeRecord:
    height, width = (None, None) if isinstance(one.size, str) else one.size
    return SizeRecord(height=height, width=width, cost=_cost(one))


def _cost(one: SizeCost) -> CostRecord:
    total, parts = one.cost.total, one.cost.parts
    return CostRecord(
        parameters=total.parameters,
        macs=total.macs,
        flops=total.flops,
        fvcore_total=one.fvcore.total if one.fvcore else None,
        fvcore_by_operator=dict(one.fvcore.by_operator) if one.fvcore else None,
        model_bytes=one.model_bytes,
        activation_bytes=one.activation_bytes,
        backbone=_part(parts.get("backbone")),
        pyramid=_part(parts.get("pyramid")),
        head=_part(parts.get("head")),
    )


def _part(cost: Cost | None) -> PartCost | None:
    return PartCost(parameters=cost.parameters, macs=cost.macs) if cost else None


def _run(result: Benchmark, run: MeasuredRun, position: int) -> RunRecord:
    difference = run.difference
    return RunRecord(
        **vars(_conditions(run.key, result.case)),
        position=position,
        device_name=run.device_name,
        channels_last=run.key.runtime == "channels-last",
        threads=run.threads,
        first_result_s=FirstResult(prepare=run.first.prepare_s, pass_=run.first.pass_s),
        warmup=run.warm_up.passes,
        warmup_settled=run.warm_up.settled,
        ended_by=run.ended,
        latency_s=latency_record(run.latency),
        enqueue_s=latency_record(run.enqueue) if run.enqueue else None,
        speed_up=result.speed_up(run),
        throughput_per_s=run.throughput_per_s,
        comparable=None if difference is None else isfinite(difference),
        max_difference=difference if difference is not None and isfinite(difference) else None,
        peak_memory_bytes=run.peak_memory_bytes,
        added_memory_bytes=run.added_memory_bytes,
        gpu=_gpu(run.gpu),
        energy_j_per_image=None if run.energy_j is None else run.energy_j / run.key.input.batch,
        failure=run.failure,
    )


def _not_run(run: NotRun, position: int, case: BenchCase) -> NotRunRecord:
    return NotRunRecord(**vars(_conditions(run.key, case)), position=position, status=run.status, reason=run.reason)


def _profile(key: RunKey, profile: ProfileRecord, case: BenchCase) -> RunProfile:
    return RunProfile(**vars(_conditions(key, case)), **vars(profile))


def _conditions(key: RunKey, case: BenchCase) -> RunConditions:
    return RunConditions(
        runtime=key.runtime,
        device=key.device,
        dtype=case.dtype,
        batch=key.input.batch,
        input=input_record(key.input),
        train=case.train,
        cold_cache=case.cold_cache,
    )


def _gpu(state: GpuState | None) -> GpuRecord | None:
    """Leave out the energy, which is that of a single reading."""
    if state is None or state == GpuState():
        return None
    return GpuRecord(**{name: getattr(state, name) for name in GpuRecord.model_fields})
