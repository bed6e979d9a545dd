"""What a sweep measured, as tables and as JSON."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mnfpn_cli.percent import percent
from mnfpn_cli.report.fitting import phrases
from mnfpn_cli.report.sweep import reasons_report
from mnfpn_cli.report.tables import Report, note, pairs, table, warning
from mnfpn_cli.report.units import count, counted, times
from mnfpn_cli.space.names import namer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnfpn_cli.store.rows import Reference, StoredCell, Sweep
    from mnfpn_cli.sweep.drift import Moved
    from mnfpn_cli.sweep.reused import Reused
    from mnfpn_cli.sweep.state import NotRun

SHOWN = 10

MUCH = 2
"""Times from which on per cent are no help."""


@dataclass(frozen=True, slots=True)
class Swept:
    """What one call of `mnfpn sweep` is through with: which sweeps, with all their cells, of which ``--store``."""

    store: str
    sweeps: tuple[Sweep, ...]
    cells: tuple[StoredCell, ...]
    references: tuple[Reference, ...]
    notes: tuple[str, ...]
    skipped: int = 0
    not_run: tuple[NotRun, ...] = ()
    reused: tuple[Reused, ...] = ()

    @property
    def counts(self) -> dict[str, int]:
        """The cells by status."""
        return {status: sum(one.status == status for one in self.cells) for status in ("done", "failed", "pending")}

    @property
    def doubts(self) -> list[str]:
        """What makes the figures less sure than they look, once all are there."""
        return [*reused_lines(self.reused), *drift_lines(self.references)]

    @property
    def warnings(self) -> list[str]:
        """The same, behind what went wrong meanwhile and was told then."""
        return [*self.notes, *self.doubts]

    @property
    def ways_not_run(self) -> dict[tuple[str, str, str, str], int]:
        """How many cells could not be run, by runtime, device, dtype and reason."""
        hows = [(one.cell.cell.execution, one.reason) for one in self.not_run]
        return dict(Counter((how.runtime, how.device, how.dtype, reason) for how, reason in hows))


def swept_report(swept: Swept) -> Report:
    """How many cells were measured, what was left out or failed, whether the machine stayed the same, what next."""
    left = swept.counts["pending"] - swept.skipped - len(swept.not_run)  # those are told below, with the reason
    counts = {**swept.counts, "pending": max(0, left)}
    rows = [(status, count(number)) for status, number in counts.items() if number or status == "done"]
    left_out = [part for sweep in swept.sweeps for part in _left_out(sweep)]
    left_out += [("too slow", f"{count(swept.skipped)} by --max-latency, and not measured")] if swept.skipped else []
    left_out += [
        ("not run", f"{count(number)}: {runtime} on {device}, {dtype}: {reason}")
        for (runtime, device, dtype, reason), number in swept.ways_not_run.items()
    ]
    timed = f"timed {counted(len(swept.references), 'time')}" if swept.references else "not timed"
    store = swept.store
    advice = f"The frontier: mnfpn report --store {store}. Which to take: mnfpn recommend --store {store}."
    return [
        pairs(f"Sweep, in {store}", [*rows, *left_out, ("reference cell", timed)]),
        *(table_ for sweep in swept.sweeps for table_ in reasons_report(sweep.plan.get("invalid", {}))),
        *_failures(swept.cells),
        *(warning(line) for line in swept.doubts),
        *([note(advice, "dim")] if swept.counts["done"] else []),
    ]


def _left_out(sweep: Sweep) -> list[tuple[str, str]]:
    """What was not to be measured, and why."""
    plan = sweep.plan
    rows = [("over budget", f"{count(number)} by {option}") for option, number in plan.get("cut", {}).items()]
    not_chosen = plan["space"]["cells"] - sum(sweep.counts.values()) if "space" in plan else 0
    return [*rows, *([("not chosen", f"{count(not_chosen)} (--measure {plan['measure']})")] if not_chosen > 0 else [])]


def reused_lines(reused: Sequence[Reused]) -> list[str]:
    """What was measured before, with other options than were asked for this time."""
    return [
        f"{counted(one.cells, 'result')} {'is' if one.cells == 1 else 'are'} of another sweep, measured with "
        f"{_options(one.measured_with)}, not with {_options(one.wanted)}: repeat the sweep with --again to measure anew"
        for one in reused
    ]


def _options(options: str | None) -> str:
    return "options that are not known" if options is None else options or "the default options"


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
    much = worst.pace >= MUCH or worst.pace <= 1 / MUCH
    how = (
        f"took {times(worst.pace)} × its first time"
        if much
        else (f"was {percent(abs(worst.pace - 1))} {slower} than at first")
    )
    when = f"{worst.finished[:19].replace('T', ' ')} UTC, on {worst.node}"
    return [
        f"the reference cell moved: at worst it {how} ({when}). The page of mnfpn report, and mnfpn runs "
        "export, have times corrected for it; an idle machine needs none."
    ]


def _failures(cells: Sequence[StoredCell]) -> Report:
    failed = [one for one in cells if one.status == "failed" and one.result]
    if not failed:
        return []
    made, name = table("Failed", "Cell", "Why"), namer([one.cell for one in cells])
    for one in failed[:SHOWN]:
        made.add_row(phrases(name(one.cell)), note(one.result.reason or "" if one.result else ""))
    more = len(failed) - SHOWN
    left_out = [note(f"{count(more)} more: mnfpn runs list --status failed", "dim")] if more > 0 else []
    return [made, *left_out, note("--retry-failed measures them again.", "dim")]


def swept_document(swept: Swept) -> dict[str, Any]:
    """The same under the keys that scripts rely on; the rows themselves are what `mnfpn runs export` gives."""
    return {
        "store": swept.store,
        "sweeps": [{**one.plan, "id": one.id, "started": one.started} for one in swept.sweeps],
        "counts": swept.counts,
        "skipped": swept.skipped,
        "not_run": [
            dict(zip(("runtime", "device", "dtype", "reason", "cells"), (*way, number), strict=True))
            for way, number in swept.ways_not_run.items()
        ],
        "references": len(swept.references),
        "keys": [one.key for one in swept.cells],
        "warnings": swept.warnings,
    }
