"""Retry failed runs, and remove runs and results."""

from collections.abc import Sequence, Set
from dataclasses import dataclass

from sqlalchemy import Connection, delete, select, update

from mnfpn_cli.store import rows as t
from mnfpn_cli.store.read import newest
from mnfpn_cli.store.rows import RunStatus
from mnfpn_cli.store.store import Store, batches


@dataclass(frozen=True, slots=True)
class Unwanted:
    """What to remove.

    Attributes:
        statuses: runs with these statuses.
        keys: runs with these keys.
        superseded: whether to remove all results of a run but the newest.
    """

    statuses: Sequence[RunStatus] = ()
    keys: Sequence[str] = ()
    superseded: bool = False


@dataclass(frozen=True, slots=True)
class Removed:
    """Counts of what was removed.

    Attributes:
        runs: runs removed, with all of their results.
        results: results removed, with those of removed runs.
        restored: pending runs with an earlier result, which were not removed but have the status of that result again.
        busy: runs not removed because a process has claimed them.
    """

    runs: int = 0
    results: int = 0
    restored: int = 0
    busy: int = 0


def retry_failed(store: Store, sweep: int | None = None) -> int:
    """Make the failed runs of a sweep, or of the store, pending again; return their number.

    Raises:
        StoreError: where the store cannot be written.
    """
    failed = update(t.runs).where(t.runs.c.status == "failed")
    if sweep is not None:
        failed = failed.where(t.runs.c.key.in_(select(t.sweep_runs.c.key).where(t.sweep_runs.c.sweep == sweep)))
    return store.write(lambda connection: connection.execute(failed.values(status="pending")).rowcount)


def remove(store: Store, unwanted: Unwanted, dry_run: bool = False) -> Removed:
    """Remove runs and results; with ``dry_run``, only count them.

    Claimed runs are not removed. Pending runs with an earlier result get the status of that result instead, unless they
    are removed by key.

    Raises:
        StoreError: where the store cannot be written.
    """

    def change(connection: Connection) -> Removed:
        store.lock_bulk_changes(connection)
        return _remove(connection, unwanted)

    return store.dry_run(change) if dry_run else store.write(change)


def _remove(connection: Connection, unwanted: Unwanted) -> Removed:
    rows = connection.execute(select(t.runs.c.key, t.runs.c.status, t.runs.c.claimed_by).with_for_update()).all()
    newest_results = newest(connection, {row.key: row.status for row in rows})
    by_key = set(unwanted.keys)
    chosen = [row for row in rows if row.key in by_key or row.status in unwanted.statuses]
    idle = [row for row in chosen if row.claimed_by is None]
    measured_before = [row.key for row in idle if row.status == "pending" and row.key in newest_results]
    restored = [key for key in measured_before if key not in by_key]
    removed = list({row.key for row in idle} - set(restored))
    results = sum(_remove_runs(connection, batch) for batch in batches(removed))
    for batch in batches([newest_results[key] for key in restored]):
        _restore(connection, batch)
    if unwanted.superseded:
        results += _remove_superseded(connection, set(newest_results.values()))
    for table, column in _OF_NETWORKS:
        connection.execute(delete(table).where(column.not_in(select(t.runs.c.network))))
    return Removed(len(removed), results, len(restored), len(chosen) - len(idle))


_OF_NETWORKS = ((t.scores, t.scores.c.network), (t.trainings, t.trainings.c.network), (t.networks, t.networks.c.id))
"""The tables whose rows go with the last run of their network, and the column that names it."""


def _remove_runs(connection: Connection, keys: Sequence[str]) -> int:
    """Remove runs and all that refers to them; return the number of their results."""
    connection.execute(delete(t.baselines).where(t.baselines.c.key.in_(keys)))
    connection.execute(delete(t.sweep_runs).where(t.sweep_runs.c.key.in_(keys)))
    results = connection.execute(delete(t.results).where(t.results.c.key.in_(keys))).rowcount
    connection.execute(delete(t.runs).where(t.runs.c.key.in_(keys)))
    return results


def _restore(connection: Connection, results: Sequence[str]) -> None:
    """Set the status of runs to that of these results."""
    for status in ("done", "failed"):
        keys = select(t.results.c.key).where(t.results.c.id.in_(results), t.results.c.status == status)
        connection.execute(update(t.runs).where(t.runs.c.key.in_(keys)).values(status=status))


def _remove_superseded(connection: Connection, newest_results: Set[str]) -> int:
    """Remove all results but these; return their number."""
    ids = [id for id in connection.execute(select(t.results.c.id)).scalars() if id not in newest_results]
    removals = (delete(t.results).where(t.results.c.id.in_(batch)) for batch in batches(ids))
    return sum(connection.execute(removal).rowcount for removal in removals)
