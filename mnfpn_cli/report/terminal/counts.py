"""`mnfpn summary --counts`: what there is to compute, and what counters print for it, as tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnfpn_cli.report.terminal.tables import Report, note, table
from mnfpn_cli.report.units import count

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from mnfpn_cli.documents.counts import CountsRecord, ToolRecord, WorkRecord

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
    """What there is, what tools print, and how to place a number that somebody else printed."""
    return [_work_table(counts.work), _totals_table(counts.tools), *_notes(counts.tools), note(PLACING, "dim")]


def _work_table(work: WorkRecord) -> Table:
    """Kinds that the network has."""
    made = table("What there is to compute", "Kind", ">Count", "Unit")
    for key, (name, unit) in KINDS.items():
        if number := getattr(work, key):
            made.add_row(name, count(number), unit)
    return made


def _totals_table(totals: Sequence[ToolRecord]) -> Table:
    made = table("What counters print for it", "Tool", ">Total", "It says", "It is")
    for one in totals:
        made.add_row(one.tool, _total(one), one.unit, one.meaning)
    return made


def _total(one: ToolRecord) -> str:
    if one.total is None:
        return "none"
    return count(one.total) if one.exact else f"≈ {count(one.total)}"


def _notes(totals: Sequence[ToolRecord]) -> Report:
    """Why a tool prints nothing, or may print something else."""
    return [note(f"{one.tool}: {one.note}.", "yellow") for one in totals if one.note]
