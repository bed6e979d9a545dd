"""`mnfpn compare` as tables."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING

from mnfpn_cli.external.origin import describe_inputs
from mnfpn_cli.report.terminal.bench import ENDED, environment_table
from mnfpn_cli.report.terminal.tables import Report, note, phrases, table, warning
from mnfpn_cli.report.units import count, scaled, seconds, seconds_range, size_in_bytes, tiny
from mnfpn_cli.text import percent

if TYPE_CHECKING:
    from mnfpn_cli.bench.verdicts import ComparedSide, Comparison, Pair
    from mnfpn_cli.documents.compare import Verdict
    from mnfpn_cli.documents.records import EnvironmentRecord
    from mnfpn_cli.report.terminal.tables import Table

STYLES: dict[Verdict, str] = {
    "a_faster": "bold green",
    "b_faster": "bold green",
    "same": "bold",
    "inconclusive": "bold yellow",
}


def compare_tables(result: Comparison, environment: EnvironmentRecord | None = None) -> Report:
    """What each side is and costs, the times side by side, and the verdict in a sentence."""
    report: Report = [_sides_table(result), _times_table(result)]
    for pair in result.pairs:
        where = f"{pair.name}: " if len(result.pairs) > 1 else ""
        report.append(note(f"{where}{sentence(pair, result.margin)}", STYLES[pair.verdict]))
    report += [note(f"Method: {method}.", "dim") for method in _methods(result)]
    ended = {pair.ended for pair in result.pairs if pair.ended}
    report += [note(f"Ended by: {', '.join(ENDED[one] for one in ended)}.", "dim")] if ended else []
    for one in result.warnings:
        report.append(warning(f"{one.cause}." + (f" What helps: {one.helps}." if one.helps else "")))
    report += [environment_table(environment)] if environment else []
    if "interrupted" in ended:
        report.append(note("Interrupted: the measurement is incomplete.", "bold yellow"))
    report += [note(f"Failed: {line}", "bold red") for line in (result.failure or "").splitlines()]
    return report


def _methods(result: Comparison) -> list[str]:
    return list(dict.fromkeys(pair.ratio.method for pair in result.pairs if pair.ratio))


def sentence(pair: Pair, margin: float) -> str:
    """The verdict on one run in words."""
    if pair.ratio is None or pair.ratio.interval is None:
        return "Inconclusive: too few passes for an interval."
    low, high = pair.ratio.interval
    figures = f"B takes {pair.ratio.value:.4f} × A's time, 95 % interval {low:.4f} to {high:.4f}"
    words = {
        "a_faster": "A is faster",
        "b_faster": "B is faster",
        "same": f"The same within {percent(margin, 'g')}",
        "inconclusive": f"Inconclusive at a margin of {percent(margin, 'g')}",
    }
    return f"{words[pair.verdict]}: {figures}."


def _sides_table(result: Comparison) -> Table:
    from mnfpn_cli.bench.verdicts import FIGURES

    made = table("Compared", "", "A", "B", ">B / A")
    a, b = result.a, result.b
    made.add_row("", note(a.name), note(b.name), "")  # options and names of files, never read as markup
    if len(result.pairs) == 1:  # of several runs, each has these in its name
        made.add_row("runtime", *(f"{side.runtime}, {side.dtype}" for side in (a, b)), "")
        made.add_row("on", *(_place(side) for side in (a, b)), "")
    made.add_row("input", *(describe_inputs(side.input) for side in (a, b)), "")
    for figure, words in FIGURES.items():
        show = size_in_bytes if figure.endswith("bytes") else (count if figure == "parameters" else scaled)
        growth = result.growth(figure)
        keys = [show(side.figures[figure]) if figure in side.figures else "" for side in (a, b)]
        made.add_row(words, *keys, "" if growth is None else f"{growth:.4f}")
    if len(result.pairs) == 1 and (a.difference, b.difference) != (None, None):
        made.add_row("difference", *(_difference(side) for side in (a, b)), "")
    return made


def _place(side: ComparedSide) -> str:
    threads = f", {side.threads} {'thread' if side.threads == 1 else 'threads'}" if side.device == "cpu" else ""
    return f"{side.device}{threads}"


def _difference(side: ComparedSide) -> str:
    if side.difference is None:
        return ""
    return f"{tiny(side.difference)} from eager float32" if isfinite(side.difference) else "not comparable"


def _times_table(result: Comparison) -> Table:
    several = len(result.pairs) > 1
    title = "Time of a training step" if result.a.train else "Time of a pass"
    made = table(title, *(["Run"] if several else []), "", ">Median", ">95 % interval", ">Min", ">Passes")
    for pair in result.pairs:
        for name, latency in (("A", pair.a), ("B", pair.b)):
            interval = seconds_range(*latency.interval) if latency.interval else ""
            keys = [name, seconds(latency.median), interval, seconds(latency.min), count(len(latency.samples))]
            made.add_row(*([phrases(pair.name if name == "A" else "")] if several else []), *keys)
    return made
