"""`mnfpn runs` as tables: the runs of a store, all that is known of one, what was removed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mnfpn_cli.report.points import words_of
from mnfpn_cli.report.terminal.bench import half_width
from mnfpn_cli.report.terminal.tables import Forms, Items, Report, command, note, pairs, table, warning
from mnfpn_cli.report.units import count, counted, scaled, seconds, seconds_range, size_in_bytes
from mnfpn_cli.settings.overrides import changed

if TYPE_CHECKING:
    from mnfpn_cli.documents.records import EnvironmentRecord
    from mnfpn_cli.report.terminal.tables import Cell, Table
    from mnfpn_cli.settings.network import NetworkSettings
    from mnfpn_cli.store.change import Removed
    from mnfpn_cli.store.rows import Result, StoredRun, Sweep
    from mnfpn_cli.sweep.documents import ListedRun

Columns = Mapping[str, Sequence[str]]
"""The words or figures of each row, by the name of their column; ``>`` before it aligns them to the right."""


@dataclass(frozen=True)
class Differing:
    """What the rows of a table differ in.

    Attributes:
        settings: words by the key of a setting, as ``pyramid.channels``; by no key where they are names of networks.
        apart: what has a column of its own wherever there is room for it, as ``Runtime``.
    """

    settings: Columns
    apart: Columns = field(default_factory=dict)

    @property
    def alike(self) -> dict[str, str]:
        """What all rows have in common: of a single row, all that there is to it."""
        both = {**self.settings, **self.apart}
        return {key: words[0] for key, words in both.items() if len(set(words)) == 1}

    def without(self, keys: Mapping[str, str]) -> Differing:
        """The same, less what stands elsewhere."""
        left = ({key: words for key, words in some.items() if key not in keys} for some in (self.settings, self.apart))
        return Differing(*left)


def columns_of(rows: Sequence[Mapping[str, str]]) -> Columns:
    """Rows of words under the same keys, as columns."""
    return {key: [row[key] for row in rows] for key in (rows[0] if rows else ())}


def numbers_of(rows: Sequence[object]) -> Columns:
    """The first column of a table that may stand in parts: the number of each row, from 1."""
    return {"": [str(index + 1) for index in range(len(rows))]}


def runs_report(
    title: str,
    differing: Differing,
    figures: Columns,
    lead: Columns | None = None,
    section: int | None = None,
    *,
    fold: bool = False,
) -> Report:
    """The table, and below it what all rows have in common; a column without a figure is left out.

    Where a screen has no room for it, ``fold`` breaks rows into lines; else it stands in parts, ``lead`` before each.
    """
    alike, shown = differing.alike, {name: words for name, words in figures.items() if any(words)}
    rows = max(map(len, figures.values()))
    made = _table_of_runs(title, differing.without(alike), shown, lead, section, fold=fold)
    words = ", ".join(f"{key.removeprefix('>').lower()} {word}".lstrip() for key, word in alike.items() if word)
    return [made, *([note(f"{'The run' if rows == 1 else 'All of these'}: {words}.")] if words else [])]


def _table_of_runs(
    title: str, differing: Differing, figures: Columns, lead: Columns | None, section: int | None, *, fold: bool
) -> Forms:
    """A row for each run: ``lead``, what the runs differ in, the figures; a line above the row of index ``section``.

    The settings of a network stand in one column where that need not be broken; else in a column each where there is
    room for that; else, to ``fold``, all that runs differ in stands in one column, broken into lines.
    """
    settings, apart = differing.settings, differing.apart
    phrases = {key: [_phrase(key, word) for word in words] for key, words in {**settings, **apart}.items()}
    names = {"Network": [", ".join(words) for words in _rows({key: phrases[key] for key in settings})]}
    each = {_heading(key, words): words for key, words in settings.items()}
    if len(each) < len(settings):  # two keys that end in the same word
        each = dict(settings)
    made = [
        _table(title, [_shown(lead), _shown(one), _shown(apart), _shown(figures)], section)
        for one in ((names if settings else {}), each)
    ]
    if fold:
        folded = {"Network": [Items(words) for words in _rows(phrases)]} if phrases else {}
        made.append(_table(title, [_shown(lead), folded, _shown(figures)], section))
    if settings:
        made[0].columns[len(lead or {})].no_wrap = True
    return Forms(tuple(made))


def _shown(columns: Columns | None) -> Mapping[str, Sequence[Cell]]:
    return {name: list(map(note, words)) for name, words in (columns or {}).items()}


def _table(title: str, groups: Sequence[Mapping[str, Sequence[Cell]]], section: int | None) -> Table:
    columns = {name: cells for group in groups for name, cells in group.items()}
    made = table(title, *columns)
    for index, row in enumerate(zip(*columns.values(), strict=True)):
        if index == section:
            made.add_section()
        made.add_row(*row)
    return made


def _rows(columns: Columns) -> list[tuple[str, ...]]:
    rows = zip(*columns.values(), strict=True)
    return [tuple(word for word in words if word) or ("",) for words in rows]  # a pending run has no worker


def _phrase(key: str, word: str) -> str:
    """A setting with its name, as ``channels 64``; what has a column apart is known by its word, a number is not."""
    name = key.removeprefix(">").rpartition(".")[2]
    return f"{name.lower()} {word}".lstrip() if name.islower() or word.isdigit() else word


def _heading(key: str, words: Sequence[str]) -> str:
    """Of a column of its own."""
    name = key.rpartition(".")[2] or "Network"
    return f">{name}" if all(word[:1].isdigit() for word in words) else name


KEY_DIGITS = 8
"""So many tell the runs of a store apart."""

SWEEPS_SHOWN = 5


def list_report(store: str, rows: Sequence[ListedRun], sweeps: Sequence[Sweep], limit: int | None) -> Report:
    """The sweeps of a store, the latest first, with their commands below; its runs, and why some failed."""
    shown = rows[:limit]
    left = len(rows) - len(shown)
    return [
        *_sweeps_table(sweeps),
        *(_runs_table(store, shown, len(rows)) if shown else [note(f"No such runs in {store}.")]),
        *([note(f"{count(left)} more: --limit {len(rows)}, or --json", "dim")] if left else []),
        *_failures(shown),
    ]


def _sweeps_table(sweeps: Sequence[Sweep]) -> Report:
    if not sweeps:
        return []
    made = table("Sweeps", ">#", "Started (UTC)", ">Runs", ">Done", ">Failed", ">Pending")
    shown = sweeps[:SWEEPS_SHOWN]
    for one in shown:
        numbers = [one.counts.done, one.counts.failed, one.counts.pending]
        made.add_row(str(one.id), _moment(one.started), *map(count, (sum(numbers), *numbers)))
    asked = [command(f"{one.id}: {one.plan.command}") for one in shown if one.plan.command]
    older = len(sweeps) - SWEEPS_SHOWN
    return [made, *asked, *([note(f"{count(older)} older: --json", "dim")] if older > 0 else [])]


def _runs_table(store: str, rows: Sequence[ListedRun], total: int) -> Report:
    """A row a run; what is the same for all of them stands below it."""
    passes = [row.stored.run.execution.passes for row in rows]
    apart = {
        "Status": [str(row.stored.status) for row in rows],
        "Size": [str(row.stored.run.size) for row in rows],
        "Batch": [str(row.stored.run.execution.batch) for row in rows],
        "Runtime": [row.stored.run.execution.runtime for row in rows],
        "Device": [row.stored.device for row in rows],
        "Passes": passes if any(row.stored.run.execution.train for row in rows) else [""] * len(rows),
        "Worker": [row.result.worker if row.result else "" for row in rows],
    }
    latencies = [row.latency for row in rows]
    figures = {
        ">Median": [seconds(one.median) if one else "" for one in latencies],
        ">±95 %": [half_width(one) if one else "" for one in latencies],
        "Ended (UTC)": [_moment(row.result.finished) if row.result else "" for row in rows],
    }
    keys = {"Key": [row.stored.key[:KEY_DIGITS] for row in rows]}
    differing = Differing(columns_of(words_of([row.stored for row in rows])), apart)
    return runs_report(f"{counted(total, 'run')} in {store}", differing, figures, keys, fold=True)


def _failures(rows: Sequence[ListedRun]) -> list[Table]:
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


def show_report(row: ListedRun, results: Sequence[Result], again: str) -> Report:
    """What the run is, what it costs, what was measured of it; ``again``: the command that measures it again."""
    measured = row.stored.measured
    return [
        _what(row),
        _settings(row.stored.run.settings),
        _cost(row),
        *_results(results),
        *_newest(row),
        *([_environment(measured.environment)] if measured else []),
        *(note(f"Failed: {row.result.reason}", "red") for _ in [0] if row.result and row.result.status == "failed"),
        *(warning(f"{one.cause}. What helps: {one.helps}.") for one in (measured.warnings if measured else ())),
        command(f"Again: {again}"),
    ]


def _what(row: ListedRun) -> Table:
    stored, execution = row.stored, row.stored.run.execution
    rows = [
        ("status", stored.status),
        ("input", "×".join(map(str, stored.run.input.shape))),
        ("runtime", execution.runtime),
        (
            "device",
            stored.device
            if stored.device == execution.device
            else f"{stored.device}, {execution.device} was asked for",
        ),
        ("dtype", execution.dtype),
        ("threads", _threads(stored)),
        ("passes", execution.passes),
        ("for", stored.target_machine),
    ]
    return pairs(f"Run {stored.key}", rows)


def _threads(stored: StoredRun) -> str:
    """The threads that it was measured with, and whether they were asked for."""
    from mnfpn_cli.sweep.documents import executed_run

    threads = executed_run(stored).threads
    if stored.run.execution.threads is not None:
        return str(threads)
    return "torch's choice" if threads is None else f"{threads}, torch's choice"


def _settings(settings: NetworkSettings) -> Table:
    shown = [(key, _stages(value) if key == "stages" else as_text(value)) for key, value in changed(settings).items()]
    return pairs("Settings that are not the defaults", shown or [("none", "")])


def _stages(rows: Sequence[Mapping[str, object]]) -> str:
    """A table of stages as ``--stages`` takes it."""
    return " ".join(",".join(str(value) for value in row.values()) for row in rows)


def _cost(row: ListedRun) -> Table:
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
    made = table("Measured", "Finished (UTC)", ">Sweep", "Worker", "Status", ">Median", ">±95 %", ">Passes")
    for one in results:
        when = one.finished[:19].replace("T", " ")
        made.add_row(when, str(one.sweep), note(one.worker), one.status, *_figures(one))
    return [made]


def _figures(result: Result) -> tuple[str, str, str]:
    from mnfpn_cli.measure.statistics import Latency

    if not result.samples:
        return "", "", ""
    latency = Latency(result.samples)
    return seconds(latency.median), half_width(latency), count(len(result.samples))


def _newest(row: ListedRun) -> list[Table]:
    latency, measured = row.latency, row.stored.measured
    if latency is None or measured is None:
        return []
    memory = measured.run.peak_memory_bytes
    rows = [("median", seconds(latency.median))]
    rows += [("95 % interval of it", seconds_range(*latency.interval))] if latency.interval else []
    rows += [("corrected for the machine's drift", _corrected(latency.median, row.drift))] if row.drift else []
    rows += [
        ("quartiles", seconds_range(*latency.quartiles)),
        ("fastest", seconds(latency.min)),
        ("outliers", count(len(latency.outliers))),
        ("images per second", f"{row.stored.run.execution.batch / latency.median:.4g}"),
        ("peak memory", size_in_bytes(memory) if memory else "not known"),
        ("ended by", measured.run.ended_by),
    ]
    return [pairs("The newest of them", rows)]


def _corrected(median: float, drift: float) -> str:
    return f"{seconds(median / drift)}: the baseline took {drift:.2f} × its first time"


def _environment(environment: EnvironmentRecord) -> Table:
    return pairs("Environment", [(key, as_text(value)) for key, value in environment if value is not None])


def removed_report(removed: Removed, dry_run: bool) -> Report:
    """What was removed, or would be, and what stays."""
    verb = "Would remove" if dry_run else "Removed"
    report: Report = [note(f"{verb}: {counted(removed.runs, 'run')}, {counted(removed.results, 'result')}.")]
    if removed.restored:
        again = "was to be measured again stays" if removed.restored == 1 else "were to be measured again stay"
        report.append(note(f"{counted(removed.restored, 'run')} that {again} as measured before."))
    if removed.busy:
        stay = "stays" if removed.busy == 1 else "stay"
        report.append(note(f"{counted(removed.busy, 'run')} being measured right now {stay}."))
    return report


def merged_report(results: int, source: str, target: str) -> Report:
    """What was copied from where to where."""
    return [note(f"Merged: {counted(results, 'new result')} from {source} into {target}.")]
