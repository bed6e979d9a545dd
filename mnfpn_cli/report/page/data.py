"""The data of the page's script: runs, the columns of their table, plots, profiles and diagrams."""

from __future__ import annotations

import json
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

from pydantic import ConfigDict
from pydantic.alias_generators import to_camel

from mnfpn_cli.documents.base import Record
from mnfpn_cli.plan.network import plan_network
from mnfpn_cli.plan.shapes import network_shapes
from mnfpn_cli.report.figures.frontier import COSTS, frontier_figure
from mnfpn_cli.report.figures.sizes import sizes_figure
from mnfpn_cli.report.figures.style import part_colours, parts_figure, text
from mnfpn_cli.report.figures.svg import diagram_svg
from mnfpn_cli.report.layout import network_layout
from mnfpn_cli.report.terminal.bench import half_width
from mnfpn_cli.report.units import scaled, seconds, seconds_range, size_in_bytes
from mnfpn_cli.settings.input import NetworkInput
from mnfpn_cli.text import percent

if TYPE_CHECKING:
    from collections.abc import Callable

    from mnfpn_cli.documents.bench import RunProfile
    from mnfpn_cli.report.points import Point, Points
    from mnfpn_cli.settings.input import Size
    from mnfpn_cli.settings.network import NetworkSettings
    from mnfpn_cli.sweep.documents import Command


MOST_DIAGRAMS = 60
"""Diagrams that a page has at most."""

Value = str | float | None
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
        costs: its costs, by the keys of `COSTS`.
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
    costs: dict[str, float]
    search: str
    hover: str
    cells: tuple[tuple[Value, str], ...]


class ProfileData(Record):
    """The time of each part and each layer of a run, and of a whole pass (``measured``), in seconds."""

    measured: float
    advice: str
    parts: tuple[Bar, ...]
    layers: tuple[Bar, ...]


class FigureData(Record):
    """The plots, in plotly's JSON."""

    frontier: Any
    sizes: Any
    parts: Any


class PageData(Record):
    """All data of the page; ``profiles``: by the index of a run in ``rows``, with ``names`` by index."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, serialize_by_alias=True)

    rows: tuple[RowData, ...]
    columns: tuple[ColumnData, ...]
    sort_by: int
    filters: tuple[tuple[str, str], ...]
    costs: dict[str, str]
    figures: FigureData | None
    profiles: dict[str, ProfileData]
    names: tuple[str, ...]
    part_colours: dict[str, str]
    diagrams: tuple[Diagram, ...]


def diagrams(points: Points) -> tuple[Diagram, ...]:
    """Return the diagram of each network of the frontier at each size, the fastest first, at most `MOST_DIAGRAMS`."""
    networks = dict[tuple["NetworkSettings", "Size"], "Point"]()
    for frontier in points.frontier.values():
        for one in frontier:
            networks.setdefault(one.stored.planned.run.network, one)
    return tuple(_diagram(settings, size, one) for (settings, size), one in list(networks.items())[:MOST_DIAGRAMS])


def _diagram(settings: NetworkSettings, size: Size, point: Point) -> Diagram:
    plan = plan_network(settings)
    layout = network_layout(plan, network_shapes(plan, NetworkInput(1, settings.in_channels, size)))
    name, levels = f"{point.name}, {size}", ", ".join(f"{level.name} {level.shape}" for level in layout.levels)
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
    value: Callable[[Point], Value]
    words: Callable[[Point], str] | None = None

    def cell(self, point: Point) -> tuple[Value, str]:
        """Return the value and the text of a run in this column."""
        value = self.value(point)
        if value is None:
            return None, ""
        return value, self.words(point) if self.words else str(value)


COLUMNS = (
    PageColumn("Network", "text long", lambda one: one.name),
    PageColumn("Size", "", lambda one: float(prod(one.stored.size)), lambda one: str(one.stored.size)),
    PageColumn("Batch", "number", lambda one: one.stored.execution.batch),
    PageColumn("Runtime", "", lambda one: one.stored.execution.runtime),
    PageColumn("Device", "", lambda one: one.stored.device),
    PageColumn("Passes", "", lambda one: one.stored.execution.passes),
    PageColumn("Worker", "text", lambda one: one.worker),
    PageColumn("Status", "", lambda one: one.stored.status),
    PageColumn("Median", "number", lambda one: one.stored.latency_s, lambda one: _median(one)),
    PageColumn(
        "±95 %",
        "number",
        lambda one: _half_width(one),
        lambda one: half_width(one.latency.median, one.latency.interval) if one.latency else "",
    ),
    PageColumn("Corrected", "number", lambda one: one.corrected_s, lambda one: seconds(one.corrected_s or 0)),
    PageColumn("MACs", "number", lambda one: one.stored.figures.macs, lambda one: scaled(one.stored.figures.macs)),
    PageColumn(
        "Parameters",
        "number",
        lambda one: one.stored.figures.parameters,
        lambda one: scaled(one.stored.figures.parameters),
    ),
    PageColumn(
        "Memory",
        "number",
        lambda one: one.stored.figures.memory_bytes,
        lambda one: size_in_bytes(one.stored.figures.memory_bytes),
    ),
    PageColumn("Capacity", "number", lambda one: one.capacity_share, lambda one: percent(one.capacity_share)),
    PageColumn("Frontier", "", lambda one: "yes" if one.on_frontier else None),
    PageColumn("Reason", "text long", lambda one: _reason(one) or None),
)
ONLY_WHERE_FILLED = ("Corrected", "Reason", "Frontier")
"""Columns that are left out where they are empty for every run."""
ONLY_WHERE_DIFFERENT = ("Batch", "Device", "Passes", "Worker", "Status")
"""Columns that are left out where all runs have the same value, to save width."""
SORT_BY = "Median"


def page_data(points: Points, command: Command, spell: Callable[[str], str]) -> dict[str, Any]:
    """Return `PageData` as JSON values; `report_page` has the arguments.

    Raises:
        MnfpnError: where plotly is not installed.
    """
    columns = [column for column in COLUMNS if _is_needed(column, points)]
    names = dict[str, int]()
    profiles = {
        str(index): _profile(profile, names, spell)
        for index, one in enumerate(points.all)
        if (profile := one.stored.profile)
    }
    return PageData(
        rows=tuple(_row(one, columns, command, spell) for one in points.all),
        columns=tuple(_column(column) for column in columns),
        sort_by=[column.title for column in columns].index(SORT_BY),
        filters=FILTERS,
        costs={cost: title for cost, (title, _) in COSTS.items()},
        figures=_figures(points) if points.frontier else None,
        profiles=profiles,
        names=tuple(names),
        part_colours=part_colours(),
        diagrams=diagrams(points),
    ).model_dump(mode="json")


def _column(column: PageColumn) -> ColumnData:
    return ColumnData(title=column.title, kind=column.kind, number=column.kind == "number")


def _is_needed(column: PageColumn, points: Points) -> bool:
    if column.title in ONLY_WHERE_DIFFERENT:
        return len(set(map(column.value, points.all))) > 1
    return column.title not in ONLY_WHERE_FILLED or any(map(column.value, points.all))


def _figures(points: Points) -> FigureData:
    figures = (frontier_figure(points), sizes_figure(points), parts_figure())
    frontier, sizes, parts = (json.loads(figure.to_json()) for figure in figures)
    return FigureData(frontier=frontier, sizes=sizes, parts=parts)


def _row(point: Point, columns: list[PageColumn], command: Command, spell: Callable[[str], str]) -> RowData:
    stored = point.stored
    run, execution = stored.planned.run, stored.execution
    values = (column.cell(point) for column in columns)
    cells = tuple((spell(value) if isinstance(value, str) else value, spell(words)) for value, words in values)
    execution_words = f"batch {execution.batch}, {execution.runtime} on {stored.device}{', training' * execution.train}"
    return RowData(
        status=stored.status,
        runtime=execution.runtime,
        device=stored.device,
        size=str(run.size),
        batch=str(execution.batch),
        passes=execution.passes,
        worker=point.worker,
        frontier=point.on_frontier,
        title=f"{point.name}, {run.size}, {execution_words}",
        command=command(run),
        costs={cost: of(stored.figures) for cost, (_, of) in COSTS.items()},
        search=" ".join([*(words for _, words in cells), stored.key]).lower(),
        hover="<br>".join(map(text, _hover(point))) if point.latency else "",
        cells=cells,
    )


def _hover(point: Point) -> list[str]:
    """Return the lines at the point of a measured run in plots."""
    stored, latency = point.stored, point.latency
    execution, figures = stored.execution, stored.figures
    assert latency
    interval = f" ({seconds_range(*latency.interval)})" if latency.interval else ""
    corrected = [f"{seconds(point.corrected_s)} corrected for drift"] if point.corrected_s else []
    return [
        *point.name.split(", "),
        f"{stored.size}, batch {execution.batch}, {execution.runtime}{', training' * execution.train}",
        f"{stored.device} on {point.worker}, {execution.dtype}",
        f"{seconds(latency.median)}{interval}",
        *corrected,
        f"{scaled(figures.macs)} MACs, {scaled(figures.parameters)} parameters",
        f"{size_in_bytes(figures.memory_bytes)}, capacity {percent(point.capacity_share)}"
        + " · frontier" * point.on_frontier,
    ]


def _profile(profile: RunProfile, names: dict[str, int], spell: Callable[[str], str]) -> ProfileData:
    """Return the times of a run by part and by layer. Add its names to ``names``: runs have most of them in common."""

    def bar(name: str, part: str, value: float | None) -> Bar:
        return index_of(name), index_of(part), rounded(value)

    def index_of(name: str) -> int:
        return names.setdefault(text(name), len(names))

    def rounded(value: float | None) -> float:
        return float(f"{value or 0.0:.4g}")

    advice = spell(profile.advice.sentence).replace("`", "") if profile.advice else ""
    return ProfileData(
        measured=rounded(profile.measured_s),
        advice=f"{advice[0].upper()}{advice[1:]}." if advice else "",
        parts=tuple(bar(one.part, one.part, one.seconds) for one in profile.parts),
        layers=tuple(bar(one.path or one.part, one.part, one.seconds) for one in profile.layers),
    )


def _reason(point: Point) -> str:
    result = point.stored.result
    return (result.reason or "") if result and point.stored.status == "failed" else ""


def _median(point: Point) -> str:
    return seconds(point.latency.median) if point.latency else ""


def _half_width(point: Point) -> float | None:
    """Return half the 95 % interval over the median; None where there is no interval."""
    from mnfpn_cli.measure.statistics import relative_half_width

    return relative_half_width(point.latency) if point.latency and point.latency.interval else None
