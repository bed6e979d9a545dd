"""Find the results that a sweep takes from an earlier one, measured with other options than its own."""

from collections import Counter
from collections.abc import Mapping, Sequence

from mnfpn_cli.documents.sweep import MeasuringRecord, ReusedRecord
from mnfpn_cli.store.rows import StoredRun, Sweep


def reused(sweep: Sweep, runs: Sequence[StoredRun], known: Mapping[int, Sweep]) -> list[ReusedRecord]:
    """Count the runs of a sweep that were measured with other options than its own, by options.

    Args:
        sweep: the sweep.
        runs: its runs.
        known: all sweeps of the store, by number.

    Returns:
        One record for each pair of options, the most common first.
    """
    others = [run for run in runs if run.result and run.result.sweep != sweep.id]
    return measured_otherwise(sweep.plan.measuring, others, known)


def measured_otherwise(
    measuring: MeasuringRecord, runs: Sequence[StoredRun], known: Mapping[int, Sweep]
) -> list[ReusedRecord]:
    """Count the runs that earlier sweeps measured with other options than these, by options; as `reused` returns them.

    Args:
        measuring: the options.
        runs: the runs of earlier sweeps.
        known: all sweeps of the store, by number.
    """
    counts = Counter[tuple[str | None, str]]()
    for run in runs:
        if run.measured and run.result:
            layered = run.execution.has_layers and measuring.by_layer
            earlier = known.get(run.result.sweep)
            measured_with = _options(earlier.plan.measuring, layered) if earlier else None
            wanted = _options(measuring, layered)
            if measured_with != wanted:
                counts[measured_with, wanted] += 1
    return _records(counts)


def reused_by_any(
    ran: Sequence[Sweep], runs: Mapping[int, Sequence[StoredRun]], known: Mapping[int, Sweep]
) -> list[ReusedRecord]:
    """Count the same over several sweeps. A run that several of them have counts for the newest.

    Args:
        ran: the sweeps, the oldest first.
        runs: the runs of each, by the sweep's number.
        known: all sweeps of the store, by number.
    """
    newest = {run.key: sweep.id for sweep in ran for run in runs[sweep.id]}
    counts = Counter[tuple[str | None, str]]()
    for sweep in ran:
        own = [run for run in runs[sweep.id] if newest[run.key] == sweep.id]
        for record in reused(sweep, own, known):
            counts[record.measured_with, record.wanted] += record.runs
    return _records(counts)


def _records(counts: Counter[tuple[str | None, str]]) -> list[ReusedRecord]:
    return [
        ReusedRecord(runs=number, measured_with=measured_with, wanted=wanted)
        for (measured_with, wanted), number in counts.most_common()
    ]


def _options(measuring: MeasuringRecord, layered: bool) -> str:
    """Return the options of a sweep; ``by_layer`` only for runs that have layers to time."""
    options = [f"`{name.removesuffix('_s')}` {value:g}" for name, value in measuring.sampling if value is not None]
    return " ".join([*options, *["`by_layer`"] * (layered and measuring.by_layer)])
