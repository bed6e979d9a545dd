"""`mnfpn sweep` as tables: the runs of a space, and what was measured of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnfpn_cli.documents.sweep import MeasuredDocument
from mnfpn_cli.report.terminal.models import model_lines
from mnfpn_cli.report.terminal.run_tables import RunNames, columns_of, runs_report
from mnfpn_cli.report.terminal.tables import Report, note, pairs, phrases, table, warning
from mnfpn_cli.report.units import count, duration, scaled, size_in_bytes, times
from mnfpn_cli.text import counted, percent

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mnfpn_cli.documents.sweep import (
        ExpectedRecord,
        FailedRun,
        FailedTraining,
        InvalidRuns,
        MovedRecord,
        NotRunGroup,
        PlannedDocument,
        ReusedRecord,
        SweepRecord,
    )
    from mnfpn_cli.report.terminal.tables import Table

MOST_ROWS = 10
"""The most rows of a table. JSON has all."""


def sweep_tables(document: PlannedDocument | MeasuredDocument) -> Report:
    """The plan of a space, or what was measured of it."""
    return swept_report(document) if isinstance(document, MeasuredDocument) else space_report(document)


def space_report(document: PlannedDocument) -> Report:
    """The runs of a space by number, the invalid combinations, and networks of it; nothing was measured."""
    report: Report = [_counts(document), *reasons_report(document.invalid)]
    if document.sample:
        report += networks_report(document)
    return [*report, *map(warning, reused_lines(document.expected.reused if document.expected else ()))]


def _counts(document: PlannedDocument) -> Table:
    invalid, expected = sum(one.runs for one in document.invalid), document.expected
    rows = [
        ("runs", f"{count(document.runs)} valid"),
        ("", f"{count(document.repeated)} given twice" if document.repeated else ""),
        ("invalid", count(invalid) if invalid else ""),
        ("over budget", ", ".join(_beyond(document.over_budget))),
        ("to measure", f"{_to_measure(document)} (`measure` {document.measure})"),
        ("to train", counted(document.trainings, "network") if document.trainings else ""),
        ("", "less those whose runtime cannot run there" if document.chosen and document.all_runtimes else ""),
        ("time", _time(expected) if expected else ""),
    ]
    return pairs("Space", [row for row in rows if row[1]])


def _beyond(budget: Mapping[str, int]) -> list[str]:
    return [f"{count(number)} by `{name}`" for name, number in budget.items()]


def _to_measure(document: PlannedDocument) -> str:
    """The number of runs to measure, without those that a store has already."""
    left = document.expected.runs if document.expected else document.chosen
    return count(left) + (f" of {count(document.chosen)}" if left < document.chosen else "")


def _time(expected: ExpectedRecord) -> str:
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


def networks_report(document: PlannedDocument) -> Report:
    """Networks of a space, the fewest MACs first; a setting in which only others differ stands below the table."""
    listed = document.sample
    figures = {
        ">MACs": [scaled(one.cost.macs) for one in listed],
        ">Parameters": [scaled(one.cost.parameters) for one in listed],
        ">Memory": [size_in_bytes(one.cost.planned_memory_bytes) for one in listed],
        ">Levels": [str(one.cost.levels) for one in listed],
    }
    names = RunNames(columns_of([one.identity for one in listed]))
    return runs_report("Networks, from the fewest MACs to the most", names, figures, fold=True)


NO_MODEL = "too few runs are measured to predict the others: mnfpn predict says how many more are needed"

MUCH = 2
"""The drift from which a factor is printed, not per cent."""


def swept_report(document: MeasuredDocument) -> Report:
    """The runs by status, those left out or failed and why, the warnings, and what to type next."""
    commands = document.commands
    predicting = any(sweep.predict for sweep in document.sweeps)
    left = document.counts.pending - document.skipped - sum(one.runs for one in document.not_run)  # these have own rows
    counts = {**dict(document.counts), "pending": max(0, left)}
    rows = [(status, count(number)) for status, number in counts.items() if number or status == "done"]
    if predicting:
        rows = [("not measured" if status == "pending" else status, number) for status, number in rows]
    left_out = [part for sweep in document.sweeps for part in _left_out(sweep)]
    if document.skipped:
        left_out.append(("too slow", f"{count(document.skipped)} by `max_latency`, and not measured"))
    left_out += [("not run", _not_run(one)) for one in document.not_run]
    trained = document.trainings
    if trained:
        numbers = {"trained": trained.done, "failed": len(trained.failed), "to train": trained.pending}
        words = ", ".join(f"{count(number)} {word}" for word, number in numbers.items() if number)
        rows.append(("networks", words or "none to train"))
    timed = f"timed {counted(document.baselines, 'time')}" if document.baselines else "not timed"
    advice = f"The frontier: {commands.report}. Which to take: {commands.recommend}."
    return [
        pairs(f"Sweep, in {document.store}", [*rows, *left_out, ("baseline run", timed)]),
        *(table_ for sweep in document.sweeps for table_ in reasons_report(sweep.invalid)),
        *model_lines(document.models),
        *([warning(NO_MODEL)] if predicting and not document.models else []),
        *_failures(document.failed, commands.list_failed),
        *_failed_trainings(trained.failed if trained else ()),
        *(warning(line) for line in result_warnings(document.reused, document.baseline_moved)),
        *([note(advice, "dim")] if document.counts.done else []),
    ]


def _failed_trainings(failed: Sequence[FailedTraining]) -> list[Table]:
    """The networks whose training failed, and why."""
    if not failed:
        return []
    made = table("Trainings that failed", "Network", "Why", "Last line")
    for one in failed[:MOST_ROWS]:
        made.add_row(note(one.name), note(one.reason), note(one.last_line))
    return [made]


def _left_out(sweep: SweepRecord) -> list[tuple[str, str]]:
    """The runs of a sweep that were not to be measured: over the budget, or not chosen."""
    rows = [("over budget", text) for text in _beyond(sweep.over_budget)]
    not_chosen = sweep.space.runs - sweep.counts.done - sweep.counts.failed - sweep.counts.pending
    return [*rows, *([("not chosen", f"{count(not_chosen)} (`measure` {sweep.measure})")] if not_chosen > 0 else [])]


def _not_run(group: NotRunGroup) -> str:
    training = ", training" * group.train
    return f"{count(group.runs)}: {group.runtime} on {group.device}, {group.dtype}{training}: {group.reason}"


def result_warnings(reused: Sequence[ReusedRecord], moved: Sequence[MovedRecord]) -> list[str]:
    """The warnings about results of other options, and about drift."""
    return [*reused_lines(reused), *moved_lines(moved)]


def reused_lines(reused: Sequence[ReusedRecord]) -> list[str]:
    """A line for results that an earlier sweep measured with other options."""
    return [
        f"{counted(one.runs, 'result')} {'is' if one.runs == 1 else 'are'} of another sweep, measured with "
        f"{_options(one.measured_with)}, not with {_options(one.wanted)}: repeat the sweep with `again` to measure anew"
        for one in reused
    ]


def _options(options: str | None) -> str:
    return "options that are not known" if options is None else options or "the default options"


def moved_lines(changes: Sequence[MovedRecord]) -> list[str]:
    """A line about the largest of the changes of the baseline run; none without a change."""
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
        f"the baseline run moved: at worst it {change} ({when}). mnfpn report, recommend and runs list "
        "have times corrected for it; an idle machine needs none."
    ]


def _failures(failed: Sequence[FailedRun], list_failed: str) -> Report:
    if not failed:
        return []
    made = table("Failed", "Run", "Why")
    for one in failed[:MOST_ROWS]:
        made.add_row(phrases(one.name), note(one.reason))
    more = len(failed) - MOST_ROWS
    left_out = [note(f"{count(more)} more: {list_failed}", "dim")] if more > 0 else []
    return [made, *left_out, note("`retry_failed` measures them again.", "dim")]
