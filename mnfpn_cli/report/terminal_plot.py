"""Latency against MACs in the terminal: both axes logarithmic, as wide as there is room."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.text import Text

from mnfpn_cli.report.tables import note
from mnfpn_cli.report.units import scaled, seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rich.console import Console, ConsoleOptions

    from mnfpn_cli.report.points import Point

HINT = "For a plot of it here: pip install 'mnfpn[report]', which brings plotext."
SYMBOLS = (("●", "○"), ("■", "□"), ("▲", "△"), ("◆", "◇"), ("▼", "▽"), ("★", "☆"), ("◉", "◎"))
"""Of each runtime: a cell on the frontier, and any other."""

COLOURS = ("blue", "orange", "green", "magenta", "cyan", "red", "gold")
STYLES = ("bright_blue", "yellow", "green", "magenta", "cyan", "red", "bright_yellow")
WIDEST, HIGHEST = 120, 24
PLAIN_WIDTH = 80
"""Where there is no terminal that it could fill."""


@dataclass(frozen=True)
class TerminalPlot:
    """Cells of one bench, drawn when it is known how wide."""

    points: Sequence[Point]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        """The plot with its legend; without plotext, how to get it."""
        try:
            import plotext  # noqa: F401
        except ImportError:
            yield note(HINT, "dim")
            return
        width = min(options.max_width, WIDEST) if console.is_terminal else PLAIN_WIDTH
        drawn = Text.from_ansi(_drawn(self.points, width, min(HIGHEST, max(12, width // 4)), console.is_terminal))
        drawn.no_wrap = True
        yield Text()
        yield Text("Latency against MACs, both logarithmic; filled: on the frontier", style="bold")
        yield drawn
        yield _legend(self.points)


def _legend(points: Sequence[Point]) -> Text:
    legend = Text("  ")
    for (full, empty), style, runtime in zip(SYMBOLS, STYLES, _runtimes(points), strict=False):
        legend.append(f"{full}{empty}", style).append(f" {runtime}   ")
    return legend


def _runtimes(points: Sequence[Point]) -> list[str]:
    """The runtimes that have symbols; what is beyond them shares the last."""
    return sorted({one.stored.cell.execution.runtime for one in points})


def _drawn(points: Sequence[Point], width: int, height: int, coloured: bool) -> str:
    import plotext

    plotext.terminal.limit(width=False, height=False)  # it would go by COLUMNS, which a pipe has, too
    figure = plotext.figure
    figure.clear()
    figure.theme("simple")
    figure.plot_size(width, height)
    runtimes = _runtimes(points)
    for on_frontier in (False, True):  # those on the frontier lie on top
        for index, runtime in enumerate(runtimes):
            kind = min(index, len(SYMBOLS) - 1)
            some = [one for one in points if one.stored.cell.execution.runtime == runtime]
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
    """Round numbers along an axis of logarithms."""
    low, high = math.log10(min(values)), math.log10(max(values))
    room = max(0.04 * (high - low), 0.02)
    marks = round_numbers(10 ** (low - room), 10 ** (high + room), most)
    ruler.lim(low - room, high + room)  # type: ignore[attr-defined]  # plotext has no types
    ruler.ticks([math.log10(one) for one in marks], [short(words(one)) for one in marks])  # type: ignore[attr-defined]


def round_numbers(low: float, high: float, most: int) -> list[float]:
    """Numbers with few digits between two bounds, as a logarithmic axis wants them; at most so many."""
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
    """A number without zeros that say nothing: ``20.00 M`` as ``20 M``."""
    number, space, unit = text.partition(" ")
    return f"{number.rstrip('0').rstrip('.') if '.' in number else number}{space}{unit}"
