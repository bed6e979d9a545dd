"""The cells of a store, with their newest results."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Select, select

from mnfpn_cli.errors import UsageError
from mnfpn_cli.settings.models import NetworkSettings
from mnfpn_cli.store import tables as t
from mnfpn_cli.store.rows import Result, Status, StoredCell, cell_of, result_of
from mnfpn_cli.store.store import Store

SHORTEST_KEY = 4


def read_cells(store: Store, sweep: int | None = None, status: Status | None = None) -> list[StoredCell]:
    """The cells of a store, or of one sweep in its order; of one status, or of all.

    Raises:
        StoreError: where the store cannot be read.
    """
    query = select(t.cells).order_by(t.cells.c.key)
    if sweep is not None:
        of_sweep = t.members.c.sweep == sweep
        query = select(t.cells).join(t.members, t.members.c.key == t.cells.c.key).where(of_sweep)
        query = query.order_by(t.members.c.position)
    if status is not None:
        query = query.where(t.cells.c.status == status)
    return store.read(lambda connection: _cells(connection, query))


def read_cell(store: Store, key: str) -> tuple[StoredCell, list[Result]]:
    """A cell by its key, or by the beginning of it, and all results that it has, the oldest first.

    Raises:
        UsageError: where no cell, or more than one, has such a key.
        StoreError: where the store cannot be read.
    """
    if len(key) < SHORTEST_KEY or not all(sign in "0123456789abcdef" for sign in key):
        raise UsageError(f"KEY: must be {SHORTEST_KEY} or more of a key's hexadecimal digits, got '{key}'")
    found = store.read(lambda connection: _cells(connection, select(t.cells).where(t.cells.c.key.startswith(key))))
    if len(found) != 1:
        raise UsageError(f"KEY: must be that of one cell of {store.name}, got '{key}', which {len(found)} have")
    query = select(t.results).where(t.results.c.key == found[0].key).order_by(t.results.c.finished)
    results = store.read(lambda connection: [result_of(row) for row in connection.execute(query)])
    return found[0], results


def pending_keys(store: Store, sweep: int) -> Sequence[str]:
    """What a sweep has left to measure and nobody has claimed, in its order.

    Raises:
        StoreError: where the store cannot be read.
    """
    query = (
        select(t.cells.c.key)
        .join(t.members, t.members.c.key == t.cells.c.key)
        .where(t.members.c.sweep == sweep, t.cells.c.status == "pending", t.cells.c.claimed_by.is_(None))
        .order_by(t.members.c.position)
    )
    return store.read(lambda connection: connection.execute(query).scalars().all())


def _cells(connection: Connection, query: Select[Any]) -> list[StoredCell]:
    rows = connection.execute(query).all()
    networks = dict[str, NetworkSettings]()
    wanted = {row.network for row in rows}
    for row in connection.execute(select(t.networks)):
        if row.id in wanted:
            networks[row.id] = NetworkSettings.model_validate(row.settings)
    newest = {row.key: result_of(row) for row in connection.execute(select(t.results).order_by(t.results.c.finished))}
    return [cell_of(row, networks[row.network], newest.get(row.key)) for row in rows]
