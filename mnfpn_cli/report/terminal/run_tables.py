"""Tables with a row for each run: of stores, of frontiers, of recommendations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mnfpn_cli.documents.report import ReportedRun
from mnfpn_cli.report.terminal.tables import (
    Forms,
    Phrases,
    Report,
    note,
    table,
)
from mnfpn_cli.report.units import half_width_text, seconds

if TYPE_CHECKING:
    from mnfpn_cli.documents.report import PickRecord
    from mnfpn_cli.documents.runs import StoredRunRecord
    from mnfpn_cli.report.terminal.tables import Cell, Table

Columns = Mapping[str, Sequence[str]]
"""The texts of each column, one a row, by the column's name. ``>`` begins the name of a column of numbers."""


@dataclass(frozen=True)
class RunNames:
    """The columns that name the runs of a table.

    Attributes:
        settings: columns by setting, as ``pyramid.channels``; a column of names of networks has the key ``""``.
        execution: columns of the execution, as ``Runtime``; they stay apart unless names are folded.
    """

    settings: Columns
    execution: Columns = field(default_factory=dict)

    @property
    def common(self) -> dict[str, str]:
        """The columns whose text is the same in all rows, and that text."""
        columns = {**self.settings, **self.execution}
        return {key: texts[0] for key, texts in columns.items() if len(set(texts)) == 1}

    def without(self, keys: Mapping[str, str]) -> RunNames:
        """The same without the columns of these keys."""
        groups = (self.settings, self.execution)
        return RunNames(*({key: texts for key, texts in group.items() if key not in keys} for group in groups))


def columns_of(rows: Sequence[Mapping[str, str]]) -> Columns:
    """Turn rows, which have the same keys, into columns."""
    return {key: [row[key] for row in rows] for key in (rows[0] if rows else ())}


def numbers_of(rows: Sequence[object]) -> Columns:
    """Return a column without a name that numbers rows from 1."""
    return {"": [str(index + 1) for index in range(len(rows))]}


def dtype_of_all(dtypes: Sequence[str]) -> Columns:
    """The column of the dtype where all runs have one other than float32; where they differ, it is in their names."""
    return {"Dtype": list(dtypes)} if set(dtypes) not in ({"float32"}, set()) and len(set(dtypes)) == 1 else {}


def time_columns(runs: Sequence[StoredRunRecord | PickRecord]) -> Columns:
    """The medians of runs, corrected for drift, and their intervals; ``≈`` is before a time that is predicted."""
    return {
        ">Median": [f"{_predicted(one) * '≈ '}{seconds(time)}" if (time := _time(one)) else "" for one in runs],
        ">±95 %": [
            half_width_text(one.latency_s.median, one.latency_s.ci95) if one.latency_s else _predicted_width(one)
            for one in runs
        ],
    }


def time_notes(runs: Sequence[StoredRunRecord | PickRecord]) -> Report:
    """Say that medians are corrected, and that times are predicted, where any is."""
    lines = []
    if any(one.corrected_s for one in runs):
        lines.append("Medians are corrected for the drift of the machine.")
    if any(map(_predicted, runs)):
        lines.append("≈ is before times that are predicted and not measured; their intervals are of 90 %.")
    return [note(line, "dim") for line in lines]


def _predicted(run: StoredRunRecord | PickRecord) -> bool:
    return isinstance(run, ReportedRun) and run.is_predicted


def _time(run: StoredRunRecord | PickRecord) -> float | None:
    return run.time_s if isinstance(run, ReportedRun) else run.seconds


def _predicted_width(run: StoredRunRecord | PickRecord) -> str:
    if not isinstance(run, ReportedRun) or not run.time_s:
        return ""
    return half_width_text(run.time_s, run.time_interval)


def runs_report(
    title: str,
    names: RunNames,
    figures: Columns,
    first: Columns | None = None,
    section: int | None = None,
    *,
    fold: bool = False,
) -> Report:
    """Make a table with a row for each run, and a line below it with what all runs have in common.

    Args:
        title: the title.
        names: the columns that name the runs; those that are the same for all runs go to the line below the table.
        figures: the columns after the names; one without any text is left out.
        first: a column before the names. Where a narrow screen splits the table, each part has it.
        section: the index of the row with a line above it.
        fold: whether a narrow screen breaks names into lines; otherwise it splits the table into parts.
    """
    common, filled = names.common, {name: texts for name, texts in figures.items() if any(texts)}
    made = _table_of_runs(title, names.without(common), filled, first or {}, section, fold=fold)
    text = ", ".join(f"{key.removeprefix('>').lower()} {text}".lstrip() for key, text in common.items() if text)
    who = "The run" if max(map(len, figures.values())) == 1 else "All of these"
    return [made, *([note(f"{who}: {text}.")] if text else [])]


def _table_of_runs(
    title: str, names: RunNames, figures: Columns, first: Columns, section: int | None, *, fold: bool
) -> Forms:
    """Make the forms of a table of runs.

    The widest form has all settings in one column, the next form a column for each setting. With ``fold``, the
    narrowest form has all names in one column, broken into lines.
    """
    settings, execution = names.settings, names.execution
    phrases = {key: [_phrase(key, text) for text in texts] for key, texts in {**settings, **execution}.items()}
    together = {"Network": [", ".join(row) for row in _rows({key: phrases[key] for key in settings})]}
    apart = {_heading(key, texts): texts for key, texts in settings.items()}
    if len(apart) < len(settings):  # two keys that end in the same word
        apart = dict(settings)
    forms = [
        _table(title, [_cells(first), _cells(columns), _cells(execution), _cells(figures)], section)
        for columns in ((together if settings else {}), apart)
    ]
    if fold:
        folded = {"Run": [Phrases(row) for row in _rows(phrases)]} if phrases else {}
        forms.append(_table(title, [_cells(first), folded, _cells(figures)], section))
    if settings:
        forms[0].columns[len(first)].no_wrap = True
    return Forms(tuple(forms))


def _cells(columns: Columns) -> Mapping[str, Sequence[Cell]]:
    return {name: list(map(note, texts)) for name, texts in columns.items()}


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


def _phrase(key: str, text: str) -> str:
    """A value in a sentence: with its name if it is a setting or a number, as ``channels 64``; else alone."""
    name = key.removeprefix(">").rpartition(".")[2]
    return f"{name.lower()} {text}".lstrip() if name.islower() or text.isdigit() else text


def _heading(key: str, texts: Sequence[str]) -> str:
    """The name of the column of a setting, with ``>`` before it for numbers."""
    name = key.rpartition(".")[2] or "Network"
    return f">{name}" if all(text[:1].isdigit() for text in texts) else name
