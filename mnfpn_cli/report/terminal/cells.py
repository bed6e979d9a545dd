"""`mnfpn runs` as tables: the cells of a store, all that is known of one, what was removed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from mnfpn_cli.report.points import words_of
from mnfpn_cli.report.terminal.bench import half_width
from mnfpn_cli.report.terminal.cell_tables import Differing, cells_report, columns_of
from mnfpn_cli.report.terminal.tables import Report, command, note, pairs, table, warning
from mnfpn_cli.report.units import count, counted, scaled, seconds, seconds_range, size_in_bytes
from mnfpn_cli.settings.differences import changed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mnfpn_cli.documents.measurement import EnvironmentRecord
    from mnfpn_cli.report.terminal.tables import Table
    from mnfpn_cli.settings.network import NetworkSettings
    from mnfpn_cli.store.change import Removed
    from mnfpn_cli.store.rows import Result, StoredCell, Sweep
    from mnfpn_cli.sweep.runs import CellRow

KEY_DIGITS = 8
"""So many tell the cells of a store apart."""

SWEEPS_SHOWN = 5


def list_report(store: str, rows: Sequence[CellRow], sweeps: Sequence[Sweep], limit: int | None) -> Report:
    """The sweeps of a store, the latest first, with their commands below; its cells, and why some failed."""
    shown = rows[:limit]
    left = len(rows) - len(shown)
    return [
        *_sweeps_table(sweeps),
        *(_cells_table(store, shown, len(rows)) if shown else [note(f"No such cells in {store}.")]),
        *([note(f"{count(left)} more: --limit {len(rows)}, or --json", "dim")] if left else []),
        *_failures(shown),
    ]


def _sweeps_table(sweeps: Sequence[Sweep]) -> Report:
    if not sweeps:
        return []
    made = table("Sweeps", ">#", "Started (UTC)", ">Cells", ">Done", ">Failed", ">Pending")
    shown = sweeps[:SWEEPS_SHOWN]
    for one in shown:
        numbers = [one.counts.done, one.counts.failed, one.counts.pending]
        made.add_row(str(one.id), _moment(one.started), *map(count, (sum(numbers), *numbers)))
    asked = [command(f"{one.id}: {one.plan.command}") for one in shown if one.plan.command]
    older = len(sweeps) - SWEEPS_SHOWN
    return [made, *asked, *([note(f"{count(older)} older: --json", "dim")] if older > 0 else [])]


def _cells_table(store: str, rows: Sequence[CellRow], total: int) -> Report:
    """A row a cell; what is the same for all of them stands below it."""
    passes = [row.stored.cell.execution.passes for row in rows]
    apart = {
        "Status": [str(row.stored.status) for row in rows],
        "Size": [str(row.stored.cell.size) for row in rows],
        "Batch": [str(row.stored.cell.execution.batch) for row in rows],
        "Runtime": [row.stored.cell.execution.runtime for row in rows],
        "Device": [row.stored.device for row in rows],
        "Passes": passes if any(row.stored.cell.execution.train for row in rows) else [""] * len(rows),
        "Node": [row.result.node if row.result else "" for row in rows],
    }
    latencies = [row.latency for row in rows]
    figures = {
        ">Median": [seconds(one.median) if one else "" for one in latencies],
        ">±95 %": [half_width(one) if one else "" for one in latencies],
        "Ended (UTC)": [_moment(row.result.finished) if row.result else "" for row in rows],
    }
    keys = {"Key": [row.stored.key[:KEY_DIGITS] for row in rows]}
    differing = Differing(columns_of(words_of([row.stored for row in rows])), apart)
    return cells_report(f"{counted(total, 'cell')} in {store}", differing, figures, keys, fold=True)


def _failures(rows: Sequence[CellRow]) -> list[Table]:
    failed = [row for row in rows if row.stored.status == "failed"]
    if not failed:
        return []
    made = table("Failed", "Key", "Why")
    for row in failed:
        made.add_row(row.stored.key[:KEY_DIGITS], note(_line((row.result and row.result.reason) or "")))
    return [made]


def _line(text: str) -> str:
    return " / ".join(text.splitlines())


def _moment(iso: str) -> str:
    """``2026-11-21T17:20:34.096+00:00`` in as little as a narrow terminal has room for: ``11-21 17:20``."""
    return iso[5:16].replace("T", " ")


def as_text(value: object) -> str:
    """A setting in one word or line."""
    return value if isinstance(value, str) else json.dumps(value)


def show_report(row: CellRow, results: Sequence[Result], again: str) -> Report:
    """What the cell is, what it costs, what was measured of it; ``again``: the command that measures it again."""
    measured = row.stored.measured
    return [
        _what(row),
        _settings(row.stored.cell.settings),
        _cost(row),
        *_results(results),
        *_newest(row),
        *([_environment(measured.environment)] if measured else []),
        *(note(f"Failed: {row.result.reason}", "red") for _ in [0] if row.result and row.result.status == "failed"),
        *(warning(f"{one.cause}. What helps: {one.helps}.") for one in (measured.warnings if measured else ())),
        command(f"Again: {again}"),
    ]


def _what(row: CellRow) -> Table:
    stored, how = row.stored, row.stored.cell.execution
    rows = [
        ("status", stored.status),
        ("input", "×".join(map(str, stored.cell.input.shape))),
        ("runtime", how.runtime),
        ("device", stored.device if stored.device == how.device else f"{stored.device}, {how.device} was asked for"),
        ("dtype", how.dtype),
        ("threads", _threads(stored)),
        ("passes", how.passes),
        ("for", stored.place),
    ]
    return pairs(f"Cell {stored.key}", rows)


def _threads(stored: StoredCell) -> str:
    """The threads that it was measured with, and whether they were asked for."""
    from mnfpn_cli.sweep.runs import executed_run

    threads = executed_run(stored).threads
    if stored.cell.execution.threads is not None:
        return str(threads)
    return "torch's choice" if threads is None else f"{threads}, torch's choice"


def _settings(settings: NetworkSettings) -> Table:
    shown = [(key, _stages(value) if key == "stages" else as_text(value)) for key, value in changed(settings).items()]
    return pairs("Settings that are not the defaults", shown or [("none", "")])


def _stages(rows: Sequence[Mapping[str, object]]) -> str:
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
    latency, measured = row.latency, row.stored.measured
    if latency is None or measured is None:
        return []
    memory = measured.run.peak_memory_bytes
    rows = [("median", seconds(latency.median))]
    rows += [("95 % interval of it", seconds_range(*latency.interval))] if latency.interval else []
    rows += [("corrected for the machine's pace", _corrected(latency.median, row.pace))] if row.pace else []
    rows += [
        ("quartiles", seconds_range(*latency.quartiles)),
        ("fastest", seconds(latency.min)),
        ("outliers", count(len(latency.outliers))),
        ("images per second", f"{row.stored.cell.execution.batch / latency.median:.4g}"),
        ("peak memory", size_in_bytes(memory) if memory else "not known"),
        ("ended by", measured.run.ended_by),
    ]
    return [pairs("The newest of them", rows)]


def _corrected(median: float, pace: float) -> str:
    return f"{seconds(median / pace)}: the reference took {pace:.2f} × its first time"


def _environment(environment: EnvironmentRecord) -> Table:
    return pairs("Environment", [(key, as_text(value)) for key, value in environment if value is not None])


def removed_report(removed: Removed, dry_run: bool) -> Report:
    """What was removed, or would be, and what stays."""
    verb = "Would remove" if dry_run else "Removed"
    report: Report = [note(f"{verb}: {counted(removed.cells, 'cell')}, {counted(removed.results, 'result')}.")]
    if removed.restored:
        again = "was to be measured again stays" if removed.restored == 1 else "were to be measured again stay"
        report.append(note(f"{counted(removed.restored, 'cell')} that {again} as measured before."))
    if removed.busy:
        stay = "stays" if removed.busy == 1 else "stay"
        report.append(note(f"{counted(removed.busy, 'cell')} being measured right now {stay}."))
    return report


def merged_report(results: int, source: str, target: str) -> Report:
    """What was copied from where to where."""
    return [note(f"Merged: {counted(results, 'new result')} from {source} into {target}.")]
