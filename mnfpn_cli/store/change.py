"""Changes of a store that people ask for: trying again, removing, merging."""

from collections.abc import Sequence

from sqlalchemy import Connection, delete, func, insert, select, update

from mnfpn_cli.store import tables as t
from mnfpn_cli.store.rows import Status
from mnfpn_cli.store.store import Store
from mnfpn_cli.store.sweeps import now

PARTS = 500


def try_again(store: Store, sweep: int | None = None) -> int:
    """Make cells that failed pending again, of a sweep or of all, and return how many.

    Raises:
        StoreError: where the store cannot be written.
    """
    failed = update(t.cells).where(t.cells.c.status == "failed")
    if sweep is not None:
        failed = failed.where(t.cells.c.key.in_(select(t.members.c.key).where(t.members.c.sweep == sweep)))
    return store.write(lambda connection: connection.execute(failed.values(status="pending")).rowcount)


def remove(store: Store, statuses: Sequence[Status], keys: Sequence[str], superseded: bool) -> tuple[int, int]:
    """Remove cells by status or key with all that was measured of them, and results that newer ones have replaced.

    Cells that are being measured stay.

    Returns:
        How many cells, and how many results.

    Raises:
        StoreError: where the store cannot be written.
    """

    def change(connection: Connection) -> tuple[int, int]:
        idle = t.cells.c.claimed_by.is_(None)
        chosen = t.cells.c.status.in_(statuses) | t.cells.c.key.in_(keys)
        gone = connection.execute(select(t.cells.c.key).where(chosen, idle)).scalars().all()
        results = 0
        for start in range(0, len(gone), PARTS):
            part = gone[start : start + PARTS]
            connection.execute(delete(t.references).where(t.references.c.key.in_(part)))
            connection.execute(delete(t.members).where(t.members.c.key.in_(part)))
            results += connection.execute(delete(t.results).where(t.results.c.key.in_(part))).rowcount
            connection.execute(delete(t.cells).where(t.cells.c.key.in_(part)))
        if superseded:
            newest = select(func.max(t.results.c.finished)).where(t.results.c.key == t.cells.c.key).scalar_subquery()
            kept = select(t.results.c.id).join(t.cells).where(t.results.c.finished == newest)
            results += connection.execute(delete(t.results).where(t.results.c.id.not_in(kept))).rowcount
        used = select(t.cells.c.network)
        connection.execute(delete(t.networks).where(t.networks.c.id.not_in(used)))
        return len(gone), results

    return store.write(change)


def merge(store: Store, other: Store) -> int:
    """Copy all that was measured from another store, and return how many results are new here.

    What is here stays; a cell that was measured in one of the two is measured.

    Raises:
        StoreError: where one cannot be read, or the other written.
    """
    tables = (t.networks, t.cells, t.results)
    rows = other.read(
        lambda source: {one: [dict(row._mapping) for row in source.execute(select(one))] for one in tables}
    )
    measured = {row["key"] for row in rows[t.results]}

    def change(connection: Connection) -> int:
        before = connection.execute(select(func.count()).select_from(t.results)).scalar_one()
        plan = {"merged": other.name}
        sweep = connection.execute(
            insert(t.sweeps).values(started=now(), place="", plan=plan).returning(t.sweeps.c.id)
        ).scalar_one()
        copied = {
            t.networks: rows[t.networks],
            t.cells: [{**row, "claimed_by": None, "beat": 0} for row in rows[t.cells] if row["key"] in measured],
            t.results: [{**row, "sweep": sweep} for row in rows[t.results]],
        }
        for table, values in copied.items():
            for start in range(0, len(values), PARTS):
                connection.execute(store.upsert()(table).on_conflict_do_nothing(), values[start : start + PARTS])
        for row in rows[t.results]:
            known = update(t.cells).where(t.cells.c.key == row["key"], t.cells.c.status == "pending")
            connection.execute(known.values(status=row["status"]))
        after: int = connection.execute(select(func.count()).select_from(t.results)).scalar_one()
        return after - before

    return store.write(change)
