"""What an audit found, in lines and in JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnfpn_cli.report.terminal.tables import Report, note
from mnfpn_cli.report.units import count, counted, inputs_title

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnfpn_cli.audit.levels import ObservedLevels
    from mnfpn_cli.documents.audit import Audit, Finding
    from mnfpn_cli.external.origin import Workload

MOST_PATHS = 6
"""Paths of a finding that are shown; JSON has them all."""


INDENT = 2


def audit_title(workload: Workload) -> Report:
    """What was audited, and on which inputs."""
    return [note(f"{workload.origin.name}: {inputs_title(workload.specs)}", "bold")]


def audit_report(audit: Audit, pyramids: Sequence[ObservedLevels]) -> Report:
    """One line where all is well; else each finding with what is wrong and the remedy."""
    if not audit.findings:
        report: Report = [note(clean_line(audit), "green")]
        return [*report, *_levels(pyramids), *_notes(audit.notes)]
    found = len(audit.findings)
    report = [note(f"Audit: {counted(found, 'finding')}. {_called(audit)}.", "bold red")]
    for finding in audit.findings:
        report += finding_lines(finding)
    return [*report, *_notes(audit.notes)]


def clean_line(audit: Audit) -> str:
    """What is true of a network that nothing is wrong with."""
    counts = f"{count(audit.parameters.parameters)} parameters in the tree, in parameters() and in the state dict"
    return f"{_called(audit)}, none shared, none unused: {counts}."


def _called(audit: Audit) -> str:
    idle = f" ({audit.idle} without parameters idle)" if audit.idle else ""
    return f"{counted(audit.called, 'module')} called, {audit.registered} registered{idle}"


def finding_lines(finding: Finding) -> Report:
    """A finding on three lines: where, what, and what to do."""
    parameters = f": {count(finding.parameters)} parameters" if finding.parameters else ""
    kind = finding.kind.replace("_", " ")
    return [
        note(f"{kind}: {_paths(finding.paths)}{parameters}", "bold"),
        note(finding.message, indent=INDENT),
        note(f"Remedy: {finding.remedy}", "cyan", INDENT),
    ]


def _paths(paths: Sequence[str]) -> str:
    shown = ", ".join(path or "the whole network" for path in paths[:MOST_PATHS])
    return shown if len(paths) <= MOST_PATHS else f"{shown} and {len(paths) - MOST_PATHS} more"


def _levels(pyramids: Sequence[ObservedLevels]) -> Report:
    lines: Report = []
    for one in pyramids:
        strides = [level.stride for level in one.levels if level.stride]
        if len(set(strides)) > 1:
            shown = ", ".join(f"{level.name} {level.stride}" for level in one.levels if level.stride)
            lines.append(note(f"{len(one.levels)} levels, one of each stride, finest first: {shown}.", "green"))
    return lines


def _notes(notes: Sequence[str]) -> Report:
    return [note(text, "dim") for text in notes]
