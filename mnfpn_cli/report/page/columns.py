"""The columns of the page's table of runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mnfpn_cli.report.units import half_width, scaled, score, seconds, share, size_in_bytes
from mnfpn_cli.settings.measuring import PASSES
from mnfpn_cli.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from mnfpn_cli.documents.report import PageDocument, ReportedRun
    from mnfpn_cli.report.page.records import PageValue


@dataclass(frozen=True)
class PageColumn:
    """A column of the table.

    Attributes:
        title: its heading.
        kind: its classes in the style sheet.
        value: the value of a run, by which the table is sorted; None leaves the cell empty.
        words: the text of the cell; None for the value itself.
    """

    title: str
    kind: str
    value: Callable[[ReportedRun], PageValue]
    words: Callable[[ReportedRun], str] | None = None

    def cell(self, run: ReportedRun) -> tuple[PageValue, str]:
        """Return the value and the text of a run in this column."""
        value = self.value(run)
        if value is None:
            return None, ""
        return value, self.words(run) if self.words else str(value)


def _half_width(run: ReportedRun) -> float | None:
    """Return half the interval of the time over the time; None where there is no interval."""
    return half_width(run.time_s, run.time_interval) if run.time_s else None


def _uncorrected(run: ReportedRun) -> float | None:
    return run.latency_s.median if run.latency_s and run.corrected_s else None


COLUMNS = (
    PageColumn("Network", "text long", lambda one: one.name),
    PageColumn("Size", "", lambda one: one.input.height * one.input.width, lambda one: one.size),
    PageColumn("Batch", "number", lambda one: one.batch),
    PageColumn("Runtime", "", lambda one: one.runtime),
    PageColumn("Device", "", lambda one: one.device),
    PageColumn("Passes", "", lambda one: PASSES[one.train]),
    PageColumn("Worker", "text", lambda one: one.worker or ""),
    PageColumn("Status", "", lambda one: one.status),
    PageColumn("Median", "number", lambda one: one.time_s, lambda one: seconds(one.time_s or 0)),
    PageColumn("±95 %", "number", _half_width, lambda one: share(_half_width(one) or 0)),
    PageColumn("Predicted", "", lambda one: "±90 %" if one.is_predicted else None),
    PageColumn("Uncorrected", "number", _uncorrected, lambda one: seconds(_uncorrected(one) or 0)),
    PageColumn("MACs", "number", lambda one: one.cost.macs, lambda one: scaled(one.cost.macs)),
    PageColumn("Parameters", "number", lambda one: one.cost.parameters, lambda one: scaled(one.cost.parameters)),
    PageColumn(
        "Memory",
        "number",
        lambda one: one.cost.planned_memory_bytes,
        lambda one: size_in_bytes(one.cost.planned_memory_bytes),
    ),
    PageColumn("Frontier", "", lambda one: "yes" if one.on_frontier else None),
    PageColumn("Reason", "text long", lambda one: (one.reason or None) if one.status == "failed" else None),
)
ONLY_WHERE_FILLED = ("Predicted", "Uncorrected", "Reason", "Frontier")
"""Columns that are left out where they are empty for every run."""
ONLY_WHERE_DIFFERENT = ("Batch", "Device", "Passes", "Worker", "Status")
"""Columns that are left out where all runs have the same value, to save width."""
SORT_BY = "Median"


def page_columns(page: PageDocument) -> list[PageColumn]:
    """Return the columns of a page: those that have something to tell, and that of the metric before the median."""
    return [column for column in _all_columns(page) if _is_needed(column, page)]


def _all_columns(page: PageDocument) -> list[PageColumn]:
    if page.metric == "macs":
        return list(COLUMNS)
    at = [column.title for column in COLUMNS].index(SORT_BY)
    metric = PageColumn(
        printable(page.metric),
        "number",
        lambda one: one.score.value if one.score else None,
        lambda one: score(one.score) if one.score else "",
    )
    return [*COLUMNS[:at], metric, *COLUMNS[at:]]


def _is_needed(column: PageColumn, page: PageDocument) -> bool:
    if column.title in ONLY_WHERE_DIFFERENT:
        return len(set(map(column.value, page.runs))) > 1
    return column.title not in ONLY_WHERE_FILLED or any(map(column.value, page.runs))
