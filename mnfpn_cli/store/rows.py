"""What a store holds, as values."""

from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Row

from mnfpn_cli.documents.bench import RunProfile
from mnfpn_cli.documents.costs import StatusCounts
from mnfpn_cli.documents.sweep import PlanRecord, SweepRecord
from mnfpn_cli.documents.work import Measured
from mnfpn_cli.settings.input import Size
from mnfpn_cli.settings.network import NetworkSettings
from mnfpn_cli.space.cells import PASSES, Cell, Execution
from mnfpn_cli.space.planned import Capacity, Figures, Planned

Status = Literal["pending", "done", "failed"]


@dataclass(frozen=True)
class Result:
    """What came of measuring a cell.

    Attributes:
        id: 32 hexadecimal digits, of this measurement alone.
        sweep: that it was measured for.
        status: ``done``, or ``failed`` with the reason.
        node: the name of the machine.
        started, finished: UTC, ISO 8601.
        reason: why it failed; of one that is done, why its layers could not be timed.
        measured: what was measured; None where it failed.
    """

    id: str
    sweep: int
    status: Literal["done", "failed"]
    node: str
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
class StoredCell:
    """A cell in a store, and the newest result that it has: of one that is done, of those that are."""

    key: str
    cell: Cell
    place: str
    figures: Figures
    status: Status
    result: Result | None = None

    @property
    def planned(self) -> Planned:
        """The cell with what its plan says."""
        return Planned(self.cell, self.figures)

    @property
    def device(self) -> str:
        """Where it ran, or where it is to run: ``auto`` is known only then."""
        return self.measured.run.device if self.measured else self.cell.execution.device

    @property
    def machine(self) -> str:
        """The kind of machine that it was measured on: of a cluster any may be asked for; else the one it is for."""
        if not self.measured:
            return self.place
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
        place: the kind of machine that its cells are for.
        plan: what was asked for, and what became of the space.
        counts: its cells by status.
    """

    id: int
    token: str
    started: str
    place: str
    plan: PlanRecord
    counts: StatusCounts

    @property
    def record(self) -> SweepRecord:
        """The same as documents have it."""
        return SweepRecord(id=self.id, started=self.started, machine=self.place, counts=self.counts, **dict(self.plan))


@dataclass(frozen=True)
class Reference:
    """The reference cell of a sweep, timed once more: the machine then, on that node."""

    id: str
    sweep: int
    key: str
    node: str
    finished: str
    samples: tuple[float, ...]


def cell_of(row: Row[Any], settings: NetworkSettings, result: Result | None = None) -> StoredCell:
    """A row of `mnfpn_cells`."""
    execution = Execution(row.runtime, row.device, row.dtype, row.batch, row.threads, row.passes == PASSES[True])
    capacity = Capacity(row.backbone_channels, row.channels, row.levels, row.finest_cells)
    figures = Figures(row.parameters, row.macs, row.memory_bytes, capacity)
    cell = Cell(settings, Size(row.height, row.width), execution)
    return StoredCell(row.key, cell, row.place, figures, row.status, result)


def columns_of(key: str, planned: Planned, place: str, network: str) -> dict[str, Any]:
    """The row of a cell that nobody has measured yet."""
    cell, figures = planned
    how, capacity = cell.execution, figures.capacity
    return {
        "key": key,
        "network": network,
        "height": cell.size.height,
        "width": cell.size.width,
        "batch": how.batch,
        "runtime": how.runtime,
        "device": how.device,
        "dtype": how.dtype,
        "threads": how.threads,
        "passes": how.passes,
        "place": place,
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


def sweep_columns(token: str, started: str, place: str, plan: PlanRecord) -> dict[str, Any]:
    """The row of a sweep, but for its number."""
    return {"token": token, "started": started, "place": place, "plan": plan.model_dump(mode="json")}


def result_columns(key: str, result: Result) -> dict[str, Any]:
    """The row of a result of a cell."""
    return {
        **{name: getattr(result, name) for name in ("id", "sweep", "status", "node", "started", "finished")},
        "key": key,
        "latency_s": result.latency_s,
        # What a process said in its last moments can be anything; servers keep no zeros in texts.
        "reason": result.reason.replace("\0", "\ufffd") if result.reason else result.reason,
        "document": result.measured.model_dump(mode="json") if result.measured else None,
    }
