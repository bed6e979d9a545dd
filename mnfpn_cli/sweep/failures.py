"""What a sweep was asked for and could not do."""

from collections import Counter
from collections.abc import Sequence

from mnfpn_cli.store.rows import StoredCell
from mnfpn_cli.sweep.state import NotRun

MOST = 10
"""Reasons that are told; the store has all."""


def failures(cells: Sequence[StoredCell], not_run: Sequence[NotRun]) -> list[str]:
    """How many cells failed, or could not be run though their runtime was named, and why: a line a reason.

    The most common reasons come first.
    """
    reasons = Counter[tuple[str, str]]()
    for one in cells:
        reason = one.result.reason if one.result else None
        if one.status == "failed":
            reasons["failed", reason or "for no reason that is known"] += 1
        elif one.status == "done" and reason:
            reasons["measured without all that was asked for", reason] += 1
    for left_out in not_run:
        reasons["not run", f"{way(left_out)}: {left_out.reason}"] += 1
    lines = [
        f"{number} {'cell' if number == 1 else 'cells'} {what}: {'; '.join(reason.splitlines())}"
        for (what, reason), number in reasons.most_common(MOST)
    ]
    return [*lines, *([f"and cells for {len(reasons) - MOST} more reasons"] if len(reasons) > MOST else [])]


def way(one: NotRun) -> str:
    """The runtime and the device that a cell is for, in words."""
    how = one.cell.cell.execution
    return f"{how.runtime} on {how.device}, {how.dtype}"
