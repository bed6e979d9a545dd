"""The data of the page's script: runs, the columns of their table, plots, profiles and diagrams.

A page of thousands of runs must stay small, so its data is by column, not by run, and has each text once: all else
names a text by its index in `PageData.texts`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import ConfigDict, JsonValue
from pydantic.alias_generators import to_camel

from mnfpn_cli.documents.base import Record
from mnfpn_cli.plan.network import plan_network
from mnfpn_cli.plan.shapes import network_shapes
from mnfpn_cli.report.figures.frontier import frontier_figure, plot_axes
from mnfpn_cli.report.figures.sizes import sizes_figure
from mnfpn_cli.report.figures.style import part_colours, parts_figure, plot_text, plotted_runs
from mnfpn_cli.report.figures.svg import diagram_svg
from mnfpn_cli.report.layout import network_layout
from mnfpn_cli.report.units import scaled, score, seconds, seconds_range, share, size_in_bytes
from mnfpn_cli.settings.input import NetworkInput, Size
from mnfpn_cli.settings.measuring import PASSES
from mnfpn_cli.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mnfpn_cli.documents.bench import RunProfile
    from mnfpn_cli.documents.report import PageDocument, ReportDocument, ReportedRun
    from mnfpn_cli.report.figures.frontier import PlotAxis
    from mnfpn_cli.settings.network import NetworkSettings

MOST_DIAGRAMS = 60
"""Diagrams that a page has at most."""

DIGITS = 6
"""Significant digits of the numbers that points are drawn at, and that columns are sorted by."""

Number = int | float
PageValue = str | Number | None
TextIndex = int
"""The index of a text in `PageData.texts`."""

Phrase = tuple[TextIndex, ...]
"""A text as its words, which single spaces join."""

Lines = tuple[TextIndex, ...]
"""A text as its lines."""

Bar = tuple[TextIndex, TextIndex, float]
"""The name of a bar, its part, and the time in seconds."""


class Diagram(Record):
    """The diagram of a network of the frontier; ``title``: its text for screen readers."""

    name: str
    title: str
    svg: Lines


class ColumnData(Record):
    """A column of the table.

    Attributes:
        title: its heading.
        kind: its classes in the style sheet.
        number: whether it holds numbers.
        values: the value of each run to sort by, of a column whose texts do not sort; else None.
        words: the text of each run.
    """

    title: str
    kind: str
    number: bool
    values: tuple[Number | None, ...] | None
    words: tuple[TextIndex, ...]


class RunsData(Record):
    """What the page knows of each run, besides the columns of the table.

    Attributes:
        status, runtime, device, size, batch, passes, worker: the fields to filter by.
        frontier: 1 where the run is on a frontier.
        title: its name in lists.
        command: the command line that measures it.
        key: its key.
        hover: the lines at its point in plots; none where it has no time.
    """

    status: tuple[TextIndex, ...]
    runtime: tuple[TextIndex, ...]
    device: tuple[TextIndex, ...]
    size: tuple[TextIndex, ...]
    batch: tuple[TextIndex, ...]
    passes: tuple[TextIndex, ...]
    worker: tuple[TextIndex, ...]
    frontier: tuple[int, ...]
    title: tuple[Phrase, ...]
    command: tuple[Phrase, ...]
    key: tuple[str, ...]
    hover: tuple[Lines, ...]


class TimesData(Record):
    """The time of each run and the ends of its interval, in milliseconds; None where the run has no time."""

    middle: tuple[Number | None, ...]
    low: tuple[Number | None, ...]
    high: tuple[Number | None, ...]


class AxisData(Record):
    """What latency can be plotted against.

    Attributes:
        key: its name in the page.
        word: its name on a button.
        title: the title of the axis.
        logarithmic: whether equal ratios are equal distances.
        values: the value of each run; None where it has none.
        errors: the standard error of each value; None where no value has one.
    """

    key: str
    word: str
    title: str
    logarithmic: bool
    values: tuple[Number | None, ...]
    errors: tuple[Number, ...] | None


class ProfileData(Record):
    """The time of each part and each layer of a run, and of a whole pass (``measured``), in seconds."""

    measured: float
    advice: str
    parts: tuple[Bar, ...]
    layers: tuple[Bar, ...]


class FigureData(Record):
    """The plots, in plotly's JSON. Traces of runs are without numbers, which the script looks up."""

    frontier: JsonValue
    sizes: JsonValue
    parts: JsonValue


class PageData(Record):
    """All data of the page.

    ``profiles`` are by the index of a run; ``places`` are where each run is along x of the plot by size.
    """

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, serialize_by_alias=True)

    texts: tuple[str, ...]
    runs: RunsData
    columns: tuple[ColumnData, ...]
    sort_by: int
    filters: tuple[tuple[str, str], ...]
    axes: tuple[AxisData, ...]
    times: TimesData
    places: tuple[Number | None, ...]
    figures: FigureData | None
    profiles: dict[str, ProfileData]
    part_colours: dict[str, str]
    diagrams: tuple[Diagram, ...]


@dataclass
class Texts:
    """The texts of a page, each once."""

    indices: dict[str, int] = field(default_factory=dict)

    def add(self, text: str) -> TextIndex:
        """Return the index of a text, which is added where it is new."""
        return self.indices.setdefault(text, len(self.indices))

    def phrase(self, text: str) -> Phrase:
        """Return the indices of the words of a text."""
        return tuple(map(self.add, text.split(" ")))

    def all(self) -> tuple[str, ...]:
        """Return the texts in the order of their indices."""
        return tuple(self.indices)


def diagrams(report: ReportDocument, texts: Texts) -> tuple[Diagram, ...]:
    """Return the diagram of each network of the frontier at each size, the fastest first, at most `MOST_DIAGRAMS`."""
    networks = dict[tuple["NetworkSettings", Size], "ReportedRun"]()
    for frontier in report.frontier:
        for one in frontier.runs:
            networks.setdefault((one.settings, Size(one.input.height, one.input.width)), one)
    drawn = list(networks.items())[:MOST_DIAGRAMS]
    return tuple(_diagram(settings, size, one, texts) for (settings, size), one in drawn)


def _diagram(settings: NetworkSettings, size: Size, run: ReportedRun, texts: Texts) -> Diagram:
    plan = plan_network(settings)
    layout = network_layout(plan, network_shapes(plan, NetworkInput(1, settings.in_channels, size)))
    name, levels = f"{run.name}, {size}", ", ".join(f"{level.name} {level.shape}" for level in layout.levels)
    return Diagram(
        name=name,
        title=f"{name}. {layout.title}: {levels}",
        svg=tuple(map(texts.add, diagram_svg(layout).splitlines())),
    )


FILTERS = (
    ("status", "Status"),
    ("runtime", "Runtime"),
    ("device", "Device"),
    ("size", "Size"),
    ("batch", "Batch"),
    ("passes", "Passes"),
    ("worker", "Worker"),
)
"""The filters: a field of `RunsData`, and the title."""


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
    if not run.time_s or not run.time_interval:
        return None
    low, high = run.time_interval
    return max(high - run.time_s, run.time_s - low) / run.time_s


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


def page_data(page: PageDocument, spell: Callable[[str], str]) -> PageData:
    """Return the data of a page; ``spell`` is as in `report_page`.

    Raises:
        MnfpnError: where plotly is not installed.
    """
    texts = Texts()
    columns = [column for column in _columns(page) if _is_needed(column, page)]
    profiles = {
        str(index): _profile(measured.profile, texts, spell)
        for index, one in enumerate(page.runs)
        if (measured := page.measurements.get(one.key)) and measured.profile
    }
    sizes = sizes_figure(page)
    data = PageData(
        texts=(),
        runs=_runs(page.runs, texts),
        columns=tuple(_column(column, page.runs, texts, spell) for column in columns),
        sort_by=[column.title for column in columns].index(SORT_BY),
        filters=FILTERS,
        axes=tuple(_axis(one, page.runs) for one in plot_axes(page)),
        times=_times(page),
        places=_places(sizes, len(page.runs)),
        figures=_figures(page, sizes) if page.frontier else None,
        profiles=profiles,
        part_colours=part_colours(),
        diagrams=diagrams(page, texts),
    )
    return data.model_copy(update={"texts": texts.all()})


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


def _column(column: PageColumn, runs: Sequence[ReportedRun], texts: Texts, spell: Callable[[str], str]) -> ColumnData:
    cells = [column.cell(run) for run in runs]
    sorts = any(isinstance(value, int | float) for value, _ in cells)
    return ColumnData(
        title=column.title,
        kind=column.kind,
        number=column.kind == "number",
        values=tuple(_short(value) for value, _ in cells) if sorts else None,
        words=tuple(texts.add(spell(words)) for _, words in cells),
    )


def _is_needed(column: PageColumn, report: ReportDocument) -> bool:
    if column.title in ONLY_WHERE_DIFFERENT:
        return len(set(map(column.value, report.runs))) > 1
    return column.title not in ONLY_WHERE_FILLED or any(map(column.value, report.runs))


def _axis(along: PlotAxis, runs: Sequence[ReportedRun]) -> AxisData:
    errors = [_short(along.error(run)) or 0 for run in runs]
    return AxisData(
        key=along.key,
        word=along.word,
        title=plot_text(along.title),
        logarithmic=along.is_logarithmic,
        values=tuple(_short(along.value(run)) for run in runs),
        errors=tuple(errors) if any(errors) else None,
    )


def _times(page: PageDocument) -> TimesData:
    found = {one.index: (one.milliseconds, one.low, one.high) for one in plotted_runs(page)}
    rows = [found.get(index, (None, None, None)) for index in range(len(page.runs))]
    middle, low, high = (tuple(_short(row[place]) for row in rows) for place in range(3))
    return TimesData(middle=middle, low=low, high=high)


def _short(value: Any) -> Number | None:
    """Return a whole number as it is, another with `DIGITS` significant digits; None for anything else."""
    if not isinstance(value, float):
        return value if isinstance(value, int) else None
    short = float(f"{value:.{DIGITS}g}")
    return int(short) if short.is_integer() else short


def _places(sizes: Any, runs: int) -> tuple[Number | None, ...]:
    """Return where each of so many runs is along x of the plot by size."""
    found = {
        index: x
        for trace in sizes.data
        if trace.meta["kind"] == "runs"
        for index, x in zip(trace.customdata, trace.x, strict=True)
    }
    return tuple(_short(found.get(index)) for index in range(runs))


def _figures(report: ReportDocument, sizes: Any) -> FigureData:
    return FigureData(
        frontier=_without_points(frontier_figure(report)), sizes=_without_points(sizes), parts=_json(parts_figure())
    )


def _json(figure: Any) -> Any:
    return json.loads(figure.to_json())


def _without_points(figure: Any) -> Any:
    """Return a figure without the numbers of runs, which the script looks up by ``customdata``."""
    made = _json(figure)
    for trace in made["data"]:
        if "customdata" in trace:
            del trace["x"], trace["y"]
        for bars in ("error_x", "error_y"):
            for name in ("array", "arrayminus"):
                trace.get(bars, {}).pop(name, None)
        for name in {"x", "y"} & trace.keys():
            trace[name] = [_short(value) for value in trace[name]]
    return made


def _runs(runs: Sequence[ReportedRun], texts: Texts) -> RunsData:
    def indices(words: Callable[[ReportedRun], str]) -> tuple[int, ...]:
        return tuple(texts.add(words(run)) for run in runs)

    return RunsData(
        status=indices(lambda run: run.status),
        runtime=indices(lambda run: run.runtime),
        device=indices(lambda run: run.device),
        size=indices(lambda run: run.size),
        batch=indices(lambda run: str(run.batch)),
        passes=indices(lambda run: PASSES[run.train]),
        worker=indices(lambda run: run.worker or ""),
        frontier=tuple(int(run.on_frontier) for run in runs),
        title=tuple(texts.phrase(_title(run)) for run in runs),
        command=tuple(texts.phrase(run.command) for run in runs),
        key=tuple(run.key for run in runs),
        hover=tuple(tuple(texts.add(plot_text(line)) for line in _hover(run)) for run in runs),
    )


def _title(run: ReportedRun) -> str:
    execution = f"batch {run.batch}, {run.runtime} on {run.device}{', training' * run.train}"
    return f"{run.name}, {run.size}, {execution}"


def _hover(run: ReportedRun) -> list[str]:
    """Return the lines at the point of a run in plots; none where it has no time."""
    if not run.time_s:
        return []
    interval = f" ({seconds_range(*run.time_interval)})" if run.time_interval else ""
    return [
        *run.name.split(", "),
        f"{run.size}, batch {run.batch}, {run.runtime}{', training' * run.train}",
        f"{run.device} on {run.worker or run.machine}, {run.dtype}",
        f"{seconds(run.time_s)}{interval}",
        *_time_notes(run),
        f"{scaled(run.cost.macs)} MACs, {scaled(run.cost.parameters)} parameters",
        *([f"{run.score.metric} {score(run.score)}"] if run.score and run.score.kind != "planned" else []),
        f"{size_in_bytes(run.cost.planned_memory_bytes)}{' · frontier' * run.on_frontier}",
    ]


def _time_notes(run: ReportedRun) -> list[str]:
    """Return lines on where the time of a run comes from."""
    if run.latency_s and run.corrected_s:
        return [f"{seconds(run.latency_s.median)} before the correction for drift"]
    if run.prediction and run.is_predicted:
        return ["predicted, not measured", *([run.prediction.extrapolated] if run.prediction.extrapolated else [])]
    return []


def _profile(profile: RunProfile, texts: Texts, spell: Callable[[str], str]) -> ProfileData:
    """Return the times of a run by part and by layer."""

    def bar(name: str, part: str, value: float | None) -> Bar:
        return texts.add(plot_text(name)), texts.add(plot_text(part)), rounded(value)

    def rounded(value: float | None) -> float:
        return float(f"{value or 0.0:.4g}")

    advice = spell(profile.advice.sentence) if profile.advice else ""
    return ProfileData(
        measured=rounded(profile.measured_s),
        advice=f"{advice[0].upper()}{advice[1:]}." if advice else "",
        parts=tuple(bar(one.part, one.part, one.seconds) for one in profile.parts),
        layers=tuple(bar(one.path or one.part, one.part, one.seconds) for one in profile.layers),
    )
