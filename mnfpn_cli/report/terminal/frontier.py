"""`mnfpn report` on a terminal: the measured frontier as tables, with a plot."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mnfpn_cli.report.terminal.bench import half_width
from mnfpn_cli.report.terminal.runs import RunNames, columns_of, numbers_of, runs_report
from mnfpn_cli.report.terminal.sweep import moved_lines
from mnfpn_cli.report.terminal.tables import Line, Report, note, warning
from mnfpn_cli.report.units import CAPACITY, count, counted, scaled, seconds, size_in_bytes
from mnfpn_cli.space.frontier import TimingGroup, timing_group
from mnfpn_cli.text import percent, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from mnfpn_cli.report.points import Point, Points

HINT = "For a plot of it here: pip install 'mnfpn[report]', which brings plotext."
SYMBOLS = (("●", "○"), ("■", "□"), ("▲", "△"), ("◆", "◇"), ("▼", "▽"), ("★", "☆"), ("◉", "◎"))
"""The symbols of each runtime: for a run on the frontier, and for any other."""

COLOURS = ("blue", "orange", "green", "magenta", "cyan", "red", "gold")
STYLES = ("bright_blue", "yellow", "green", "magenta", "cyan", "red", "bright_yellow")
MOST_WIDTH, MOST_HEIGHT = 120, 24
"""The largest plot, in columns and lines of the screen."""

PLAIN_WIDTH = 80
"""The width of the plot in a file."""


@dataclass(frozen=True)
class TerminalPlot:
    """A plot of the runs of one group."""

    points: Sequence[Point]

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
        yield Line("Latency against MACs, both logarithmic; filled: on the frontier", "bold")
        drawn = _drawn(self.points, columns, min(MOST_HEIGHT, max(12, columns // 4)), coloured)
        yield Line(drawn.rstrip("\n"), whole=True, ansi=coloured)
        yield _legend(self.points)


def _legend(points: Sequence[Point]) -> Line:
    known = list(zip(SYMBOLS, STYLES, _runtimes(points), strict=False))
    text = "".join(f"{full}{empty} {runtime}   " for (full, empty), _, runtime in known)
    return Line(f"  {text}", marks=tuple((f"{full}{empty}", style) for (full, empty), style, _ in known))


def _runtimes(points: Sequence[Point]) -> list[str]:
    """The runtimes in the order of their symbols; those beyond the last symbol share it."""
    return sorted({one.stored.execution.runtime for one in points})


def _drawn(points: Sequence[Point], width: int, height: int, coloured: bool) -> str:
    import plotext

    plotext.terminal.limit(width=False, height=False)  # else COLUMNS limits it, in a pipe too
    figure = plotext.figure
    figure.clear()
    figure.theme("simple")
    figure.plot_size(width, height)
    runtimes = _runtimes(points)
    for on_frontier in (False, True):  # the frontier last, on top
        for index, runtime in enumerate(runtimes):
            kind = min(index, len(SYMBOLS) - 1)
            some = [one for one in points if one.stored.execution.runtime == runtime]
            xs = [math.log10(_macs(one)) for one in some if one.on_frontier == on_frontier]
            ys = [math.log10(_latency(one)) for one in some if one.on_frontier == on_frontier]
            if xs:
                pixel = plotext.pixel(COLOURS[kind]) if coloured else plotext.pixel()
                mark = plotext.marker(SYMBOLS[kind][not on_frontier], pixel)
                figure.draw(figure.signal(xs, ys, marker=mark))
    _scale(figure.ruler("x"), [_macs(one) for one in points], scaled, max(3, width // 12))
    _scale(figure.ruler("y"), [_latency(one) for one in points], seconds, max(3, height // 3))
    return str(figure.build().string(colorless=not coloured))


def _macs(point: Point) -> float:
    return max(1, point.stored.figures.macs)


def _latency(point: Point) -> float:
    assert point.latency
    return point.latency.median


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


def frontier_report(points: Points, sweep: str) -> Report:
    """A table for each bench with a plot below it, and how many runs there are.

    ``sweep``: the command line that puts runs into a store, for a store without any.
    """
    report: Report = []
    for group, some in points.frontier.items():
        everything = [one for one in points.all if one.latency and timing_group(one.stored) == group]
        report += [*_table(group, some, len(everything)), TerminalPlot(everything)]
    if points.frontier:
        report.append(note(CAPACITY, "dim"))
    return [*report, *_counts(points, sweep), *_moved(points)]


def group_name(group: TimingGroup, among: Mapping[TimingGroup, object]) -> str:
    """Name a group in a title: its device and machine, its batch where there are several, and training steps."""
    batches = {one.batch for one in among} | {1}
    batch = f", batch {group.batch}" if len(batches) > 1 else ""
    return f"{group.device} of {group.machine}{batch}{', training steps' * group.train}"


def _table(group: TimingGroup, frontier: Sequence[Point], runs: int) -> Report:
    """A row for each run of a frontier; ``runs`` counts all measured runs of the group."""
    title = f"Frontier on {group_name(group, {group: None})}: {count(len(frontier))} of {counted(runs, 'run')}"
    names = RunNames(
        columns_of([one.words for one in frontier]),
        {
            ">Size": [str(one.stored.size) for one in frontier],
            "Runtime": [one.stored.execution.runtime for one in frontier],
        },
    )
    latencies = [one.latency for one in frontier if one.latency]  # all have one: they were measured
    figures = [one.stored.figures for one in frontier]
    numbers = {
        ">Median": [seconds(one.median) for one in latencies],
        ">±95 %": [half_width(one.median, one.interval) for one in latencies],
        ">MACs": [scaled(one.macs) for one in figures],
        ">Parameters": [scaled(one.parameters) for one in figures],
        ">Memory": [size_in_bytes(one.memory_bytes) for one in figures],
        ">Capacity": [percent(one.capacity_share) for one in frontier],
    }
    return runs_report(printable(title), names, numbers, numbers_of(frontier))


def _counts(points: Points, sweep: str) -> Report:
    if not points.all:
        return [note(f"The store has no runs yet: measure some with {sweep}.")]
    parts = {status: points.count(status) for status in ("done", "failed", "pending")}
    text = ", ".join(f"{count(number)} {status}" for status, number in parts.items() if number)
    runs = f"{counted(len(points.all), 'run')}: {text}."
    return [note(runs if parts["done"] else f"{runs} There is no frontier before a run is measured.")]


def _moved(points: Points) -> Report:
    return [warning(line) for line in moved_lines(points.moved)]
