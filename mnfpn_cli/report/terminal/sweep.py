"""`mnfpn sweep` as tables: the runs of a space, and what was measured of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mnfpn_cli.report.terminal.runs import RunNames, runs_report
from mnfpn_cli.report.terminal.tables import Report, note, pairs, phrases, table, warning
from mnfpn_cli.report.units import CAPACITY, count, counted, duration, scaled, size_in_bytes, times
from mnfpn_cli.space.planned import capacity_share
from mnfpn_cli.space.runs import Execution, Run, identifying_columns, run_namer
from mnfpn_cli.text import percent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnfpn_cli.documents.report import MovedRecord
    from mnfpn_cli.documents.sweep import InvalidRuns
    from mnfpn_cli.report.terminal.tables import Table
    from mnfpn_cli.space.planned import Planned, PlannedSpace
    from mnfpn_cli.store.rows import BaselineTiming, StoredRun, Sweep
    from mnfpn_cli.sweep.reuse import Reused
    from mnfpn_cli.sweep.start import Chosen, Expected
    from mnfpn_cli.sweep.state import Swept

MOST_ROWS = 10
"""The most rows of a table; a table of a frontier has twice as many. JSON has all."""

MOST_COMPARED = 2000
"""The most runs of a space that are compared to find the settings that differ."""


def space_report(chosen: Chosen, frontier: Sequence[Planned], expected: Expected | None) -> Report:
    """The runs of a space by number, the invalid combinations, and the planned frontier; nothing was measured."""
    from mnfpn_cli.sweep.start import invalid_runs

    report: Report = [_counts(chosen.space, chosen, expected), *reasons_report(invalid_runs(chosen.space.invalid))]
    if frontier:
        report += [*planned_frontier_report(frontier, chosen.space.runs), note(CAPACITY, "dim")]
    return report


def _counts(space: PlannedSpace, chosen: Chosen, expected: Expected | None) -> Table:
    from mnfpn_cli.sweep.start import all_runtimes

    invalid, cut = sum(space.invalid.values()), sum(space.cut.values())
    rows = [
        ("runs", f"{count(len(space.runs) + cut)} valid"),
        ("", f"{count(space.repeated)} given twice" if space.repeated else ""),
        ("invalid", count(invalid) if invalid else ""),
        ("over budget", ", ".join(f"{count(number)} by `{name}`" for name, number in space.cut.items())),
        ("to measure", f"{_to_measure(chosen, expected)} (`measure` {chosen.measure})"),
        ("", "less those whose runtime cannot run there" if chosen.runs and all_runtimes(space) else ""),
        ("time", _time(expected) if expected else ""),
    ]
    return pairs("Space", [row for row in rows if row[1]])


def _to_measure(chosen: Chosen, expected: Expected | None) -> str:
    """The number of runs to measure, without those that a store has already."""
    left = expected.runs if expected else len(chosen.runs)
    return count(left) + (f" of {count(len(chosen.runs))}" if left < len(chosen.runs) else "")


def _time(expected: Expected) -> str:
    """The time that the sweep takes, with the numbers behind the estimate."""
    runs = f"{counted(expected.runs, 'run')} and {counted(expected.baselines, 'time')} of the baseline run"
    if not expected.runs:
        return "none: all of them are measured"
    if expected.most_s is None:
        return f"about {duration(expected.seconds)}: {runs}, {duration(expected.each_s)} each"
    most = (expected.runs + expected.baselines) * expected.most_s
    return f"{duration(expected.seconds)} to {duration(most)}: {runs}; no measurements yet"


def reasons_report(invalid: Sequence[InvalidRuns]) -> Report:
    """A row for each reason why combinations of settings are invalid."""
    if not invalid:
        return []
    made = table("Invalid combinations", ">Runs", "Why")
    for one in invalid[:MOST_ROWS]:
        made.add_row(count(one.runs), note(one.reason.replace("\n", "; ")))
    more = (
        [note(f"{len(invalid) - MOST_ROWS} more reasons: `json` has them all.", "dim")]
        if len(invalid) > MOST_ROWS
        else []
    )
    return [made, *more]


def planned_frontier_report(frontier: Sequence[Planned], runs: Sequence[Planned]) -> Report:
    """The networks of a planned frontier, the cheapest first; of many, a part spread over the whole frontier.

    ``runs``: all runs of the space. A setting in which only these differ stands below the table.
    """
    networks = list({_bare(one.run): one for one in frontier}.values())
    listed = _spread(networks, 2 * MOST_ROWS)
    of = f", {len(listed)} of {count(len(networks))} networks" if len(listed) < len(networks) else ""
    bare = [_bare(one.run) for one in listed]
    most = max(one.figures.capacity.product for one in networks)
    compared = [*bare, *(_bare(one.run) for one in _spread(runs, MOST_COMPARED))]
    settings = {key: words[: len(bare)] for key, words in identifying_columns(compared).items()}
    figures = {
        ">MACs": [scaled(one.figures.macs) for one in listed],
        ">Parameters": [scaled(one.figures.parameters) for one in listed],
        ">Memory": [size_in_bytes(one.figures.memory_bytes) for one in listed],
        ">Levels": [str(one.figures.capacity.levels) for one in listed],
        ">Capacity": [percent(capacity_share(one.figures.capacity, most)) for one in listed],
    }
    return runs_report(f"Frontier: the most capacity for the MACs{of}", RunNames(settings), figures, fold=True)


def _bare(run: Run) -> Run:
    """The run without runtime, device and threads, on which cost and capacity do not depend."""
    return Run(run.settings, run.size, Execution(batch=run.execution.batch, dtype=run.execution.dtype))


def _spread(items: Sequence[Planned], most: int) -> Sequence[Planned]:
    """At most ``most`` items, evenly spread, with the first and the last."""
    if len(items) <= most:
        return items
    step = (len(items) - 1) / (most - 1)
    return [items[round(index * step)] for index in range(most)]


MUCH = 2
"""The drift from which a factor is printed, not per cent."""


@dataclass(frozen=True)
class NextSteps:
    """The command lines to type after a sweep: show the frontier, recommend runs, list the runs that failed."""

    report: str
    recommend: str
    list_failed: str


def swept_report(swept: Swept, commands: NextSteps) -> Report:
    """The runs by status, those left out or failed and why, the warnings, and what to type next."""
    left = swept.counts.pending - swept.skipped - len(swept.not_run)  # these have rows of their own
    counts = {**dict(swept.counts), "pending": max(0, left)}
    rows = [(status, count(number)) for status, number in counts.items() if number or status == "done"]
    left_out = [part for sweep in swept.sweeps for part in _left_out(sweep)]
    left_out += [("too slow", f"{count(swept.skipped)} by `max_latency`, and not measured")] if swept.skipped else []
    left_out += [
        (
            "not run",
            f"{count(one.runs)}: {one.runtime} on {one.device}, {one.dtype}{', training' * one.train}: {one.reason}",
        )
        for one in swept.not_run_groups
    ]
    timed = f"timed {counted(len(swept.baselines), 'time')}" if swept.baselines else "not timed"
    advice = f"The frontier: {commands.report}. Which to take: {commands.recommend}."
    return [
        pairs(f"Sweep, in {swept.store}", [*rows, *left_out, ("baseline run", timed)]),
        *(table_ for sweep in swept.sweeps for table_ in reasons_report(sweep.plan.invalid)),
        *_failures(swept.runs, commands.list_failed),
        *(warning(line) for line in result_warnings(swept)),
        *([note(advice, "dim")] if swept.counts.done else []),
    ]


def _left_out(sweep: Sweep) -> list[tuple[str, str]]:
    """The runs of a sweep that were not to be measured: over the budget, or not chosen."""
    plan = sweep.plan
    rows = [("over budget", f"{count(number)} by `{name}`") for name, number in plan.over_budget.items()]
    not_chosen = plan.space.runs - sweep.counts.done - sweep.counts.failed - sweep.counts.pending
    return [*rows, *([("not chosen", f"{count(not_chosen)} (`measure` {plan.measure})")] if not_chosen > 0 else [])]


def result_warnings(swept: Swept) -> list[str]:
    """The warnings about results of other options, and about drift."""
    return [*reused_lines(swept.reused), *drift_lines(swept.baselines)]


def reused_lines(reused: Sequence[Reused]) -> list[str]:
    """A line for results that an earlier sweep measured with other options."""
    return [
        f"{counted(one.runs, 'result')} {'is' if one.runs == 1 else 'are'} of another sweep, measured with "
        f"{_options(one.measured_with)}, not with {_options(one.wanted)}: repeat the sweep with `again` to measure anew"
        for one in reused
    ]


def _options(options: str | None) -> str:
    return "options that are not known" if options is None else options or "the default options"


def drift_lines(baselines: Sequence[BaselineTiming]) -> list[str]:
    """A line if the time of the baseline run changed; none if the machine stayed the same."""
    from mnfpn_cli.sweep.drift import moved_baselines

    return moved_lines(moved_baselines(baselines))


def moved_lines(changes: Sequence[MovedRecord]) -> list[str]:
    """A line about the largest of these changes."""
    if not changes:
        return []
    worst = max(changes, key=lambda one: abs(one.drift - 1))
    slower = "slower" if worst.drift > 1 else "faster"
    much = worst.drift >= MUCH or worst.drift <= 1 / MUCH
    change = (
        f"took {times(worst.drift)} × its first time"
        if much
        else (f"was {percent(abs(worst.drift - 1))} {slower} than at first")
    )
    when = f"{worst.finished[:19].replace('T', ' ')} UTC, on {worst.worker}"
    return [
        f"the baseline run moved: at worst it {change} ({when}). The page of mnfpn report, and mnfpn runs "
        "export, have times corrected for it; an idle machine needs none."
    ]


def _failures(runs: Sequence[StoredRun], list_failed: str) -> Report:
    failed = [one for one in runs if one.status == "failed" and one.result]
    if not failed:
        return []
    made, name = table("Failed", "Run", "Why"), run_namer([one.planned.run for one in runs])
    for one in failed[:MOST_ROWS]:
        made.add_row(phrases(name(one.planned.run)), note(one.result.reason or "" if one.result else ""))
    more = len(failed) - MOST_ROWS
    left_out = [note(f"{count(more)} more: {list_failed}", "dim")] if more > 0 else []
    return [made, *left_out, note("`retry_failed` measures them again.", "dim")]
