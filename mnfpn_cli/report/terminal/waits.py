"""What the parts of a network wait for, as a table, and what helps against the most of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnfpn_cli.report.terminal.profile import LEAST_SHARE_OF_ROW
from mnfpn_cli.report.terminal.tables import Line, Report, note, table
from mnfpn_cli.report.units import per_cent
from mnfpn_cli.settings.measuring import DEFAULT_ALLOCATOR
from mnfpn_cli.text import percent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnfpn_cli.documents.bench import PartWaits

LEAST_SHARE_NAMED = 0.05
"""The share of the time from which a sentence names what a pass waits for beyond the floor."""

COLUMNS = {
    "Compute": "compute_s",
    "Memory": "memory_s",
    "Faults": "page_faults_s",
    "Calls": "calls_s",
    "Threads": "threads_s",
    "Again": "repeated_s",
    "Vectors": "unfilled_s",
    "Other": "other_s",
}
"""The columns, by the names of their keys; the first two are the floor."""

NAMES = {
    "page_faults_s": "page faults",
    "calls_s": "calls",
    "threads_s": "what several threads lose",
    "repeated_s": "maps that norms, activations and paddings read and write again",
    "unfilled_s": "vectors that channels do not fill",
    "other_s": "what kernels lose",
}

HELPS = {
    "page_faults_s": "`allocator` keep",
    "calls_s": "a larger `batch`, or a runtime that joins more layers",
    "threads_s": "a larger `batch`, or several processes with `threads` 1",
    "repeated_s": "`runtime` fused, which joins them with the convolutions",
    "unfilled_s": "numbers of channels that are multiples of 8 or 16, which a vector holds",
}
"""What helps against each; against other losses another runtime may."""

MEANINGS = (
    "Of each part's time, less what timing it took, in %. Compute, Memory: its floor. Faults: page faults. Calls: the "
    "time with the smallest images. Threads: what they take longer than one thread's time over their number. Again: "
    "maps that separate norms, activations and paddings read and write once more. Vectors: those that channels do not "
    "fill. Other: what is left."
)


def waits_tables(title: str, waits: Sequence[PartWaits], allocator: str = DEFAULT_ALLOCATOR) -> Report:
    """A row for each part with the shares of its time, the largest marked; nothing where nothing was measured."""
    if not waits:
        return []
    columns = {name: key for name, key in COLUMNS.items() if any(getattr(one, key) is not None for one in waits)}
    total = {key: sum(getattr(one, key) or 0.0 for one in waits) for key in columns.values()}
    whole = sum(one.seconds for one in waits)
    made = table(title, "Part", *(f">{name}" for name in columns))
    for one in waits:
        if one.seconds >= LEAST_SHARE_OF_ROW * whole:
            made.add_row(one.part, *_cells({key: getattr(one, key) or 0.0 for key in total}, one.seconds))
    made.add_section()
    made.add_row("total", *_cells(total, whole))
    return [made, note(MEANINGS, "dim"), *_sentence(waits, total, whole, allocator)]


def _cells(shares: dict[str, float], whole: float) -> list[Line]:
    """Return the shares in per cent; the largest is bold."""
    most = max(shares, key=lambda key: shares[key])
    return [Line(per_cent(share, whole) or "0.0", "bold" if key == most else "") for key, share in shares.items()]


def _sentence(waits: Sequence[PartWaits], total: dict[str, float], whole: float, allocator: str) -> Report:
    """Name what takes most time beyond the floor, where most of that is, and what helps."""
    beyond = {key: seconds for key, seconds in total.items() if key in NAMES}
    key = max(beyond, key=lambda key: beyond[key])
    if not whole or beyond[key] < LEAST_SHARE_NAMED * whole:
        return []
    part = max(waits, key=lambda one: getattr(one, key) or 0.0)
    text = f"Beyond the floor, most time goes to {NAMES[key]}: {percent(beyond[key] / whole, '.0f')} of a pass"
    where = f", {percent((getattr(part, key) or 0.0) / beyond[key], '.0f')} of that in {part.part}."
    helps = HELPS.get(key)
    if allocator != DEFAULT_ALLOCATOR:
        helps = None if key == "page_faults_s" else helps
    elif key == "threads_s" and total.get("page_faults_s"):  # giving memory back interrupts the other threads
        helps = f"{HELPS['page_faults_s']}; else {helps}"
    return [note(text + where + (f" What helps: {helps}." if helps else ""))]
