"""The data of the page's script: runs, the columns of their table, plots, profiles and diagrams.

A page of thousands of runs must stay small, so its data is by column, not by run, and has each text once: all else
names a text by its index in `PageData.texts`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mnfpn_cli.plan.network import plan_network
from mnfpn_cli.plan.shapes import network_shapes
from mnfpn_cli.report.figures.frontier import frontier_figure, plot_axes
from mnfpn_cli.report.figures.sizes import sizes_figure
from mnfpn_cli.report.figures.style import part_colours, parts_figure, plot_text, plotted_runs
from mnfpn_cli.report.figures.svg import diagram_svg
from mnfpn_cli.report.layout import network_layout
from mnfpn_cli.report.page.columns import SORT_BY, page_columns
from mnfpn_cli.report.page.records import (
    AxisData,
    Bar,
    ColumnData,
    Diagram,
    FigureData,
    Number,
    PageData,
    Phrase,
    ProfileData,
    RunsData,
    TextIndex,
    TimesData,
)
from mnfpn_cli.report.units import scaled, score, seconds, seconds_range, size_in_bytes
from mnfpn_cli.settings.input import NetworkInput, Size
from mnfpn_cli.settings.measuring import PASSES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mnfpn_cli.documents.bench import RunProfile
    from mnfpn_cli.documents.report import PageDocument, ReportDocument, ReportedRun
    from mnfpn_cli.report.figures.frontier import PlotAxis
    from mnfpn_cli.report.page.columns import PageColumn
    from mnfpn_cli.settings.network import NetworkSettings

MOST_DIAGRAMS = 60
"""Diagrams that a page has at most."""

DIGITS = 6
"""Significant digits of the numbers that points are drawn at, and that columns are sorted by."""


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


def page_data(page: PageDocument, spell: Callable[[str], str]) -> PageData:
    """Return the data of a page; ``spell`` is as in `report_page`.

    Raises:
        MnfpnError: where plotly is not installed.
    """
    texts = Texts()
    columns = page_columns(page)
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
