"""The result of a comparison in the forms of pipelines: workflow commands of GitHub, and Markdown for its pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnfpn_cli.report.checks import workflow_command
from mnfpn_cli.report.markdown import as_markdown
from mnfpn_cli.report.terminal.compare import basis, sentence, sides_and_times, verdicts
from mnfpn_cli.report.terminal.tables import note, warning_text
from mnfpn_cli.text import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Literal

    from mnfpn_cli.documents.compare import CompareDocument, Verdict


TITLES: dict[Verdict, str] = {
    "a_faster": "A is faster",
    "b_faster": "B is faster",
    "same": "the same",
    "inconclusive": "inconclusive",
}
"""The verdicts as titles."""


def compare_commands(document: CompareDocument, spell: Callable[[str], str]) -> str:
    """Return a command for each broken gate, undecided gate, warning and verdict, which GitHub shows at a run.

    ``spell`` spells the parameters that a text names in backquotes.
    """
    return "".join(
        workflow_command(level, {"title": f"mnfpn compare: {title}"}, spell(text)) + "\n"
        for level, title, text in _annotations(document)
    )


def _annotations(document: CompareDocument) -> Iterator[tuple[Literal["error", "warning", "notice"], str, str]]:
    for line in (document.failure or "").splitlines():
        yield "error", "a side failed", line
    for gate in document.gates.broken:
        yield "error", "a gate is broken", gate
    for gate in document.gates.undecided:
        yield "warning", "a gate is undecided", gate
    for one in document.warnings:
        yield "warning" if one.helps else "notice", one.kind.replace("_", " "), warning_text(one)
    for run in document.runs:
        several = f"{run.name}: " * (len(document.runs) > 1)
        yield "notice", TITLES[run.verdict], f"{several}{sentence(run, document.margin)}"


def compare_markdown(document: CompareDocument, spell: Callable[[str], str]) -> str:
    """Return the comparison as Markdown: gates and verdicts first, the tables, and below a fold what they rest on.

    ``spell`` spells the parameters that a text names in backquotes.
    """
    lines = [f"❌ {line}" for line in (*(document.failure or "").splitlines(), *document.gates.broken)]
    lines += [f"⚠️ undecided: {gate}" for gate in document.gates.undecided]
    folded = "Method and machine"
    if document.warnings:
        folded += f", {counted(len(document.warnings), 'warning')}"
    parts = [
        "### mnfpn compare\n",
        as_markdown([*(note(line, "bold") for line in lines), *verdicts(document), *sides_and_times(document)], spell),
        f"<details><summary>{folded}</summary>\n",
        as_markdown(basis(document), spell),
        "</details>\n",
    ]
    return "\n".join(parts)
