"""`mnfpn report` on a terminal: the measured frontier as tables, with a plot."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mnfpn_cli.report.terminal.models import model_lines
from mnfpn_cli.report.terminal.run_tables import (
    RunNames,
    columns_of,
    dtype_of_all,
    numbers_of,
    runs_report,
    time_columns,
    time_notes,
)
from mnfpn_cli.report.terminal.sweep import moved_lines
from mnfpn_cli.report.terminal.tables import Line, Report, note, warning
from mnfpn_cli.report.units import count, scaled, score, seconds, size_in_bytes
from mnfpn_cli.text import counted, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mnfpn_cli.documents.report import FrontierRecord, ReportDocument, ReportedRun

HINT = "For a plot of it here: pip install 'mnfpn[report]', which brings plotext."
SYMBOLS = (("●", "○"), ("■", "□"), ("▲", "△"), ("◆", "◇"), ("▼", "▽"), ("★", "☆"), ("◉", "◎"))
"""The symbols of each runtime: for a run on the frontier, and for any other, which is dim."""

PREDICTED = "×"
"""The symbol of a run that is not measured, but predicted."""

COLOURS = ("blue", "orange", "green", "magenta", "cyan", "red", "gold")
STYLES = ("bright_blue", "yellow", "green", "magenta", "cyan", "red", "bright_yellow")
MOST_WIDTH, MOST_HEIGHT = 120, 24
"""The largest plot, in columns and lines of the screen."""

PLAIN_WIDTH = 80
"""The width of the plot in a file."""


@dataclass(frozen=True)
class TerminalPlot:
    """A plot of runs whose times can be compared; ``metric``: what their latency is plotted against."""

    runs: Sequence[ReportedRun]
    metric: str

    def lines(self, width: int | None) -> Iterator[Line]:
        """The plot with its legend; without plotext, how to install it."""
        try:
            import plotext  # noqa: F401
        except ImportError:
            yield note(HINT, "dim")
            return
        columns = PLAIN_WIDTH if width is None else min(width, MOST_WIDTH)
        coloured = width is not None
        yield Line("")
        yield Line(f"Latency against {printable(metric_name(self.metric))}; filled: on the frontier", "bold")
        drawn = _drawn(self.runs, columns, min(MOST_HEIGHT, max(12, columns // 4)), coloured)
        known = list(zip(SYMBOLS, STYLES, _runtimes(self.runs), strict=False))
        hollow = "".join(empty for (_, empty), _, _ in known)
        marks = (*((f"{full}+", style) for (full, _), style, _ in known), (f"[{hollow}]+", "dim"))
        yield Line(drawn.rstrip("\n"), whole=True, ansi=coloured, marks=() if coloured else marks)
        legend = "".join(f"{full}{empty} {runtime}   " for (full, empty), _, runtime in known)
        predicted = f"{PREDICTED} predicted" if any(one.is_predicted for one in self.runs) else ""
        yield Line(f"  {legend}{predicted}".rstrip(), marks=marks)


def _runtimes(runs: Sequence[ReportedRun]) -> list[str]:
    """The runtimes in the order of their symbols; those beyond the last symbol share it."""
    return sorted({one.runtime for one in runs})


def _drawn(runs: Sequence[ReportedRun], width: int, height: int, coloured: bool) -> str:
    import plotext

    plotext.terminal.limit(width=False, height=False)  # else COLUMNS limits it, in a pipe too
    figure = plotext.figure
    figure.clear()
    figure.theme("simple")
    figure.plot_size(width, height)
    by_macs = runs[0].score is not None and runs[0].score.kind == "planned"
    along = math.log10 if by_macs else float
    for symbol, colour, some in _symbols(runs):
        mark = plotext.marker(symbol, plotext.pixel(colour) if coloured else plotext.pixel())
        xs, ys = [along(_score(one)) for one in some], [math.log10(_latency(one)) for one in some]
        figure.draw(figure.signal(xs, ys, marker=mark))
    scores = [_score(one) for one in runs]
    if by_macs:
        _scale(figure.ruler("x"), scores, scaled, max(3, width // 12))
    _scale(figure.ruler("y"), [_latency(one) for one in runs], seconds, max(3, height // 3))
    return str(figure.build().string(colorless=not coloured))


def _symbols(runs: Sequence[ReportedRun]) -> Iterator[tuple[str, str, list[ReportedRun]]]:
    """Yield each symbol, its colour, and its runs: those of the frontier last, on top, and all others in grey."""
    runtimes, groups = _runtimes(runs), defaultdict[tuple[bool, bool, int], list["ReportedRun"]](list)
    for one in runs:
        kind = min(runtimes.index(one.runtime), len(SYMBOLS) - 1)
        groups[one.on_frontier, not one.is_predicted, kind].append(one)
    for (on_frontier, measured, kind), some in sorted(groups.items(), key=lambda group: group[0]):
        symbol = SYMBOLS[kind][not on_frontier] if measured else PREDICTED
        yield symbol, COLOURS[kind] if on_frontier else "gray", some


def _score(run: ReportedRun) -> float:
    assert run.score
    return run.score.value


def _latency(run: ReportedRun) -> float:
    assert run.time_s
    return run.time_s


def _scale(ruler: object, values: Sequence[float], words: Callable[[float], str], most: int) -> None:
    """Put round numbers on a logarithmic axis."""
    low, high = math.log10(min(values)), math.log10(max(values))
    room = max(0.04 * (high - low), 0.02)
    marks = round_numbers(10 ** (low - room), 10 ** (high + room), most)
    ruler.lim(low - room, high + room)  # type: ignore[attr-defined]  # plotext has no types
    ruler.ticks([math.log10(one) for one in marks], [short(words(one)) for one in marks])  # type: ignore[attr-defined]


def round_numbers(low: float, high: float, most: int) -> list[float]:
    """Return at most ``most`` numbers with few digits between two bounds, for a logarithmic axis."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for digits in ((1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9), (1, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,)):
        found = [digit * 10.0**decade for decade in decades for digit in digits]
        found = [one for one in found if low <= one <= high]
        if len(found) <= most:
            break
    if len(found) > most:
        found = found[:: math.ceil(len(found) / most)]
    return found if len(found) > 1 else [low, high]


def short(text: str) -> str:
    """A number without trailing zeros: ``20.00 M`` as ``20 M``."""
    number, space, unit = text.partition(" ")
    return f"{number.rstrip('0').rstrip('.') if '.' in number else number}{space}{unit}"


def frontier_report(document: ReportDocument) -> Report:
    """A table for each frontier with a plot below it, and how many runs there are."""
    report: Report = []
    for frontier in document.frontier:
        comparable = [one for one in document.runs if one.score and one.time_s and _is_comparable(one, frontier)]
        measured = sum(not one.is_predicted for one in comparable)
        report += [
            *_table(frontier, measured, document.metric),
            *_predicted(frontier.predicted, document.metric),
            TerminalPlot(comparable, document.metric),
        ]
    if document.frontier:
        report.append(note(document.objective, "dim"))
    warnings = (*document.warnings, *moved_lines(document.baseline_moved))
    return [*report, _counts(document), *model_lines(document.models), *map(warning, warnings)]


def metric_name(metric: str) -> str:
    """The name of a metric in a title."""
    return "MACs" if metric == "macs" else metric


def _is_comparable(run: ReportedRun, frontier: FrontierRecord) -> bool:
    """Whether the time of a run can be compared with those of a frontier."""
    own = (run.machine, run.device, run.batch, run.train)
    return own == (frontier.machine, frontier.device, frontier.batch, frontier.train)


def _table(frontier: FrontierRecord, measured: int, metric: str) -> Report:
    """A row for each run of a frontier; ``measured`` counts all measured runs that it is of."""
    runs = frontier.runs
    batch = f", batch {frontier.batch}" if frontier.batch > 1 else ""
    where = f"{frontier.device} of {frontier.machine}{batch}{', training steps' * frontier.train}"
    title = f"Frontier on {where}: {count(len(runs))} of {counted(measured, 'run')}"
    return _runs_table(title, runs, metric)


MOST_PREDICTED = 10
"""The most predicted runs of a table, those with the highest score; JSON has all."""


def _predicted(runs: Sequence[ReportedRun], metric: str) -> Report:
    """A row for each predicted run that no run beats."""
    if not runs:
        return []
    number = f"{counted(len(runs), 'run')}"
    title = f"Predicted to be on the frontier: {number}, not measured"
    left = len(runs) - MOST_PREDICTED
    lines = [f"{count(left)} more of these, with lower scores: `json` has all."] if left > 0 else []
    lines.append("mnfpn recommend `predict` measures those that are promising within a budget.")
    return [*_runs_table(title, runs[-MOST_PREDICTED:], metric), *(note(line, "dim") for line in lines)]


def _runs_table(title: str, runs: Sequence[ReportedRun], metric: str) -> Report:
    """A row for each run."""
    names = RunNames(
        columns_of([one.identity for one in runs]),
        {
            ">Size": [one.size for one in runs],
            "Runtime": [one.runtime for one in runs],
            **dtype_of_all([one.dtype for one in runs]),
        },
    )
    costs = [one.cost for one in runs]
    scores = [score(one.score) for one in runs if one.score]  # all have one
    numbers = {
        **({} if metric == "macs" else {f">{printable(metric)}": scores}),
        **time_columns(runs),
        ">MACs": [scaled(one.macs) for one in costs],
        ">Parameters": [scaled(one.parameters) for one in costs],
        ">Memory": [size_in_bytes(one.planned_memory_bytes) for one in costs],
    }
    return [*runs_report(printable(title), names, numbers, numbers_of(runs)), *time_notes(runs)]


def _counts(document: ReportDocument) -> Line:
    if not document.runs:
        return note("The store has no runs yet: measure some with mnfpn sweep `store` STORE.")
    text = ", ".join(f"{count(number)} {status}" for status, number in document.counts if number)
    runs = f"{counted(len(document.runs), 'run')}: {text}."
    return note(runs if document.counts.done else f"{runs} There is no frontier before a run is measured.")
