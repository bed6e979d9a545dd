"""`mnfpn sweep` as tables: what the space holds, what was chosen, what was measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnfpn_cli.report.points import KEPT
from mnfpn_cli.report.terminal.runs import Differing, runs_report
from mnfpn_cli.report.terminal.tables import Report, note, pairs, phrases, table, warning
from mnfpn_cli.report.units import count, counted, duration, scaled, size_in_bytes, times
from mnfpn_cli.space.planned import kept
from mnfpn_cli.space.runs import Execution, Run, identifying_columns, run_namer
from mnfpn_cli.text import percent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnfpn_cli.documents.sweep import InvalidRuns
    from mnfpn_cli.report.terminal.tables import Table
    from mnfpn_cli.space.planned import Planned, PlannedSpace
    from mnfpn_cli.store.rows import BaselineTiming, StoredRun, Sweep
    from mnfpn_cli.sweep.drift import Moved
    from mnfpn_cli.sweep.start import Chosen, Expected, Reused
    from mnfpn_cli.sweep.state import Swept

SHOWN = 10
"""Reasons, and runs of a frontier, that are shown; JSON has all."""

ASKED = 2000
"""Runs of a space that are looked at for what they differ in."""


def space_report(chosen: Chosen, frontier: Sequence[Planned], expected: Expected | None) -> Report:
    """What there is, what is left out and why, and the runs that keep the most capacity for their MACs."""
    from mnfpn_cli.sweep.start import invalid_runs

    report: Report = [_counts(chosen.space, chosen, expected), *reasons_report(invalid_runs(chosen.space.invalid))]
    if frontier:
        report += [*frontier_report(frontier, chosen.space.runs), note(KEPT, "dim")]
    return report


def _counts(space: PlannedSpace, chosen: Chosen, expected: Expected | None) -> Table:
    from mnfpn_cli.sweep.start import all_runtimes

    invalid, cut = sum(space.invalid.values()), sum(space.cut.values())
    rows = [
        ("runs", f"{count(len(space.runs) + cut)} valid"),
        ("", f"{count(space.repeated)} given twice" if space.repeated else ""),
        ("invalid", count(invalid) if invalid else ""),
        ("over budget", ", ".join(f"{count(number)} by `{name}`" for name, number in space.cut.items())),
        ("to measure", f"{_left(chosen, expected)} (--measure {chosen.measure})"),
        ("", "less those whose runtime cannot run there" if chosen.runs and all_runtimes(space) else ""),
        ("time", _time(expected) if expected else ""),
    ]
    return pairs("Space", [row for row in rows if row[1]])


def _left(chosen: Chosen, expected: Expected | None) -> str:
    """How many runs are to be measured: less those that the store has, where one was asked."""
    left = expected.runs if expected else len(chosen.runs)
    return count(left) + (f" of {count(len(chosen.runs))}" if left < len(chosen.runs) else "")


def _time(expected: Expected) -> str:
    """About how long it takes, and by what that is known."""
    runs = f"{counted(expected.runs, 'run')} and {counted(expected.baselines, 'time')} of the baseline run"
    if not expected.runs:
        return "none: all of them are measured"
    if expected.most_s is None:
        return f"about {duration(expected.seconds)}: {runs}, {duration(expected.each_s)} each"
    most = (expected.runs + expected.baselines) * expected.most_s
    return f"{duration(expected.seconds)} to {duration(most)}: {runs}; no measurements yet"


def reasons_report(invalid: Sequence[InvalidRuns]) -> Report:
    """Why combinations are no networks, and how many runs that are."""
    if not invalid:
        return []
    made = table("Invalid combinations", ">Runs", "Why")
    for one in invalid[:SHOWN]:
        made.add_row(count(one.runs), note(one.reason.replace("\n", "; ")))
    more = [note(f"{len(invalid) - SHOWN} more reasons: --json has them all.", "dim")] if len(invalid) > SHOWN else []
    return [made, *more]


def frontier_report(frontier: Sequence[Planned], runs: Sequence[Planned]) -> Report:
    """The networks of a frontier by their plans, the cheapest first; of many, some from end to end.

    ``runs``: those that it is the frontier of: what they differ in, and the networks shown do not, is said once.
    """
    networks = list({_bare(one.run): one for one in frontier}.values())
    shown = _some(networks, 2 * SHOWN)
    of = f", {len(shown)} of {count(len(networks))} networks" if len(shown) < len(networks) else ""
    bare = [_bare(one.run) for one in shown]
    most = max(one.figures.capacity.product for one in networks)
    asked = [*bare, *(_bare(one.run) for one in _some(runs, ASKED))]
    settings = {key: words[: len(bare)] for key, words in identifying_columns(asked).items()}
    figures = {
        ">MACs": [scaled(one.figures.macs) for one in shown],
        ">Parameters": [scaled(one.figures.parameters) for one in shown],
        ">Memory": [size_in_bytes(one.figures.memory_bytes) for one in shown],
        ">Levels": [str(one.figures.capacity.levels) for one in shown],
        ">Kept": [percent(kept(one.figures.capacity, most)) for one in shown],
    }
    return runs_report(f"Frontier: the most kept for its MACs{of}", Differing(settings), figures, fold=True)


def _bare(run: Run) -> Run:
    """What cost and capacity depend on: not on what executes it, and where."""
    return Run(run.settings, run.size, Execution(batch=run.execution.batch, dtype=run.execution.dtype))


def _some(items: Sequence[Planned], most: int) -> Sequence[Planned]:
    """So many of them at most, from end to end."""
    if len(items) <= most:
        return items
    step = (len(items) - 1) / (most - 1)
    return [items[round(index * step)] for index in range(most)]


MUCH = 2
"""Times from which on per cent are no help."""


def swept_report(swept: Swept) -> Report:
    """How many runs were measured, what was left out or failed, whether the machine stayed the same, what next."""
    left = swept.counts.pending - swept.skipped - len(swept.not_run)  # those are told below, with the reason
    counts = {**dict(swept.counts), "pending": max(0, left)}
    rows = [(status, count(number)) for status, number in counts.items() if number or status == "done"]
    left_out = [part for sweep in swept.sweeps for part in _left_out(sweep)]
    left_out += [("too slow", f"{count(swept.skipped)} by --max-latency, and not measured")] if swept.skipped else []
    left_out += [
        ("not run", f"{count(number)}: {runtime} on {device}, {dtype}{', training' * train}: {reason}")
        for (runtime, device, dtype, train, reason), number in swept.ways_not_run.items()
    ]
    timed = f"timed {counted(len(swept.baselines), 'time')}" if swept.baselines else "not timed"
    store = swept.store
    advice = f"The frontier: mnfpn report --store {store}. Which to take: mnfpn recommend --store {store}."
    return [
        pairs(f"Sweep, in {store}", [*rows, *left_out, ("baseline run", timed)]),
        *(table_ for sweep in swept.sweeps for table_ in reasons_report(sweep.plan.invalid)),
        *_failures(swept.runs),
        *(warning(line) for line in doubts_of(swept)),
        *([note(advice, "dim")] if swept.counts.done else []),
    ]


def _left_out(sweep: Sweep) -> list[tuple[str, str]]:
    """What was not to be measured, and why."""
    plan = sweep.plan
    rows = [("over budget", f"{count(number)} by `{name}`") for name, number in plan.over_budget.items()]
    not_chosen = plan.space.runs - sweep.counts.done - sweep.counts.failed - sweep.counts.pending
    return [*rows, *([("not chosen", f"{count(not_chosen)} (--measure {plan.measure})")] if not_chosen > 0 else [])]


def doubts_of(swept: Swept) -> list[str]:
    """What makes the figures less sure than they look, once all are there."""
    return [*reused_lines(swept.reused), *drift_lines(swept.baselines)]


def reused_lines(reused: Sequence[Reused]) -> list[str]:
    """What was measured before, with other options than were asked for this time."""
    return [
        f"{counted(one.runs, 'result')} {'is' if one.runs == 1 else 'are'} of another sweep, measured with "
        f"{_options(one.measured_with)}, not with {_options(one.wanted)}: repeat the sweep with --again to measure anew"
        for one in reused
    ]


def _options(options: str | None) -> str:
    return "options that are not known" if options is None else options or "the default options"


def drift_lines(baselines: Sequence[BaselineTiming]) -> list[str]:
    """What the baseline run says of the machine: where it moved, and by how much."""
    from mnfpn_cli.sweep.drift import moves

    return moved_lines(moves(baselines))


def moved_lines(found: Sequence[Moved]) -> list[str]:
    """The same where it is known when the baseline run moved."""
    if not found:
        return []
    worst = max(found, key=lambda one: abs(one.drift - 1))
    slower = "slower" if worst.drift > 1 else "faster"
    much = worst.drift >= MUCH or worst.drift <= 1 / MUCH
    how = (
        f"took {times(worst.drift)} × its first time"
        if much
        else (f"was {percent(abs(worst.drift - 1))} {slower} than at first")
    )
    when = f"{worst.finished[:19].replace('T', ' ')} UTC, on {worst.worker}"
    return [
        f"the baseline run moved: at worst it {how} ({when}). The page of mnfpn report, and mnfpn runs "
        "export, have times corrected for it; an idle machine needs none."
    ]


def _failures(runs: Sequence[StoredRun]) -> Report:
    failed = [one for one in runs if one.status == "failed" and one.result]
    if not failed:
        return []
    made, name = table("Failed", "Run", "Why"), run_namer([one.planned.run for one in runs])
    for one in failed[:SHOWN]:
        made.add_row(phrases(name(one.planned.run)), note(one.result.reason or "" if one.result else ""))
    more = len(failed) - SHOWN
    left_out = [note(f"{count(more)} more: mnfpn runs list --status failed", "dim")] if more > 0 else []
    return [made, *left_out, note("--retry-failed measures them again.", "dim")]
