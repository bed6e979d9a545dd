"""What was measured elsewhere, brought into a store; and what waits in a file until its store is back."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Table, select, update

from mnfpn_cli.store import rows as t
from mnfpn_cli.store.errors import DIGITS, DamagedError, StoreError, wholly_checked
from mnfpn_cli.store.read import Networks
from mnfpn_cli.store.rows import Result, StoredRun, Sweep, columns_of, result_columns, sweep_columns
from mnfpn_cli.store.store import Store, open_store
from mnfpn_cli.store.sweeps import new_sweep, sweep_of

PART = 100
"""Results that are carried at once: with the times of all layers, one is tens of kilobytes."""

Progress = Callable[[str, float], None]
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Parcel:
    """Rows as the tables have them: whole, so that they can be put into another store."""

    sweeps: Sequence[Row]
    networks: Sequence[Row] = ()
    runs: Sequence[Row] = ()
    sweep_runs: Sequence[Row] = ()
    results: Sequence[Row] = ()
    baselines: Sequence[Row] = field(default=())


def merge(store: Store, other: Store, progress: Progress = lambda _doing, _share: None) -> int:
    """Copy all that was measured from another store, and return how many results are new here.

    What is here stays; a run that was measured in one of the two is measured. Results keep their sweep: one that both
    stores know is one, any other becomes one of this store, with what it has measured. Broken off in the middle, it can
    be done again.

    Raises:
        StoreError: where one cannot be read, or the other written.
    """
    known = set(store.read(lambda connection: connection.execute(select(t.results.c.id)).scalars().all()))
    theirs = other.read(
        lambda connection: connection.execute(select(t.results.c.id).order_by(t.results.c.finished)).scalars().all()
    )
    new = [one for one in theirs if one not in known]
    for start in range(0, len(new), PART):
        progress("merging", start / len(new))
        bring_in(store, _parcel(other, new[start : start + PART]))
    bring_in(store, other.read(_baselines))
    return len(new)


def bring_in(store: Store, parcel: Parcel) -> None:
    """Put rows of another store into this one.

    Raises:
        StoreError: where it cannot be written.
    """

    def change(connection: Connection) -> None:
        store.alone(connection)
        here = {row["id"]: _sweep(connection, row) for row in parcel.sweeps}
        store.put(connection, t.networks, sorted(parcel.networks, key=lambda row: str(row["id"])))
        store.put(connection, t.runs, [{**row, "claimed_by": None, "beat": 0} for row in parcel.runs])
        sweep_runs = [row for row in parcel.sweep_runs if row["sweep"] in here]
        store.put(connection, t.sweep_runs, [{**row, "sweep": here[row["sweep"]]} for row in sweep_runs])
        store.put(connection, t.results, [{**row, "sweep": here.get(row["sweep"], 0)} for row in parcel.results])
        _count(connection, parcel.results)
        runs = select(t.runs.c.key).where(t.runs.c.key.in_([row["key"] for row in parcel.baselines]))
        there = set(connection.execute(runs).scalars())
        times = [row for row in parcel.baselines if row["key"] in there and row["sweep"] in here]
        store.put(connection, t.baselines, [{**row, "sweep": here[row["sweep"]]} for row in times])

    store.write(change)


def _sweep(connection: Connection, row: Row) -> int:
    known = sweep_of(connection, row["token"])
    columns = {name: value for name, value in row.items() if name != t.sweeps.c.id.name}
    return new_sweep(connection, columns) if known is None else known


def _count(connection: Connection, results: Sequence[Row]) -> None:
    """Have runs say that they were measured: done counts for more than failed, and that for more than pending."""
    for status, below in (("failed", ("pending",)), ("done", ("pending", "failed"))):
        keys = [row["key"] for row in results if row["status"] == status]
        less = (t.runs.c.key.in_(keys), t.runs.c.status.in_(below))
        connection.execute(update(t.runs).where(*less).values(status=status, claimed_by=None))


def _parcel(other: Store, results: Sequence[str]) -> Parcel:
    """Some results, and all that they need."""
    chosen = select(t.results).where(t.results.c.id.in_(results))
    keys = chosen.with_only_columns(t.results.c.key)
    runs = select(t.runs).where(t.runs.c.key.in_(keys)).order_by(t.runs.c.key)
    networks = runs.with_only_columns(t.runs.c.network).order_by(None)
    sweeps = chosen.with_only_columns(t.results.c.sweep)
    sweep_runs = select(t.sweep_runs).where(t.sweep_runs.c.key.in_(keys), t.sweep_runs.c.sweep.in_(sweeps))

    def read(connection: Connection) -> Parcel:
        parcel = Parcel(
            _rows(connection, t.sweeps, select(t.sweeps).where(t.sweeps.c.id.in_(sweeps)).order_by(t.sweeps.c.id)),
            _rows(connection, t.networks, select(t.networks).where(t.networks.c.id.in_(networks))),
            _rows(connection, t.runs, runs),
            _rows(connection, t.sweep_runs, sweep_runs),
            _rows(connection, t.results, chosen),
        )
        _check_whole(parcel)
        return parcel

    return other.read(read)


def _check_whole(parcel: Parcel) -> None:
    """Make sure that rows have what they refer to.

    Raises:
        DamagedError: where a run or a network is missing.
    """
    networks, runs = {row["id"] for row in parcel.networks}, {row["key"] for row in parcel.runs}
    for row in (row for row in parcel.runs if row["network"] not in networks):
        raise DamagedError(f"network {row['network'][:DIGITS]}: is missing, and runs are of it")
    for row in (row for row in parcel.results if row["key"] not in runs):
        raise DamagedError(f"run {row['key'][:DIGITS]}: is missing, and results are of it")


def _baselines(connection: Connection) -> Parcel:
    sweeps = select(t.sweeps).where(t.sweeps.c.id.in_(select(t.baselines.c.sweep))).order_by(t.sweeps.c.id)
    times = _rows(connection, t.baselines, select(t.baselines))
    return Parcel(_rows(connection, t.sweeps, sweeps), baselines=times)


def _rows(connection: Connection, table: Table, query: Any) -> list[Row]:
    return [dict(wholly_checked(row, table)._mapping) for row in connection.execute(query)]


def rescue(error: StoreError, run: StoredRun, result: Result, sweep: Sweep, folder: Path | None = None) -> Path:
    """Put a result that its store would not take into a new store: `mnfpn runs merge FILE` brings it in.

    Args:
        error: why the store would not take it.
        run: what was measured.
        result: what came of it.
        sweep: that it was measured for; what is merged becomes part of it again.
        folder: for the file; the current one unless given.

    Returns:
        The file, named after the moment; all that is rescued in one second is in one.

    Raises:
        StoreError: where that cannot be written either; the first error is its cause.
    """
    path = (folder or Path()) / f"mnfpn-rescued-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.db"
    networks = Networks([run.settings])
    network = networks.id_of(run.settings)
    parcel = Parcel(
        sweeps=[{"id": sweep.id, **sweep_columns(sweep.token, sweep.started, sweep.machine, sweep.plan)}],
        networks=networks.rows(),
        runs=[{**columns_of(run.key, run.planned, run.target_machine, network), "status": result.status}],
        sweep_runs=[{"sweep": sweep.id, "key": run.key, "position": 0}],
        results=[{**result_columns(run.key, result), "sweep": sweep.id}],
    )
    try:
        with open_store(str(path), create=True) as store:
            bring_in(store, parcel)
    except StoreError as second:
        second.within("and what was measured could not be put into a file either")
        raise StoreError(*error.problems, *second.problems) from error
    return path
