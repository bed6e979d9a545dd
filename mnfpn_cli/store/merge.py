"""What was measured elsewhere, brought into a store; and what waits in a file until its store is back."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Table, select, update

from mnfpn_cli.store import tables as t
from mnfpn_cli.store.damage import DIGITS, DamagedError, wholly_checked
from mnfpn_cli.store.errors import StoreError
from mnfpn_cli.store.read import Networks
from mnfpn_cli.store.rows import Result, StoredCell, Sweep, columns_of, result_columns, sweep_columns
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
    cells: Sequence[Row] = ()
    members: Sequence[Row] = ()
    results: Sequence[Row] = ()
    references: Sequence[Row] = field(default=())


def merge(store: Store, other: Store, progress: Progress = lambda _doing, _share: None) -> int:
    """Copy all that was measured from another store, and return how many results are new here.

    What is here stays; a cell that was measured in one of the two is measured. Results keep their sweep: one that both
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
    bring_in(store, other.read(_references))
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
        store.put(connection, t.cells, [{**row, "claimed_by": None, "beat": 0} for row in parcel.cells])
        members = [row for row in parcel.members if row["sweep"] in here]
        store.put(connection, t.members, [{**row, "sweep": here[row["sweep"]]} for row in members])
        store.put(connection, t.results, [{**row, "sweep": here.get(row["sweep"], 0)} for row in parcel.results])
        _count(connection, parcel.results)
        cells = select(t.cells.c.key).where(t.cells.c.key.in_([row["key"] for row in parcel.references]))
        there = set(connection.execute(cells).scalars())
        times = [row for row in parcel.references if row["key"] in there and row["sweep"] in here]
        store.put(connection, t.references, [{**row, "sweep": here[row["sweep"]]} for row in times])

    store.write(change)


def _sweep(connection: Connection, row: Row) -> int:
    known = sweep_of(connection, row["token"])
    columns = {name: value for name, value in row.items() if name != t.sweeps.c.id.name}
    return new_sweep(connection, columns) if known is None else known


def _count(connection: Connection, results: Sequence[Row]) -> None:
    """Have cells say that they were measured: done counts for more than failed, and that for more than pending."""
    for status, below in (("failed", ("pending",)), ("done", ("pending", "failed"))):
        keys = [row["key"] for row in results if row["status"] == status]
        less = (t.cells.c.key.in_(keys), t.cells.c.status.in_(below))
        connection.execute(update(t.cells).where(*less).values(status=status, claimed_by=None))


def _parcel(other: Store, results: Sequence[str]) -> Parcel:
    """Some results, and all that they need."""
    chosen = select(t.results).where(t.results.c.id.in_(results))
    keys = chosen.with_only_columns(t.results.c.key)
    cells = select(t.cells).where(t.cells.c.key.in_(keys)).order_by(t.cells.c.key)
    networks = cells.with_only_columns(t.cells.c.network).order_by(None)
    sweeps = chosen.with_only_columns(t.results.c.sweep)
    members = select(t.members).where(t.members.c.key.in_(keys), t.members.c.sweep.in_(sweeps))

    def read(connection: Connection) -> Parcel:
        parcel = Parcel(
            _rows(connection, t.sweeps, select(t.sweeps).where(t.sweeps.c.id.in_(sweeps)).order_by(t.sweeps.c.id)),
            _rows(connection, t.networks, select(t.networks).where(t.networks.c.id.in_(networks))),
            _rows(connection, t.cells, cells),
            _rows(connection, t.members, members),
            _rows(connection, t.results, chosen),
        )
        _check_whole(parcel)
        return parcel

    return other.read(read)


def _check_whole(parcel: Parcel) -> None:
    """Make sure that rows have what they refer to.

    Raises:
        DamagedError: where a cell or a network is missing.
    """
    networks, cells = {row["id"] for row in parcel.networks}, {row["key"] for row in parcel.cells}
    for row in (row for row in parcel.cells if row["network"] not in networks):
        raise DamagedError(f"network {row['network'][:DIGITS]}: is missing, and cells are of it")
    for row in (row for row in parcel.results if row["key"] not in cells):
        raise DamagedError(f"cell {row['key'][:DIGITS]}: is missing, and results are of it")


def _references(connection: Connection) -> Parcel:
    sweeps = select(t.sweeps).where(t.sweeps.c.id.in_(select(t.references.c.sweep))).order_by(t.sweeps.c.id)
    times = _rows(connection, t.references, select(t.references))
    return Parcel(_rows(connection, t.sweeps, sweeps), references=times)


def _rows(connection: Connection, table: Table, query: Any) -> list[Row]:
    return [dict(wholly_checked(row, table)._mapping) for row in connection.execute(query)]


def rescue(error: StoreError, cell: StoredCell, result: Result, sweep: Sweep, folder: Path | None = None) -> Path:
    """Put a result that its store would not take into a new store: `mnfpn runs merge FILE` brings it in.

    Args:
        error: why the store would not take it.
        cell: what was measured.
        result: what came of it.
        sweep: that it was measured for; what is merged becomes part of it again.
        folder: for the file; the current one unless given.

    Returns:
        The file, named after the moment; all that is rescued in one second is in one.

    Raises:
        StoreError: where that cannot be written either; the first error is its cause.
    """
    path = (folder or Path()) / f"mnfpn-rescued-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.db"
    networks = Networks([cell.cell.settings])
    network = networks.id_of(cell.cell.settings)
    parcel = Parcel(
        sweeps=[{"id": sweep.id, **sweep_columns(sweep.token, sweep.started, sweep.place, sweep.plan)}],
        networks=networks.rows(),
        cells=[{**columns_of(cell.key, cell.planned, cell.place, network), "status": result.status}],
        members=[{"sweep": sweep.id, "key": cell.key, "position": 0}],
        results=[{**result_columns(cell.key, result), "sweep": sweep.id}],
    )
    try:
        with open_store(str(path), create=True) as store:
            bring_in(store, parcel)
    except StoreError as second:
        second.within("and what was measured could not be put into a file either")
        raise StoreError(*error.problems, *second.problems) from error
    return path
