"""`mnfpn compare` as tables, and its verdict in a sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnfpn_cli.external.origin import describe_inputs, recorded_inputs
from mnfpn_cli.report.terminal.bench import ENDED, difference, environment_table
from mnfpn_cli.report.terminal.tables import Report, note, phrases, recorded_warning, table
from mnfpn_cli.report.units import count, scaled, seconds, seconds_range, size_in_bytes
from mnfpn_cli.text import counted, percent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mnfpn_cli.documents.compare import CompareDocument, SideEnvironment, SideRecord, Verdict, VerdictRecord
    from mnfpn_cli.report.terminal.tables import Line, Table

STYLES: dict[Verdict, str] = {
    "a_faster": "bold green",
    "b_faster": "bold green",
    "same": "bold",
    "inconclusive": "bold yellow",
}


def compare_tables(document: CompareDocument) -> Report:
    """The sides with their costs, the times side by side, and the verdict on each run in a sentence."""
    return [*sides_and_times(document), *verdicts(document), *basis(document)]


def sides_and_times(document: CompareDocument) -> Report:
    """The sides with their costs, and the times side by side."""
    return [_sides_table(document), _times_table(document)]


def verdicts(document: CompareDocument) -> list[Line]:
    """The verdict on each run in a sentence."""
    several = len(document.runs) > 1
    return [
        note(f"{f'{run.name}: ' * several}{sentence(run, document.margin)}", STYLES[run.verdict])
        for run in document.runs
    ]


def basis(document: CompareDocument) -> Report:
    """What the verdicts rest on: the method, what ended the measurement, warnings, the machine."""
    report: Report = []
    methods = dict.fromkeys(run.method for run in document.runs if run.method)
    report += [note(f"Method: {method}.", "dim") for method in methods]
    ended = list(dict.fromkeys(run.ended_by for run in document.runs if run.ended_by))
    report += [note(f"Ended by: {', '.join(ENDED[end] for end in ended)}.", "dim")] if ended else []
    for one in document.warnings:
        report.append(recorded_warning(one))
    report += [environment_table(document.environment)] if document.environment else []
    if "interrupted" in ended:
        report.append(note("Interrupted: the measurement is incomplete.", "bold yellow"))
    report += [note(f"Failed: {line}", "bold red") for line in (document.failure or "").splitlines()]
    return report


def sentence(run: VerdictRecord, margin: float) -> str:
    """The verdict on a run in words; ``margin``: the share up to which a difference is ignored."""
    if run.ratio is None or run.ratio_ci95 is None:
        return "Inconclusive: too few passes for an interval."
    low, high = run.ratio_ci95
    figures = f"B takes {run.ratio:.4f} × A's time, 95 % interval {low:.4f} to {high:.4f}"
    words = {
        "a_faster": "A is faster",
        "b_faster": "B is faster",
        "same": f"The same within {percent(margin, 'g')}",
        "inconclusive": f"Inconclusive at a margin of {percent(margin, 'g')}",
    }
    return f"{words[run.verdict]}: {figures}."


def _sides_table(document: CompareDocument) -> Table:
    made = table("Compared", "", "A", "B", ">B / A")
    a, b = document.a, document.b
    single = len(document.runs) == 1  # the name of each of several runs has its runtime and device
    made.add_row("", note(a.name), note(b.name), "")
    for row in _environment_rows(a.environment, b.environment):
        made.add_row(row[0], *map(phrases, row[1:]), "")
    if single:
        made.add_row("runtime", f"{a.runtime}, {a.dtype}", f"{b.runtime}, {b.dtype}", "")
        made.add_row("on", _device(a), _device(b), "")
    made.add_row("input", describe_inputs(recorded_inputs(a.input)), describe_inputs(recorded_inputs(b.input)), "")
    figures = (
        ("parameters", count, a.parameters, b.parameters),
        ("MACs", scaled, a.macs, b.macs),
        ("model size", size_in_bytes, a.model_bytes, b.model_bytes),
        ("activations", size_in_bytes, a.activation_bytes, b.activation_bytes),
    )
    for name, words, of_a, of_b in figures:
        made.add_row(name, words(of_a), words(of_b), f"{of_b / of_a:.4f}" if of_a else "")
    if single and (a.comparable, b.comparable) != (None, None):
        made.add_row("difference", _difference(a), _difference(b), "")
    return made


def _environment_rows(a: SideEnvironment | None, b: SideEnvironment | None) -> Iterator[tuple[str, str, str]]:
    """Yield a name, and A's and B's value, for each difference in what they run in, and for variables of both."""
    if a is None or b is None:
        return
    for name, of_a, of_b in (
        ("commit", _commit(a), _commit(b)),
        ("Python", a.python_version, b.python_version),
        ("interpreter", a.python, b.python),
        ("torch", a.torch or "none", b.torch or "none"),
        ("mnfpn", a.mnfpn, b.mnfpn),
        ("variables", _variables(a), _variables(b)),
    ):
        if of_a != of_b or (name == "variables" and a.variables):
            yield name, of_a, of_b


def _commit(side: SideEnvironment) -> str:
    commit = side.commit
    if commit is None:
        return "files as they are"
    short = commit.hash[:7]
    return (
        f"{short}, {commit.subject}"
        if commit.hash.startswith(commit.ref)
        else f"{commit.ref} {short}, {commit.subject}"
    )


def _variables(side: SideEnvironment) -> str:
    return ", ".join(f"{name}={value}" for name, value in side.variables.items()) or "none added"


def _device(side: SideRecord) -> str:
    return f"{side.device}, {counted(side.threads, 'thread')}" if side.device == "cpu" else side.device


def _difference(side: SideRecord) -> str:
    words = difference(side.comparable, side.max_difference)
    return f"{words} from eager float32" if side.comparable else words


def _times_table(document: CompareDocument) -> Table:
    several = len(document.runs) > 1
    title = "Time of a training step" if document.a.train else "Time of a pass"
    made = table(title, *(["Run"] if several else []), "", ">Median", ">95 % interval", ">Min", ">Passes")
    for run in document.runs:
        for side, latency in (("A", run.a.latency_s), ("B", run.b.latency_s)):
            interval = seconds_range(*latency.ci95) if latency.ci95 else ""
            cells = [side, seconds(latency.median), interval, seconds(latency.min), count(len(latency.samples))]
            made.add_row(*([phrases(run.name if side == "A" else "")] if several else []), *cells)
    return made
