"""The tables of a store, and what its rows hold. Times are UTC in ISO 8601, durations in seconds, memory in bytes."""

from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import JSON, BigInteger, Column, Float, ForeignKey, Integer, MetaData, Row, String, Table, Text

from mnfpn_cli.documents.bench import RunProfile
from mnfpn_cli.documents.records import StatusCounts
from mnfpn_cli.documents.sweep import PlanRecord, SweepRecord
from mnfpn_cli.documents.worker import Measured
from mnfpn_cli.settings.input import Size
from mnfpn_cli.settings.network import NetworkSettings
from mnfpn_cli.space.planned import Capacity, Figures, Planned
from mnfpn_cli.space.runs import PASSES, Execution, Run

SCHEMA_VERSION = 3
"""Raised where an older mnfpn could not read, or would spoil, what a newer one writes; so where a key of `Measured`, of
`PlanRecord` or of the settings is new, gone or another."""

metadata = MetaData()
# What another table refers to has an index there: a row that is removed is looked for in all of them.

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
    Column("passes", String(40), nullable=False),  # `space.runs.PASSES`
    Column("machine", Text, nullable=False),
    Column("parameters", BigInteger, nullable=False),
    Column("macs", BigInteger, nullable=False),
    Column("memory_bytes", BigInteger, nullable=False),
    Column("backbone_channels", Integer, nullable=False),
    Column("channels", Integer, nullable=False),
    Column("levels", Integer, nullable=False),
    Column("finest_cells", BigInteger, nullable=False),
    Column("status", String(10), nullable=False, index=True),
    # Who is measuring it; ``beat`` changes while that process lives.
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
    Column("latency_s", Float),  # the median; the samples are in the document
    Column("reason", Text),
    Column("document", JSON),  # `documents.work.Measured`
)

sweeps = Table(
    "mnfpn_sweeps",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("token", String(32), nullable=False),  # by which another store knows it, whatever its number there
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


Status = Literal["pending", "done", "failed"]


@dataclass(frozen=True)
class Result:
    """What came of measuring a run.

    Attributes:
        id: 32 hexadecimal digits, of this measurement alone.
        sweep: that it was measured for.
        status: ``done``, or ``failed`` with the reason.
        worker: the name of the machine.
        started, finished: UTC, ISO 8601.
        reason: why it failed; of one that is done, why its layers could not be timed.
        measured: what was measured; None where it failed.
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
        """The median of the samples."""
        return self.measured.run.latency_s.median if self.measured else None


@dataclass(frozen=True)
class StoredRun:
    """A run in a store, with its newest result.

    Attributes:
        key: its `run_key`: 32 hexadecimal digits.
        planned: the run with its cost by the plan.
        target_machine: the kind of machine that it was planned for.
        status: whether it was measured, failed, or is still to be measured.
        result: the newest one, or where the run is done the newest one that is done; None where there is none.
    """

    key: str
    planned: Planned
    target_machine: str
    status: Status
    result: Result | None = None

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
        """Where it ran, or where it is to run: ``auto`` is known only then."""
        return self.measured.run.device if self.measured else self.execution.device

    @property
    def machine(self) -> str:
        """The kind of machine that it was measured on: of a cluster any may be asked for; else the one it is for."""
        if not self.measured:
            return self.target_machine
        there = self.measured.environment
        return there.gpu if self.device.startswith("cuda") and there.gpu else f"{there.cpu}, {there.cores} cores"

    @property
    def measured(self) -> Measured | None:
        """What was measured; None where nothing was."""
        return self.result.measured if self.status == "done" and self.result else None

    @property
    def profile(self) -> RunProfile | None:
        """Where its time goes; None where layers were not timed."""
        return self.measured.profile if self.measured else None

    @property
    def latency_s(self) -> float | None:
        """The median of a pass in seconds; None where it was not measured."""
        return self.result.latency_s if self.result and self.measured else None


@dataclass(frozen=True)
class Sweep:
    """What was asked for once: with what it has left.

    Attributes:
        id: a number of this store.
        token: 32 hexadecimal digits, by which any store knows it.
        started: UTC, ISO 8601.
        machine: the kind of machine that its runs are for.
        plan: what was asked for, and what became of the space.
        counts: its runs by status.
    """

    id: int
    token: str
    started: str
    machine: str
    plan: PlanRecord
    counts: StatusCounts

    @property
    def record(self) -> SweepRecord:
        """The same as documents have it."""
        return SweepRecord(
            id=self.id, started=self.started, machine=self.machine, counts=self.counts, **dict(self.plan)
        )


@dataclass(frozen=True)
class Baseline:
    """The baseline run of a sweep, timed once more: the machine then, on that worker."""

    id: str
    sweep: int
    key: str
    worker: str
    finished: str
    samples: tuple[float, ...]


def run_of(row: Row[Any], settings: NetworkSettings, result: Result | None = None) -> StoredRun:
    """A row of `mnfpn_runs`."""
    execution = Execution(row.runtime, row.device, row.dtype, row.batch, row.threads, row.passes == PASSES[True])
    capacity = Capacity(row.backbone_channels, row.channels, row.levels, row.finest_cells)
    figures = Figures(row.parameters, row.macs, row.memory_bytes, capacity)
    planned = Planned(Run(settings, Size(row.height, row.width), execution), figures)
    return StoredRun(row.key, planned, row.machine, row.status, result)


def columns_of(key: str, planned: Planned, machine: str, network: str) -> dict[str, Any]:
    """The row of a run that nobody has measured yet."""
    run, figures = planned
    execution, capacity = run.execution, figures.capacity
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
        "machine": machine,
        "parameters": figures.parameters,
        "macs": figures.macs,
        "memory_bytes": figures.memory_bytes,
        "backbone_channels": capacity.backbone_channels,
        "channels": capacity.channels,
        "levels": capacity.levels,
        "finest_cells": capacity.cells,
        "status": "pending",
        "beat": 0,
    }


def sweep_columns(token: str, started: str, machine: str, plan: PlanRecord) -> dict[str, Any]:
    """The row of a sweep, but for its number."""
    return {"token": token, "started": started, "machine": machine, "plan": plan.model_dump(mode="json")}


def result_columns(key: str, result: Result) -> dict[str, Any]:
    """The row of a result of a run."""
    return {
        **{name: getattr(result, name) for name in ("id", "sweep", "status", "worker", "started", "finished")},
        "key": key,
        "latency_s": result.latency_s,
        # What a process said in its last moments can be anything; servers keep no zeros in texts.
        "reason": result.reason.replace("\0", "\ufffd") if result.reason else result.reason,
        "document": result.measured.model_dump(mode="json") if result.measured else None,
    }
