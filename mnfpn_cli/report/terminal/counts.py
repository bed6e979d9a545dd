"""`mnfpn summary --counts`: what there is to compute, and what counters print for it, as tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnfpn_cli.report.terminal.tables import Report, note, table
from mnfpn_cli.report.units import count

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnfpn_cli.documents.summary import CounterTotal, CountsRecord, WorkRecord
    from mnfpn_cli.report.terminal.tables import Table

KINDS = {
    "convolution_macs": ("convolutions", "MACs"),
    "dense_macs": ("dense layers, attention and other products", "MACs"),
    "bias_adds": ("bias additions", "elements"),
    "batch_norm": ("batch norm", "elements"),
    "other_norms": ("other norms", "elements"),
    "activations": ("activations", "elements"),
    "resized": ("upsampling and resizing", "elements of the output"),
    "additions": ("additions and subtractions", "elements"),
    "multiplications": ("multiplications and divisions", "elements"),
    "pooled": ("pooling", "elements that are read"),
}
"""The name and the unit of each kind of work."""

PLACING = (
    "To place a number from elsewhere: find it on the right scale. FLOPs are 2 × MACs; what a tool calls flops may be "
    "MACs; all are for the whole input above. A number that is none of these may be of another size or batch."
)


def counts_tables(counts: CountsRecord) -> Report:
    """What there is, what counters print, and how to place a number that somebody else printed."""
    return [_work_table(counts.work), _totals_table(counts.tools), *_notes(counts.tools), note(PLACING, "dim")]


def _work_table(work: WorkRecord) -> Table:
    """Kinds that the network has."""
    made = table("What there is to compute", "Kind", ">Count", "Unit")
    for key, (name, unit) in KINDS.items():
        if number := getattr(work, key):
            made.add_row(name, count(number), unit)
    return made


def _totals_table(totals: Sequence[CounterTotal]) -> Table:
    made = table("What counters print for it", "Tool", ">Total", "It says", "It is")
    for one in totals:
        if one.total is None:
            made.add_row(one.tool, "none", one.unit, "not run" if one.version is None else "failed")
        else:
            made.add_row(one.tool, count(one.total), one.unit, one.meaning)
    return made


def _notes(totals: Sequence[CounterTotal]) -> Report:
    """Why counters print nothing, or may print something else; those that share a reason share a line."""
    by_text: dict[str, list[str]] = {}
    for one in totals:
        if one.note:
            by_text.setdefault(one.note, []).append(one.tool)
    return [note(f"{', '.join(tools)}: {text}.", "yellow") for text, tools in by_text.items()]
