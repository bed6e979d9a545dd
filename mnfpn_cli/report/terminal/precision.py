"""What a precision brings and costs, as a table: the outputs beside float32's, what ran in the dtype, and verdicts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnfpn_cli.report.terminal.tables import Report, note, phrases, table
from mnfpn_cli.report.units import count, share, size_in_bytes
from mnfpn_cli.text import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mnfpn_cli.documents.bench import RunRecord
    from mnfpn_cli.documents.quality import OutputQuality, QualityRecord

FALLBACKS_NAMED = 4
"""The most layers that a note names of those that a runtime left in another dtype."""


def precision_report(runs: Sequence[RunRecord], name: Callable[[RunRecord], str]) -> Report:
    """A row for each run in another dtype than float32, notes on what the figures are of, and the verdicts."""
    judged = [run for run in runs if run.verdict or run.quality or run.graph]
    if not judged:
        return []
    columns: dict[str, Callable[[RunRecord], str]] = {
        ">Worst": lambda run: worst_decibels(worst(run.quality)) if run.quality else "",
        ">Cosine": lambda run: cosine(worst(run.quality)) if run.quality else "",
    }
    if any(run.quality and run.quality.first_choices is not None for run in judged):
        columns[">Same class"] = lambda run: share_of(run.quality.first_choices if run.quality else None)
    if any(run.quality and run.quality.boxes is not None for run in judged):
        columns[">Same boxes"] = lambda run: share_of(run.quality.boxes if run.quality else None)
    columns[">MACs in it"] = lambda run: share_of(run.graph.share if run.graph else None)
    columns[">Conversions"] = lambda run: count(run.graph.conversions) if run.graph else ""
    if any(run.file_bytes is not None for run in judged):
        columns[">File"] = lambda run: "" if run.file_bytes is None else size_in_bytes(run.file_bytes)
    made = table("What the dtype brings and costs", "Runtime", *columns)
    for run in judged:
        made.add_row(phrases(name(run)), *(cell(run) for cell in columns.values()))
    return [
        made,
        *(note(line, "dim") for line in _notes(judged, name)),
        *_verdicts(judged, name),
    ]


def _verdicts(runs: Sequence[RunRecord], name: Callable[[RunRecord], str]) -> Report:
    made = table("Verdicts", "Runtime", "Verdict")
    for run in runs:
        if run.verdict:
            made.add_row(phrases(name(run)), note(run.verdict))
    return [made]


def share_of(value: float | None) -> str:
    """A share in per cent; empty where it is not known."""
    return "" if value is None else share(value)


def worst(quality: QualityRecord) -> OutputQuality | None:
    """The output with the least signal over noise; None where all are equal to float32's."""
    outputs = [one for one in quality.outputs if one.snr_db is not None]
    return min(outputs, key=lambda one: one.snr_db or 0.0, default=None)


def worst_decibels(output: OutputQuality | None) -> str:
    """The signal over the noise of an output, with its name: ``21.3 dB p3``."""
    return "equal" if output is None or output.snr_db is None else f"{output.snr_db:.1f} dB {output.name}"


def cosine(output: OutputQuality | None) -> str:
    """The cosine of an output, with the digits that tell it from 1."""
    return "1" if output is None else f"{output.cosine:.4f}"


def _notes(runs: Sequence[RunRecord], name: Callable[[RunRecord], str]) -> list[str]:
    """What the outputs were judged by, and what ran in another dtype."""
    quality = next((run.quality for run in runs if run.quality), None)
    lines = []
    if quality:
        of = f"{counted(quality.images, 'image')} ({quality.source})"
        lines.append(f"Worst: the output with the least signal to noise beside eager float32, on {of}.")
    if any(run.graph and run.graph.conversions for run in runs):
        lines.append("Conversions: operators that only turn one dtype into another; inputs and outputs take some.")
    for run in runs:
        if run.graph and run.graph.fallbacks:
            names = [f"{one.name} ({one.dtype})" for one in run.graph.fallbacks]
            more = f" and {len(names) - FALLBACKS_NAMED} more" if len(names) > FALLBACKS_NAMED else ""
            lines.append(f"Fell back ({name(run)}): {', '.join(names[:FALLBACKS_NAMED])}{more}.")
    return lines
