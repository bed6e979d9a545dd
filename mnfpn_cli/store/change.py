"""Changes of a store that people ask for: trying again, and removing."""

from collections.abc import Sequence, Set
from dataclasses import dataclass

from sqlalchemy import Connection, delete, select, update

from mnfpn_cli.store import rows as t
from mnfpn_cli.store.read import newest
from mnfpn_cli.store.rows import Status
from mnfpn_cli.store.store import Store, parts


@dataclass(frozen=True, slots=True)
class Unwanted:
    """What is to be removed: runs of some statuses, with some keys, and results that newer ones have replaced."""

    statuses: Sequence[Status] = ()
    keys: Sequence[str] = ()
    superseded: bool = False


@dataclass(frozen=True, slots=True)
class Removed:
    """What was removed.

    Attributes:
        runs: that are gone, with all that was measured of them.
        results: that are gone, those of such runs too.
        restored: runs that were to be measured again, and stay as they were measured before.
        busy: runs that are being measured, and stay.
    """

    runs: int = 0
    results: int = 0
    restored: int = 0
    busy: int = 0


def retry_failed(store: Store, sweep: int | None = None) -> int:
    """Make runs that failed pending again, of a sweep or of all, and return how many.

    Raises:
        StoreError: where the store cannot be written.
    """
    failed = update(t.runs).where(t.runs.c.status == "failed")
    if sweep is not None:
        failed = failed.where(t.runs.c.key.in_(select(t.sweep_runs.c.key).where(t.sweep_runs.c.sweep == sweep)))
    return store.write(lambda connection: connection.execute(failed.values(status="pending")).rowcount)


def remove(store: Store, unwanted: Unwanted, pretend: bool = False) -> Removed:
    """Remove what is not wanted; ``pretend``: only say what that would be.

    Runs that are being measured stay. One that is pending and was measured before is no longer pending then; what was
    measured is removed only by key, or with the runs that failed.

    Raises:
        StoreError: where the store cannot be written.
    """

    def change(connection: Connection) -> Removed:
        store.alone(connection)
        return _remove(connection, unwanted)

    return store.rehearse(change) if pretend else store.write(change)


def _remove(connection: Connection, unwanted: Unwanted) -> Removed:
    rows = connection.execute(select(t.runs.c.key, t.runs.c.status, t.runs.c.claimed_by).with_for_update()).all()
    kept = newest(connection, {row.key: row.status for row in rows})
    by_key = set(unwanted.keys)
    chosen = [row for row in rows if row.key in by_key or row.status in unwanted.statuses]
    idle = [row for row in chosen if row.claimed_by is None]
    again = [row.key for row in idle if row.status == "pending" and row.key in kept and row.key not in by_key]
    gone = list({row.key for row in idle} - set(again))
    results = sum(_remove_runs(connection, part) for part in parts(gone))
    for part in parts([kept[key] for key in again]):
        _restore(connection, part)
    if unwanted.superseded:
        results += _remove_old(connection, set(kept.values()))
    connection.execute(delete(t.networks).where(t.networks.c.id.not_in(select(t.runs.c.network))))
    return Removed(len(gone), results, len(again), len(chosen) - len(idle))


def _remove_runs(connection: Connection, keys: Sequence[str]) -> int:
    """Remove runs, and return how many results went with them."""
    connection.execute(delete(t.baselines).where(t.baselines.c.key.in_(keys)))
    connection.execute(delete(t.sweep_runs).where(t.sweep_runs.c.key.in_(keys)))
    results = connection.execute(delete(t.results).where(t.results.c.key.in_(keys))).rowcount
    connection.execute(delete(t.runs).where(t.runs.c.key.in_(keys)))
    return results


def _restore(connection: Connection, results: Sequence[str]) -> None:
    """Give the runs of some results back the status that was measured."""
    for status in ("done", "failed"):
        keys = select(t.results.c.key).where(t.results.c.id.in_(results), t.results.c.status == status)
        connection.execute(update(t.runs).where(t.runs.c.key.in_(keys)).values(status=status))


def _remove_old(connection: Connection, kept: Set[str]) -> int:
    """Remove all results but these, and return how many."""
    old = [id for id in connection.execute(select(t.results.c.id)).scalars() if id not in kept]
    return sum(connection.execute(delete(t.results).where(t.results.c.id.in_(part))).rowcount for part in parts(old))
