"""The tables of a store, and the records that are read from their rows.

Moments are UTC in ISO 8601, durations are in seconds, memory is in bytes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

from sqlalchemy import JSON, BigInteger, Column, Float, ForeignKey, Integer, MetaData, Row, String, Table, Text

from mnfpn_cli.documents.bench import RunProfile
from mnfpn_cli.documents.records import StatusCounts
from mnfpn_cli.documents.sweep import PlanRecord, SweepRecord
from mnfpn_cli.documents.worker import Measured
from mnfpn_cli.settings.input import Size
from mnfpn_cli.settings.measuring import PASSES
from mnfpn_cli.settings.network import NetworkSettings
from mnfpn_cli.space.planned import Figures, Planned
from mnfpn_cli.space.runs import Execution, Run

SCHEMA_VERSION = 5
"""Increased when an older mnfpn could not read or would corrupt what a newer one writes: when a key of `Measured`, of
`PlanRecord` or of the settings is added, removed or changed."""

metadata = MetaData()
# Every foreign key has an index: deleting a row searches the tables that refer to it.

store = Table(
    "mnfpn_store",
    metadata,
    Column("name", String(40), primary_key=True),
    Column("value", Text, nullable=False),
)

networks = Table(
    "mnfpn_networks",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("settings", JSON, nullable=False),
)

runs = Table(
    "mnfpn_runs",
    metadata,
    Column("key", String(32), primary_key=True),
    Column("network", ForeignKey(networks.c.id), nullable=False, index=True),
    Column("height", Integer, nullable=False),
    Column("width", Integer, nullable=False),
    Column("batch", Integer, nullable=False),
    Column("runtime", String(40), nullable=False),
    Column("device", String(40), nullable=False),
    Column("dtype", String(40), nullable=False),
    Column("threads", Integer),
    Column("passes", String(40), nullable=False),  # `settings.measuring.PASSES`
    Column("allocator", String(40), nullable=False),
    Column("machine", Text, nullable=False),
    Column("parameters", BigInteger, nullable=False),
    Column("macs", BigInteger, nullable=False),
    Column("memory_bytes", BigInteger, nullable=False),
    Column("levels", Integer, nullable=False),
    Column("status", String(10), nullable=False, index=True),
    # The process that measures the run, and a counter that it increments while it lives: see `store.claims`.
    Column("claimed_by", String(200), index=True),
    Column("beat", Integer, nullable=False, default=0),
)

results = Table(
    "mnfpn_results",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("key", ForeignKey(runs.c.key), nullable=False, index=True),
    Column("sweep", Integer, nullable=False),
    Column("status", String(10), nullable=False),
    Column("worker", Text, nullable=False),
    Column("started", String(40), nullable=False),
    Column("finished", String(40), nullable=False),
    Column("latency_s", Float),  # the median; the samples are in ``document``
    Column("reason", Text),
    Column("document", JSON),  # `documents.worker.Measured`
)

sweeps = Table(
    "mnfpn_sweeps",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("token", String(32), nullable=False),  # identifies the sweep in every store; the id is local
    Column("started", String(40), nullable=False),
    Column("machine", Text, nullable=False),
    Column("plan", JSON, nullable=False),  # `documents.sweep.PlanRecord`
)

sweep_runs = Table(
    "mnfpn_sweep_runs",
    metadata,
    Column("sweep", ForeignKey(sweeps.c.id), primary_key=True),
    Column("key", ForeignKey(runs.c.key), primary_key=True, index=True),
    Column("position", Integer, nullable=False),
)

baselines = Table(
    "mnfpn_baselines",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("sweep", ForeignKey(sweeps.c.id), nullable=False, index=True),
    Column("key", ForeignKey(runs.c.key), nullable=False, index=True),
    Column("worker", Text, nullable=False),
    Column("finished", String(40), nullable=False),
    Column("samples", JSON, nullable=False),
)


def _scored() -> tuple[Column[Any], ...]:
    """Return the columns of what a score, or a training, is of: a network at a size in a dtype."""
    return (
        Column("network", ForeignKey(networks.c.id), nullable=False, index=True),
        Column("height", Integer, nullable=False),
        Column("width", Integer, nullable=False),
        Column("dtype", String(40), nullable=False),
    )


scores = Table(
    "mnfpn_scores",
    metadata,
    Column("id", String(32), primary_key=True),
    *_scored(),
    Column("metric", String(80), nullable=False),
    Column("value", Float, nullable=False),
    Column("source", Text, nullable=False),
    Column("date", String(40), nullable=False),
)

trainings = Table(
    "mnfpn_trainings",
    metadata,
    Column("key", String(32), primary_key=True),
    *_scored(),
    Column("command", Text, nullable=False),
    Column("status", String(10), nullable=False, index=True),
    Column("claimed_by", String(200), index=True),  # as in `runs`
    Column("beat", Integer, nullable=False, default=0),
    Column("reason", Text),
    Column("log", Text),
    Column("worker", Text),
    Column("started", String(40)),
    Column("finished", String(40)),
)


RunStatus = Literal["pending", "done", "failed"]
"""The status of a run: still to be measured, measured, or failed."""


@dataclass(frozen=True)
class StoredResult:
    """The result of measuring a run once.

    Attributes:
        id: 32 random hexadecimal digits.
        sweep: the id of the sweep that measured it.
        status: ``done`` or ``failed``.
        worker: the worker that measured it.
        started: the moment when the measurement began.
        finished: the moment when it ended.
        reason: why it failed; where it is done, why its layers could not be timed.
        measured: the measurement; None where it failed.
    """

    id: str
    sweep: int
    status: Literal["done", "failed"]
    worker: str
    started: str
    finished: str
    reason: str | None = None
    measured: Measured | None = None

    @property
    def samples(self) -> tuple[float, ...]:
        """The time of each pass in seconds."""
        return self.measured.run.latency_s.samples if self.measured else ()

    @property
    def latency_s(self) -> float | None:
        """The median of the samples in seconds; None where it failed."""
        return self.measured.run.latency_s.median if self.measured else None


@dataclass(frozen=True)
class StoredScore:
    """A score of a network at a size in a dtype, as somebody measured it. A larger one is better.

    Attributes:
        metric: the name of what was measured, as ``map``.
        value: the score.
        source: where it came from: a file, a command, or who gave it.
        date: the moment when it was stored.
    """

    metric: str
    value: float
    source: str
    date: str


@dataclass(frozen=True)
class StoredRun:
    """A run in a store, with its newest result.

    Attributes:
        key: its `run_key`: 32 hexadecimal digits.
        planned: the run and its cost by the plan.
        target_machine: the kind of machine that it is to be measured on, as its sweep planned it.
        status: whether it is still to be measured, was measured, or failed.
        result: its newest result with the status of the run, or else its newest result; None where it has no result.
        scores: the newest score of its network, at its size in its dtype, by metric.
    """

    key: str
    planned: Planned
    target_machine: str
    status: RunStatus
    result: StoredResult | None = None
    scores: Mapping[str, StoredScore] = field(default_factory=dict)

    @property
    def settings(self) -> NetworkSettings:
        """The settings of its network."""
        return self.planned.run.settings

    @property
    def size(self) -> Size:
        """The size of its images."""
        return self.planned.run.size

    @property
    def execution(self) -> Execution:
        """Its runtime, device, dtype, batch and pass, as they were asked for."""
        return self.planned.run.execution

    @property
    def figures(self) -> Figures:
        """Its cost by the plan."""
        return self.planned.figures

    @property
    def device(self) -> str:
        """The device that it was measured on, or else that it is to be measured on, which may be ``auto``."""
        return self.measured.run.device if self.measured else self.execution.device

    @property
    def machine(self) -> str:
        """The kind of machine that it was measured on, or else `target_machine`, which may be any of a cluster."""
        if not self.measured:
            return self.target_machine
        environment = self.measured.environment
        if self.device.startswith("cuda") and environment.gpu_name:
            return environment.gpu_name
        return f"{environment.cpu}, {environment.cores} cores"

    @property
    def measured(self) -> Measured | None:
        """The measurement of the newest result; None unless the run is done."""
        return self.result.measured if self.status == "done" and self.result else None

    @property
    def profile(self) -> RunProfile | None:
        """The times of its layers; None where they were not measured."""
        return self.measured.profile if self.measured else None

    @property
    def latency_s(self) -> float | None:
        """The median time of a pass in seconds; None unless the run is done."""
        return self.result.latency_s if self.result and self.measured else None


@dataclass(frozen=True)
class Sweep:
    """A sweep, with its progress.

    Attributes:
        id: its number in this store.
        token: 32 random hexadecimal digits that identify it in every store.
        started: the moment when it was inserted.
        machine: the kind of machine that its runs are to be measured on.
        plan: the space, the choice of runs, and how each is measured.
        counts: the number of its runs by status.
    """

    id: int
    token: str
    started: str
    machine: str
    plan: PlanRecord
    counts: StatusCounts

    @property
    def left(self) -> int:
        """The number of runs that are still to be measured: the pending ones, or as many as a prediction may need."""
        pending, ended = self.counts.pending, self.counts.done + self.counts.failed
        if not self.plan.predict or self.plan.measure == "all":
            return pending
        return min(pending, max(0, int(self.plan.measure) - ended))

    @property
    def record(self) -> SweepRecord:
        """The sweep as documents show it."""
        return SweepRecord(
            id=self.id, started=self.started, machine=self.machine, counts=self.counts, **dict(self.plan)
        )


@dataclass(frozen=True)
class BaselineTiming:
    """One timing of the baseline run of a sweep, from which the drift of a worker follows.

    Attributes:
        id: 32 random hexadecimal digits.
        sweep: the id of the sweep.
        key: the key of its baseline run.
        worker: the worker that timed it.
        finished: the moment when the timing ended.
        samples: the time of each pass in seconds.
    """

    id: str
    sweep: int
    key: str
    worker: str
    finished: str
    samples: tuple[float, ...]


def run_from_row(
    row: Row[Any],
    settings: NetworkSettings,
    result: StoredResult | None = None,
    scores: Mapping[str, StoredScore] = MappingProxyType({}),
) -> StoredRun:
    """Return the run of a row of `mnfpn_runs`."""
    train = row.passes == PASSES[True]
    execution = Execution(row.runtime, row.device, row.dtype, row.batch, row.threads, train, row.allocator)
    figures = Figures(row.parameters, row.macs, row.memory_bytes, row.levels)
    planned = Planned(Run(settings, Size(row.height, row.width), execution), figures)
    return StoredRun(row.key, planned, row.machine, row.status, result, scores)


def run_columns(key: str, planned: Planned, machine: str, network: str) -> dict[str, Any]:
    """Return the row of a pending run in `mnfpn_runs`; ``network`` is the id of its network."""
    run, figures = planned
    execution = run.execution
    return {
        "key": key,
        "network": network,
        "height": run.size.height,
        "width": run.size.width,
        "batch": execution.batch,
        "runtime": execution.runtime,
        "device": execution.device,
        "dtype": execution.dtype,
        "threads": execution.threads,
        "passes": execution.passes,
        "allocator": execution.allocator,
        "machine": machine,
        "parameters": figures.parameters,
        "macs": figures.macs,
        "memory_bytes": figures.memory_bytes,
        "levels": figures.levels,
        "status": "pending",
        "beat": 0,
    }


def sweep_columns(token: str, started: str, machine: str, plan: PlanRecord) -> dict[str, Any]:
    """Return the row of a sweep in `mnfpn_sweeps`, without its id."""
    return {"token": token, "started": started, "machine": machine, "plan": plan.model_dump(mode="json")}


def result_columns(key: str, result: StoredResult) -> dict[str, Any]:
    """Return the row of a result in `mnfpn_results`; ``key`` is the key of its run."""
    return {
        **{name: getattr(result, name) for name in ("id", "sweep", "status", "worker", "started", "finished")},
        "key": key,
        "latency_s": result.latency_s,
        # The last output of a dying process may hold NUL, which PostgreSQL does not store in text.
        "reason": result.reason.replace("\0", "\ufffd") if result.reason else result.reason,
        "document": result.measured.model_dump(mode="json") if result.measured else None,
    }
