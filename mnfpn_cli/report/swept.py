"""What a sweep measured, as tables and as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mnfpn_cli.report.fitting import phrases
from mnfpn_cli.report.sweep import reasons_report
from mnfpn_cli.report.tables import Report, note, pairs, table
from mnfpn_cli.report.units import count, per_cent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnfpn_cli.store.rows import Reference, StoredCell, Sweep
    from mnfpn_cli.sweep.drift import Moved

SHOWN = 10


@dataclass(frozen=True, slots=True)
class Swept:
    """What one call of `mnfpn sweep` is through with: which sweeps, with all their cells, of which ``--store``."""

    store: str
    sweeps: tuple[Sweep, ...]
    cells: tuple[StoredCell, ...]
    references: tuple[Reference, ...]
    notes: tuple[str, ...]
    skipped: int = 0

    @property
    def counts(self) -> dict[str, int]:
        """The cells by status."""
        return {status: sum(one.status == status for one in self.cells) for status in ("done", "failed", "pending")}

    @property
    def warnings(self) -> list[str]:
        """What makes the figures less sure than they look."""
        return [*self.notes, *drift_lines(self.references)]


def swept_report(swept: Swept) -> Report:
    """How many cells were measured, what was left out or failed, whether the machine stayed the same, what next."""
    rows = [(status, count(number)) for status, number in swept.counts.items() if number or status == "done"]
    left_out = [part for sweep in swept.sweeps for part in _left_out(sweep)]
    left_out += [("too slow", f"{count(swept.skipped)} by --max-latency, and not measured")] if swept.skipped else []
    times = len(swept.references)
    timed = f"timed {count(times)} {'time' if times == 1 else 'times'}" if times else "not timed"
    store = swept.store
    return [
        pairs(f"Sweep, in {store}", [*rows, *left_out, ("reference cell", timed)]),
        *(table_ for sweep in swept.sweeps for table_ in reasons_report(sweep.plan.get("invalid", {}))),
        *_failures(swept.cells),
        *(note(f"Warning: {line}", "yellow") for line in swept.warnings),
        note(f"The frontier: mnfpn report --store {store}. Which to take: mnfpn recommend --store {store}.", "dim"),
    ]


def _left_out(sweep: Sweep) -> list[tuple[str, str]]:
    """What was not to be measured, and why."""
    plan = sweep.plan
    rows = [("over budget", f"{count(number)} by {option}") for option, number in plan.get("cut", {}).items()]
    not_chosen = plan["space"]["cells"] - sum(sweep.counts.values()) if "space" in plan else 0
    return [*rows, *([("not chosen", f"{count(not_chosen)} (--measure {plan['measure']})")] if not_chosen > 0 else [])]


def drift_lines(references: Sequence[Reference]) -> list[str]:
    """What the reference cell says of the machine: where it moved, and by how much."""
    from mnfpn_cli.sweep.drift import moves

    return moved_lines(moves(references))


def moved_lines(found: Sequence[Moved]) -> list[str]:
    """The same where it is known when the reference cell moved."""
    if not found:
        return []
    worst = max(found, key=lambda one: abs(one.pace - 1))
    slower = "slower" if worst.pace > 1 else "faster"
    how = f"{per_cent(abs(worst.pace - 1), 1)} % {slower} than at first at {worst.finished} on {worst.node}"
    return [
        f"the reference cell moved: at worst it was {how}. The page of mnfpn report, and mnfpn runs export, have times "
        "corrected for it; an idle machine needs none."
    ]


def _failures(cells: Sequence[StoredCell]) -> Report:
    failed = [one for one in cells if one.status == "failed" and one.result]
    if not failed:
        return []
    made = table("Failed", "Cell", "Why")
    for one in failed[:SHOWN]:
        made.add_row(phrases(str(one.cell)), note(one.result.reason or "" if one.result else ""))
    more = len(failed) - SHOWN
    return [made, *([note(f"{count(more)} more: mnfpn runs list --status failed", "dim")] if more > 0 else [])]


def swept_document(swept: Swept) -> dict[str, Any]:
    """The same under the keys that scripts rely on; the rows themselves are what `mnfpn runs export` gives."""
    return {
        "store": swept.store,
        "sweeps": [{**one.plan, "id": one.id, "started": one.started} for one in swept.sweeps],
        "counts": swept.counts,
        "skipped": swept.skipped,
        "references": len(swept.references),
        "keys": [one.key for one in swept.cells],
        "warnings": swept.warnings,
    }
