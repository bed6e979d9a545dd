"""The data of the page's script: runs, the columns of their table, plots, profiles and diagrams."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import ConfigDict, JsonValue
from pydantic.alias_generators import to_camel

from mnfpn_cli.documents.base import Record
from mnfpn_cli.plan.network import plan_network
from mnfpn_cli.plan.shapes import network_shapes
from mnfpn_cli.report.figures.frontier import frontier_figure, plot_axes
from mnfpn_cli.report.figures.sizes import sizes_figure
from mnfpn_cli.report.figures.style import part_colours, parts_figure, plot_text
from mnfpn_cli.report.figures.svg import diagram_svg
from mnfpn_cli.report.layout import network_layout
from mnfpn_cli.report.units import scaled, score, seconds, seconds_range, share, size_in_bytes
from mnfpn_cli.settings.input import NetworkInput, Size
from mnfpn_cli.settings.measuring import PASSES
from mnfpn_cli.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mnfpn_cli.documents.bench import RunProfile
    from mnfpn_cli.documents.records import LatencyRecord
    from mnfpn_cli.documents.report import PageDocument, ReportDocument, ReportedRun
    from mnfpn_cli.report.figures.frontier import PlotAxis
    from mnfpn_cli.settings.network import NetworkSettings

MOST_DIAGRAMS = 60
"""Diagrams that a page has at most."""

PageValue = str | float | None
Bar = tuple[int, int, float]
"""The name of a bar and its part, both as indices of `PageData.names`, and the time in seconds."""


class Diagram(Record):
    """The diagram of a network of the frontier; ``title``: its text for screen readers."""

    name: str
    title: str
    svg: str


class ColumnData(Record):
    """A column of the table; ``kind``: its classes in the style sheet."""

    title: str
    kind: str
    number: bool


class RowData(Record):
    """A run.

    Attributes:
        status, runtime, device, size, batch, passes, worker, frontier: the fields to filter by.
        title: its name in lists.
        command: the command line that measures it.
        along: what its latency can be plotted against, by the keys of `plot_axes`.
        search: the text that the search box searches, in lower case.
        hover: the text at its point in plots; empty where it was not measured.
        cells: the value to sort by and the text, of each column.
    """

    status: str
    runtime: str
    device: str
    size: str
    batch: str
    passes: str
    worker: str
    frontier: bool
    title: str
    command: str
    along: dict[str, float | None]
    search: str
    hover: str
    cells: tuple[tuple[PageValue, str], ...]


class AxisData(Record):
    """What latency can be plotted against; ``word``: its name on a button."""

    key: str
    word: str
    title: str
    logarithmic: bool


class ProfileData(Record):
    """The time of each part and each layer of a run, and of a whole pass (``measured``), in seconds."""

    measured: float
    advice: str
    parts: tuple[Bar, ...]
    layers: tuple[Bar, ...]


class FigureData(Record):
    """The plots, in plotly's JSON."""

    frontier: JsonValue
    sizes: JsonValue
    parts: JsonValue


class PageData(Record):
    """All data of the page; ``profiles``: by the index of a run in ``rows``, with ``names`` by index."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, serialize_by_alias=True)

    rows: tuple[RowData, ...]
    columns: tuple[ColumnData, ...]
    sort_by: int
    filters: tuple[tuple[str, str], ...]
    axes: tuple[AxisData, ...]
    figures: FigureData | None
    profiles: dict[str, ProfileData]
    names: tuple[str, ...]
    part_colours: dict[str, str]
    diagrams: tuple[Diagram, ...]


def diagrams(report: ReportDocument) -> tuple[Diagram, ...]:
    """Return the diagram of each network of the frontier at each size, the fastest first, at most `MOST_DIAGRAMS`."""
    networks = dict[tuple["NetworkSettings", Size], "ReportedRun"]()
    for frontier in report.frontier:
        for one in frontier.runs:
            networks.setdefault((one.settings, Size(one.input.height, one.input.width)), one)
    return tuple(_diagram(settings, size, one) for (settings, size), one in list(networks.items())[:MOST_DIAGRAMS])


def _diagram(settings: NetworkSettings, size: Size, run: ReportedRun) -> Diagram:
    plan = plan_network(settings)
    layout = network_layout(plan, network_shapes(plan, NetworkInput(1, settings.in_channels, size)))
    name, levels = f"{run.name}, {size}", ", ".join(f"{level.name} {level.shape}" for level in layout.levels)
    return Diagram(name=name, title=f"{name}. {layout.title}: {levels}", svg=diagram_svg(layout))


FILTERS = (
    ("status", "Status"),
    ("runtime", "Runtime"),
    ("device", "Device"),
    ("size", "Size"),
    ("batch", "Batch"),
    ("passes", "Passes"),
    ("worker", "Worker"),
)
"""The filters: a field of `RowData`, and the title."""


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


def _median(run: ReportedRun) -> float | None:
    return run.latency_s.median if run.latency_s else None


def _half_width(run: ReportedRun) -> float | None:
    """Return half the 95 % interval over the median; None where there is no interval."""
    if run.latency_s is None or run.latency_s.ci95 is None:
        return None
    median, (low, high) = run.latency_s.median, run.latency_s.ci95
    return max(high - median, median - low) / median


COLUMNS = (
    PageColumn("Network", "text long", lambda one: one.name),
    PageColumn("Size", "", lambda one: float(one.input.height * one.input.width), lambda one: one.size),
    PageColumn("Batch", "number", lambda one: one.batch),
    PageColumn("Runtime", "", lambda one: one.runtime),
    PageColumn("Device", "", lambda one: one.device),
    PageColumn("Passes", "", lambda one: PASSES[one.train]),
    PageColumn("Worker", "text", lambda one: one.worker or ""),
    PageColumn("Status", "", lambda one: one.status),
    PageColumn("Median", "number", _median, lambda one: seconds(_median(one) or 0)),
    PageColumn("±95 %", "number", _half_width, lambda one: share(_half_width(one) or 0)),
    PageColumn("Corrected", "number", lambda one: one.corrected_s, lambda one: seconds(one.corrected_s or 0)),
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
ONLY_WHERE_FILLED = ("Corrected", "Reason", "Frontier")
"""Columns that are left out where they are empty for every run."""
ONLY_WHERE_DIFFERENT = ("Batch", "Device", "Passes", "Worker", "Status")
"""Columns that are left out where all runs have the same value, to save width."""
SORT_BY = "Median"


def page_data(page: PageDocument, spell: Callable[[str], str]) -> PageData:
    """Return the data of a page; ``spell`` is as in `report_page`.

    Raises:
        MnfpnError: where plotly is not installed.
    """
    columns, axes = [column for column in _columns(page) if _is_needed(column, page)], plot_axes(page)
    names = dict[str, int]()
    profiles = {
        str(index): _profile(measured.profile, names, spell)
        for index, one in enumerate(page.runs)
        if (measured := page.measurements.get(one.key)) and measured.profile
    }
    return PageData(
        rows=tuple(_row(one, columns, axes, spell) for one in page.runs),
        columns=tuple(_column(column) for column in columns),
        sort_by=[column.title for column in columns].index(SORT_BY),
        filters=FILTERS,
        axes=tuple(
            AxisData(key=one.key, word=one.word, title=plot_text(one.title), logarithmic=one.is_logarithmic)
            for one in axes
        ),
        figures=_figures(page) if page.frontier else None,
        profiles=profiles,
        names=tuple(names),
        part_colours=part_colours(),
        diagrams=diagrams(page),
    )


def _columns(page: PageDocument) -> list[PageColumn]:
    """Return all columns: with that of the metric before the median, where it is not MACs."""
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


def _column(column: PageColumn) -> ColumnData:
    return ColumnData(title=column.title, kind=column.kind, number=column.kind == "number")


def _is_needed(column: PageColumn, report: ReportDocument) -> bool:
    if column.title in ONLY_WHERE_DIFFERENT:
        return len(set(map(column.value, report.runs))) > 1
    return column.title not in ONLY_WHERE_FILLED or any(map(column.value, report.runs))


def _figures(report: ReportDocument) -> FigureData:
    figures = (frontier_figure(report), sizes_figure(report), parts_figure())
    frontier, sizes, parts = (json.loads(figure.to_json()) for figure in figures)
    return FigureData(frontier=frontier, sizes=sizes, parts=parts)


def _row(
    run: ReportedRun, columns: Sequence[PageColumn], axes: Sequence[PlotAxis], spell: Callable[[str], str]
) -> RowData:
    values = (column.cell(run) for column in columns)
    cells = tuple((spell(value) if isinstance(value, str) else value, spell(words)) for value, words in values)
    execution = f"batch {run.batch}, {run.runtime} on {run.device}{', training' * run.train}"
    return RowData(
        status=run.status,
        runtime=run.runtime,
        device=run.device,
        size=run.size,
        batch=str(run.batch),
        passes=PASSES[run.train],
        worker=run.worker or "",
        frontier=run.on_frontier,
        title=f"{run.name}, {run.size}, {execution}",
        command=run.command,
        along={one.key: one.value(run) for one in axes},
        search=" ".join([*(words for _, words in cells), run.key]).lower(),
        hover="<br>".join(map(plot_text, _hover(run, run.latency_s))) if run.latency_s else "",
        cells=cells,
    )


def _hover(run: ReportedRun, latency: LatencyRecord) -> list[str]:
    """Return the lines at the point of a measured run in plots."""
    interval = f" ({seconds_range(*latency.ci95)})" if latency.ci95 else ""
    corrected = [f"{seconds(run.corrected_s)} corrected for drift"] if run.corrected_s else []
    return [
        *run.name.split(", "),
        f"{run.size}, batch {run.batch}, {run.runtime}{', training' * run.train}",
        f"{run.device} on {run.worker}, {run.dtype}",
        f"{seconds(latency.median)}{interval}",
        *corrected,
        f"{scaled(run.cost.macs)} MACs, {scaled(run.cost.parameters)} parameters",
        *([f"{run.score.metric} {score(run.score)}"] if run.score and run.score.kind != "planned" else []),
        f"{size_in_bytes(run.cost.planned_memory_bytes)}{' · frontier' * run.on_frontier}",
    ]


def _profile(profile: RunProfile, names: dict[str, int], spell: Callable[[str], str]) -> ProfileData:
    """Return the times of a run by part and by layer. Add its names to ``names``: runs have most of them in common."""

    def bar(name: str, part: str, value: float | None) -> Bar:
        return index_of(name), index_of(part), rounded(value)

    def index_of(name: str) -> int:
        return names.setdefault(plot_text(name), len(names))

    def rounded(value: float | None) -> float:
        return float(f"{value or 0.0:.4g}")

    advice = spell(profile.advice.sentence) if profile.advice else ""
    return ProfileData(
        measured=rounded(profile.measured_s),
        advice=f"{advice[0].upper()}{advice[1:]}." if advice else "",
        parts=tuple(bar(one.part, one.part, one.seconds) for one in profile.parts),
        layers=tuple(bar(one.path or one.part, one.part, one.seconds) for one in profile.layers),
    )
