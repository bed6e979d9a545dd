"""All that a store knows of one cell, as tables and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mnfpn_cli.report.cells import CellRow, as_text, cell_document
from mnfpn_cli.report.document import document
from mnfpn_cli.report.runs import half_width
from mnfpn_cli.report.tables import Report, command, note, pairs, table, warning
from mnfpn_cli.report.units import count, scaled, seconds, seconds_range, size_in_bytes
from mnfpn_cli.settings.models import NetworkSettings
from mnfpn_cli.space.names import flat

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.table import Table

    from mnfpn_cli.store.rows import Result


def show_document(row: CellRow, results: Sequence[Result]) -> dict[str, Any]:
    """A cell, and everything that was measured of it, the oldest first."""
    body = {"cell": cell_document(row), "results": [_result_document(one) for one in results]}
    return document("runs show", row.stored.cell.settings, body)


def _result_document(result: Result) -> dict[str, Any]:
    names = ("id", "sweep", "status", "node", "started", "finished", "reason")
    measured = result.document or {}
    parts = {name: measured.get(name) for name in ("run", "warnings", "environment", "profile")}
    return {**{name: getattr(result, name) for name in names}, **parts}


def show_report(row: CellRow, results: Sequence[Result]) -> Report:
    """What the cell is, what it costs, what was measured of it, and how to measure it again."""
    measured = row.stored.measured or {}
    return [
        _what(row),
        _settings(row.stored.cell.settings),
        _cost(row),
        *_results(results),
        *_newest(row),
        *([_environment(measured["environment"])] if measured.get("environment") else []),
        *(note(f"Failed: {row.result.reason}", "red") for _ in [0] if row.result and row.result.status == "failed"),
        *(warning(f"{one['cause']}. What helps: {one['helps']}.") for one in measured.get("warnings", ())),
        command(f"Again: {row.command}"),
    ]


def _what(row: CellRow) -> Table:
    stored, how = row.stored, row.stored.cell.execution
    rows = [
        ("status", stored.status),
        ("input", "×".join(map(str, stored.cell.input.shape))),
        ("runtime", how.runtime),
        ("device", stored.device if stored.device == how.device else f"{stored.device}, {how.device} was asked for"),
        ("dtype", how.dtype),
        ("threads", "torch's choice" if how.threads is None else str(how.threads)),
        ("for", stored.place),
    ]
    return pairs(f"Cell {stored.key}", rows)


def _settings(settings: NetworkSettings) -> Table:
    usual = flat(NetworkSettings())
    rows = [(key, value) for key, value in flat(settings).items() if key not in usual or usual[key] != value]
    shown = [(key, _stages(value) if key == "stages" else as_text(value)) for key, value in rows]
    return pairs("Settings that are not the defaults", shown or [("none", "")])


def _stages(rows: Sequence[Mapping[str, Any]]) -> str:
    """A table of stages as ``--stages`` takes it."""
    return " ".join(",".join(str(value) for value in row.values()) for row in rows)


def _cost(row: CellRow) -> Table:
    figures, capacity = row.stored.figures, row.stored.figures.capacity
    return pairs(
        "Cost, and capacity kept",
        [
            ("parameters", count(figures.parameters)),
            ("MACs of one image", f"{count(figures.macs)} ({scaled(figures.macs)})"),
            ("weights and activations", size_in_bytes(figures.memory_bytes)),
            ("channels of the tapped maps", count(capacity.backbone_channels)),
            ("channels of a level", count(capacity.channels)),
            ("levels", count(capacity.levels)),
            ("cells of the finest level", count(capacity.cells)),
        ],
    )


def _results(results: Sequence[Result]) -> list[Table]:
    if not results:
        return []
    made = table("Measured", "Finished (UTC)", ">Sweep", "Node", "Status", ">Median", ">±95 %", ">Passes")
    for one in results:
        when = one.finished[:19].replace("T", " ")
        made.add_row(when, str(one.sweep), note(one.node), one.status, *_figures(one))
    return [made]


def _figures(result: Result) -> tuple[str, str, str]:
    from mnfpn_cli.measure.statistics import Latency

    if not result.samples:
        return "", "", ""
    latency = Latency(result.samples)
    return seconds(latency.median), half_width(latency), count(len(result.samples))


def _newest(row: CellRow) -> list[Table]:
    latency, run = row.latency, (row.stored.measured or {}).get("run", {})
    if latency is None:
        return []
    rows = [("median", seconds(latency.median))]
    rows += [("95 % interval of it", seconds_range(*latency.interval))] if latency.interval else []
    rows += [("corrected for the machine's pace", _corrected(latency.median, row.pace))] if row.pace else []
    rows += [
        ("quartiles", seconds_range(*latency.quartiles)),
        ("fastest", seconds(latency.min)),
        ("outliers", count(len(latency.outliers))),
        ("images per second", f"{row.stored.cell.execution.batch / latency.median:.4g}"),
        ("peak memory", size_in_bytes(run["peak_memory_bytes"]) if run.get("peak_memory_bytes") else "not known"),
        ("ended by", str(run.get("ended_by"))),
    ]
    return [pairs("The newest of them", rows)]


def _corrected(median: float, pace: float) -> str:
    return f"{seconds(median / pace)}: the reference took {pace:.2f} × its first time"


def _environment(environment: Mapping[str, Any]) -> Table:
    return pairs("Environment", [(key, as_text(value)) for key, value in environment.items() if value is not None])
