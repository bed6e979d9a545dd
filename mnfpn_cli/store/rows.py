"""What a store holds, as values."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Row

from mnfpn_cli.settings.input import Size
from mnfpn_cli.settings.network import NetworkSettings
from mnfpn_cli.space.cells import Cell, Execution
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
        document: what `mnfpn bench --json` said: ``run`` (one of its ``runs``), ``warnings``, ``environment``, and
            ``profile`` where layers were timed.
    """

    id: str
    sweep: int
    status: Literal["done", "failed"]
    node: str
    started: str
    finished: str
    reason: str | None = None
    document: Mapping[str, Any] | None = None

    @property
    def samples(self) -> tuple[float, ...]:
        """The time of each pass in seconds."""
        return tuple(self.document["run"]["latency_s"]["samples"]) if self.document else ()

    @property
    def latency_s(self) -> float | None:
        """The median of the samples."""
        return self.document["run"]["latency_s"]["median"] if self.document else None


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
        document = self.measured
        return str(document["run"]["device"]) if document else self.cell.execution.device

    @property
    def machine(self) -> str:
        """The kind of machine that it was measured on: of a cluster any may be asked for; else the one it is for."""
        document = self.measured
        if not document:
            return self.place
        there = document["environment"]
        on_gpu = self.device.startswith("cuda") and there["gpu"]
        return str(there["gpu"]) if on_gpu else f"{there['cpu']}, {there['cores']} cores"

    @property
    def measured(self) -> Mapping[str, Any] | None:
        """What was measured, as a result's document has it; None where nothing was."""
        return self.result.document if self.status == "done" and self.result else None

    @property
    def latency_s(self) -> float | None:
        """The median of a pass in seconds; None where it was not measured."""
        return self.result.latency_s if self.result and self.measured else None


@dataclass(frozen=True)
class Sweep:
    """What was asked for once: with what it has left.

    Attributes:
        id: a number of this store.
        started: UTC, ISO 8601.
        place: the kind of machine that its cells are for.
        plan: what was asked for, and what became of the space.
        counts: its cells by status.
    """

    id: int
    started: str
    place: str
    plan: Mapping[str, Any]
    counts: Mapping[str, int]


def how_asked(plan: Any) -> Mapping[str, Any]:
    """How the cells of a sweep were to be measured, by its plan; nothing where that does not say it."""
    how = plan.get("how") if isinstance(plan, Mapping) else None
    return how if isinstance(how, Mapping) else {}


def by_layer(plan: Any) -> bool:
    """Whether a sweep was to time layers, by its plan."""
    return how_asked(plan).get("by_layer") is True


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
    execution = Execution(row.runtime, row.device, row.dtype, row.batch, row.threads)
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


def result_of(row: Row[Any]) -> Result:
    """A row of `mnfpn_results`."""
    return Result(row.id, row.sweep, row.status, row.node, row.started, row.finished, row.reason, row.document)


def result_columns(key: str, result: Result) -> dict[str, Any]:
    """The row of a result of a cell."""
    return {
        **{name: getattr(result, name) for name in ("id", "sweep", "status", "node", "started", "finished")},
        "key": key,
        "latency_s": result.latency_s,
        # What a process said in its last moments can be anything; servers keep no zeros in texts.
        "reason": result.reason.replace("\0", "\ufffd") if result.reason else result.reason,
        "document": dict(result.document) if result.document else None,
    }
