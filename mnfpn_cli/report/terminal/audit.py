"""`mnfpn audit` in lines: the findings, or that there are none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnfpn_cli.external.origin import FromSettings
from mnfpn_cli.report.terminal.export import weights_report
from mnfpn_cli.report.terminal.tables import Report, note
from mnfpn_cli.report.units import count, inputs_title
from mnfpn_cli.text import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnfpn_cli.documents.audit import Audit, AuditDocument, Finding, ObservedLevel

MOST_PATHS = 6
"""The most paths of a finding on a line; JSON has them all."""

INDENT = 2
"""Columns before the second and third line of a finding."""


def audit_tables(document: AuditDocument) -> Report:
    """The network and its inputs, how its checkpoint fits, and what the audit found."""
    name = document.model.target if document.model else FromSettings.name
    passes = [inputs_title(inputs) for inputs in (document.inputs, *document.other_passes)]
    return [
        note(f"{name}: {'; '.join(passes)}", "bold"),
        *weights_report(document.weights),
        *audit_report(document, document.levels or ()),
    ]


def audit_report(audit: Audit, levels: Sequence[ObservedLevel]) -> Report:
    """Each finding with its remedy; without findings, one line and the strides of the levels."""
    notes = [note(text, "dim") for text in audit.notes]
    if audit.allowed:
        notes.insert(0, note(allowed_line(audit.allowed), "yellow"))
    if not audit.findings:
        return [note(clean_line(audit), "green"), *_stride_lines(levels), *notes]
    report: Report = [note(f"Audit: {counted(len(audit.findings), 'finding')}. {_called(audit)}.", "bold red")]
    for finding in audit.findings:
        report += finding_lines(finding)
    return [*report, *notes]


def clean_line(audit: Audit) -> str:
    """Say of a network without findings how many modules and parameters were checked."""
    if audit.allowed:
        return f"{_called(audit)}; no finding that is not allowed."
    counts = f"{count(audit.parameters.parameters)} parameters in the tree, in parameters() and in the state dict"
    return f"{_called(audit)}, none shared, none unused: {counts}."


def allowed_line(allowed: Sequence[Finding]) -> str:
    """Say on one line which findings were allowed."""
    each = [f"{kind_name(one)} {finding_paths(one)}" for one in allowed]
    return f"Allowed: {counted(len(allowed), 'finding')}: {'; '.join(each)}."


def _called(audit: Audit) -> str:
    idle = f" ({audit.idle} without parameters idle)" if audit.idle else ""
    return f"{counted(audit.called, 'module')} called, {audit.registered} registered{idle}"


def finding_lines(finding: Finding) -> Report:
    """A finding on three lines: its kind and place, the message, and the remedy."""
    parameters = f": {counted(finding.parameters, 'parameter')}" if finding.parameters else ""
    return [
        note(f"{kind_name(finding)}: {finding_paths(finding)}{parameters}", "bold"),
        note(finding.message, indent=INDENT),
        note(f"Remedy: {finding.remedy}", "cyan", INDENT),
    ]


def kind_name(finding: Finding) -> str:
    """Return the kind of a finding in words: ``never called``."""
    return finding.kind.replace("_", " ")


def finding_paths(finding: Finding) -> str:
    """Return the first paths of a finding, and how many more there are."""
    first = ", ".join(path or "the whole network" for path in finding.paths[:MOST_PATHS])
    more = len(finding.paths) - MOST_PATHS
    return f"{first} and {more} more" if more > 0 else first


def _stride_lines(levels: Sequence[ObservedLevel]) -> Report:
    """A line for each pyramid whose levels differ in stride; levels of one container are one pyramid."""
    pyramids: dict[str, list[ObservedLevel]] = {}
    for level in levels:
        pyramids.setdefault(level.name.rpartition(".")[0], []).append(level)
    lines: Report = []
    for pyramid in pyramids.values():
        strides = [f"{level.name} {level.stride}" for level in pyramid if level.stride]
        if len({level.stride for level in pyramid if level.stride}) > 1:
            text = f"{len(pyramid)} levels, one of each stride, finest first: {', '.join(strides)}."
            lines.append(note(text, "green"))
    return lines
