"""What the page's script works with: runs, the columns of their table, plots, profiles and diagrams."""

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


MOST = 60
"""Diagrams of a page."""

Value = str | float | None
Bar = tuple[int, int, float]
"""A name and a part, both by number, and the time in seconds."""


class Diagram(Record):
    """A network of the frontier, drawn; ``title`` is what it is read out as."""

    name: str
    title: str
    svg: str


class ColumnData(Record):
    """A column of the table; ``kind`` is its class in the style sheet."""

    title: str
    kind: str
    number: bool


class RowData(Record):
    """A run: what filters, searches and plots go by; ``cells`` are the value and the text in each column."""

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
    """Where the time of a run goes, in seconds."""

    measured: float
    advice: str
    parts: tuple[Bar, ...]
    layers: tuple[Bar, ...]


class FigureData(Record):
    """The plots, as plotly takes them."""

    frontier: Any
    sizes: Any
    parts: Any


class PageData(Record):
    """Everything that the script needs; ``profiles`` by the position of a run, which have ``names`` by number."""

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
    """Each network of the frontier once, at each of its sizes, the fastest first; of very many the first ones."""
    found = dict[tuple["NetworkSettings", "Size"], "Point"]()
    for some in points.frontier.values():
        for one in some:
            found.setdefault(one.stored.planned.run.network, one)
    return tuple(_diagram(settings, size, one) for (settings, size), one in list(found.items())[:MOST])


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
"""What runs can be filtered by: a field of `RowData`, and its name."""


@dataclass(frozen=True)
class PageColumn:
    """A column of the table: what it is sorted by, and what stands there. ``kind`` is its class in the style sheet."""

    title: str
    kind: str
    value: Callable[[Point], Value]
    words: Callable[[Point], str] | None = None

    def cell(self, point: Point) -> tuple[Value, str]:
        """What a row has in this column."""
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
        "±95 %", "number", lambda one: _half_width(one), lambda one: half_width(one.latency) if one.latency else ""
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
    PageColumn("Kept", "number", lambda one: one.kept, lambda one: percent(one.kept)),
    PageColumn("Frontier", "", lambda one: "yes" if one.on_frontier else None),
    PageColumn("Reason", "text long", lambda one: _reason(one) or None),
)
ONLY_WHERE_FILLED = ("Corrected", "Reason", "Frontier")
"""Columns that are left out where no run has anything in them."""
ONLY_WHERE_DIFFERENT = ("Batch", "Device", "Passes", "Worker", "Status")
"""Columns that are left out where all runs have the same in them: the room is scarce."""
SORT_BY = "Median"


def page_data(points: Points, command: Command, spell: Callable[[str], str]) -> dict[str, Any]:
    """Everything that the script needs, as the JSON of `PageData`; arguments as for `report_page`.

    Raises:
        MnfpnError: where plotly is not installed.
    """
    columns = [one for one in COLUMNS if _says_something(one, points)]
    names = dict[str, int]()
    profiles = {
        str(index): _profile(profile, names, spell)
        for index, one in enumerate(points.all)
        if (profile := one.stored.profile)
    }
    return PageData(
        rows=tuple(_row(one, columns, command, spell) for one in points.all),
        columns=tuple(ColumnData(title=one.title, kind=one.kind, number=one.kind == "number") for one in columns),
        sort_by=[one.title for one in columns].index(SORT_BY),
        filters=FILTERS,
        costs={cost: title for cost, (title, _) in COSTS.items()},
        figures=_figures(points) if points.frontier else None,
        profiles=profiles,
        names=tuple(names),
        part_colours=part_colours(),
        diagrams=diagrams(points),
    ).model_dump(mode="json")


def _says_something(column: PageColumn, points: Points) -> bool:
    if column.title in ONLY_WHERE_DIFFERENT:
        return len(set(map(column.value, points.all))) > 1
    return column.title not in ONLY_WHERE_FILLED or any(map(column.value, points.all))


def _figures(points: Points) -> FigureData:
    made = (frontier_figure(points), sizes_figure(points), parts_figure())
    frontier, sizes, parts = (json.loads(figure.to_json()) for figure in made)
    return FigureData(frontier=frontier, sizes=sizes, parts=parts)


def _row(point: Point, columns: list[PageColumn], command: Command, spell: Callable[[str], str]) -> RowData:
    stored = point.stored
    run, execution = stored.planned.run, stored.execution
    found = (one.cell(point) for one in columns)
    cells = tuple((spell(value) if isinstance(value, str) else value, spell(words)) for value, words in found)
    executed = f"batch {execution.batch}, {execution.runtime} on {stored.device}{', training' * execution.train}"
    return RowData(
        status=stored.status,
        runtime=execution.runtime,
        device=stored.device,
        size=str(run.size),
        batch=str(execution.batch),
        passes=execution.passes,
        worker=point.worker,
        frontier=point.on_frontier,
        title=f"{point.name}, {run.size}, {executed}",
        command=command(run),
        costs={cost: of(stored.figures) for cost, (_, of) in COSTS.items()},
        search=" ".join([*(words for _, words in cells), stored.key]).lower(),
        hover="<br>".join(map(text, _hover(point))) if point.latency else "",
        cells=cells,
    )


def _hover(point: Point) -> list[str]:
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
        f"{size_in_bytes(figures.memory_bytes)}, {percent(point.kept)} kept" + " · frontier" * point.on_frontier,
    ]


def _profile(found: RunProfile, names: dict[str, int], spell: Callable[[str], str]) -> ProfileData:
    """Times by part and by layer; names by number, as those of layers are many times the same."""

    def bar(name: str, part: str, value: float | None) -> Bar:
        return number(name), number(part), short(value)

    def number(name: str) -> int:
        return names.setdefault(text(name), len(names))

    def short(value: float | None) -> float:
        return float(f"{value or 0.0:.4g}")

    said = spell(found.advice.sentence).replace("`", "") if found.advice else ""
    return ProfileData(
        measured=short(found.measured_s),
        advice=f"{said[0].upper()}{said[1:]}." if said else "",
        parts=tuple(bar(one.part, one.part, one.seconds) for one in found.parts),
        layers=tuple(bar(one.path or one.part, one.part, one.seconds) for one in found.layers),
    )


def _reason(point: Point) -> str:
    result = point.stored.result
    return (result.reason or "") if result and point.stored.status == "failed" else ""


def _median(point: Point) -> str:
    return seconds(point.latency.median) if point.latency else ""


def _half_width(point: Point) -> float | None:
    """Over the median; None where there is no interval."""
    from mnfpn_cli.measure.statistics import relative_half_width

    return relative_half_width(point.latency) if point.latency and point.latency.interval else None
