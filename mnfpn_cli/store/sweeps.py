"""What a store knows of sweeps: which there are, what each has to do, and its reference cell's times."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, func, insert, select, update

from mnfpn_cli.space.planned import Planned
from mnfpn_cli.store import tables as t
from mnfpn_cli.store.rows import Reference, Sweep, columns_of
from mnfpn_cli.store.store import Store

AT_ONCE = 1000
"""Rows in one statement: servers have limits."""


def now() -> str:
    """UTC in ISO 8601, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def add_sweep(
    store: Store, plan: Mapping[str, Any], place: str, cells: Sequence[tuple[str, Planned]], again: bool = False
) -> int:
    """Put down what is to be measured, in order, and return the sweep's number; cells that are there stay as they are.

    Args:
        store: where.
        plan: what was asked for.
        place: the kind of machine that the cells are for.
        cells: each with its key.
        again: whether cells that were measured become pending again; what was measured stays, too.

    Raises:
        StoreError: where the store cannot be written.
    """
    started = now()

    def change(connection: Connection) -> int:
        sweep: int = connection.execute(
            insert(t.sweeps).values(started=started, place=place, plan=dict(plan)).returning(t.sweeps.c.id)
        ).scalar_one()
        for part in _parts(cells):
            networks = {_network_id(planned): planned.cell.settings.model_dump(mode="json") for _, planned in part}
            rows = [columns_of(key, planned, place, _network_id(planned)) for key, planned in part]
            _put(store, connection, t.networks, [{"id": key, "settings": one} for key, one in networks.items()])
            _put(store, connection, t.cells, rows)
            if again:
                keys = [key for key, _ in part]
                connection.execute(
                    update(t.cells)
                    .where(t.cells.c.key.in_(keys), t.cells.c.claimed_by.is_(None))
                    .values(status="pending")
                )
        members = [{"sweep": sweep, "key": key, "position": index} for index, (key, _) in enumerate(cells)]
        for part in _parts(members):
            connection.execute(insert(t.members), list(part))
        return sweep

    return store.write(change)


def sweeps(store: Store) -> list[Sweep]:
    """All sweeps, the oldest first.

    Raises:
        StoreError: where the store cannot be read.
    """
    count = (
        select(t.members.c.sweep, t.cells.c.status, func.count().label("cells"))
        .join(t.cells, t.cells.c.key == t.members.c.key)
        .group_by(t.members.c.sweep, t.cells.c.status)
    )

    def query(connection: Connection) -> list[Sweep]:
        counts = defaultdict[int, dict[str, int]](dict)
        for row in connection.execute(count):
            counts[row.sweep][row.status] = row.cells
        rows = connection.execute(select(t.sweeps).order_by(t.sweeps.c.id))
        return [Sweep(row.id, row.started, row.place, row.plan, counts[row.id]) for row in rows]

    return store.read(query)


def add_reference(store: Store, reference: Reference) -> None:
    """Put down a time of a reference cell.

    Raises:
        StoreError: where the store cannot be written.
    """
    row = {**vars(reference), "samples": list(reference.samples)}
    store.write(lambda connection: _put(store, connection, t.references, [row]))


def references(store: Store) -> list[Reference]:
    """The times of all reference cells, the oldest first.

    Raises:
        StoreError: where the store cannot be read.
    """
    query = select(t.references).order_by(t.references.c.finished)
    rows = store.read(lambda connection: connection.execute(query).all())
    return [Reference(row.id, row.sweep, row.key, row.node, row.finished, tuple(row.samples)) for row in rows]


def _network_id(planned: Planned) -> str:
    text = json.dumps(planned.cell.settings.model_dump(mode="json"), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _put(store: Store, connection: Connection, table: Any, rows: Iterable[Mapping[str, Any]]) -> None:
    """Insert rows; those that are there stay as they are."""
    connection.execute(store.upsert()(table).on_conflict_do_nothing(), list(rows))


def _parts(items: Sequence[Any]) -> Iterable[Sequence[Any]]:
    return (items[start : start + AT_ONCE] for start in range(0, len(items), AT_ONCE))
