"""What a store knows of sweeps: which there are, what each has to do, what it measures again."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from secrets import token_hex
from typing import Any

from sqlalchemy import Connection, func, insert, select, update

from mnfpn_cli.documents.costs import StatusCounts
from mnfpn_cli.documents.sweep import PlanRecord
from mnfpn_cli.settings.execution import LAYERED
from mnfpn_cli.space.planned import Planned
from mnfpn_cli.store import tables as t
from mnfpn_cli.store.damage import PLAN, SAMPLES, checked
from mnfpn_cli.store.read import Networks, newest
from mnfpn_cli.store.rows import Reference, Sweep, columns_of, sweep_columns
from mnfpn_cli.store.store import Store, parts, select_by


@dataclass(frozen=True, slots=True)
class Again:
    """Which cells are measured again.

    Attributes:
        every: all of them.
        failed: those that failed.
        for_layers: those that were measured for a sweep that did not time layers, though their runtime has some.
    """

    every: bool = False
    failed: bool = False
    for_layers: bool = False


NOT_AGAIN = Again()


def measured_again(connection: Connection, keys: Sequence[str], again: Again) -> list[str]:
    """Those of some cells that a store has a result of, and that are to be measured again."""
    query = select(t.cells.c.key, t.cells.c.status, t.cells.c.runtime).where(t.cells.c.status != "pending")
    rows = list(select_by(connection, query, t.cells.c.key, keys))
    if again.every:
        return [row.key for row in rows]
    found = [row.key for row in rows if again.failed and row.status == "failed"]
    if again.for_layers:
        found += _without_layers(connection, [r.key for r in rows if r.status == "done" and r.runtime in LAYERED])
    return found


def make_pending(connection: Connection, keys: Sequence[str]) -> None:
    """Have cells measured again, but for those that somebody measures right now."""
    for part in parts(keys):
        free = (t.cells.c.key.in_(part), t.cells.c.claimed_by.is_(None))
        connection.execute(update(t.cells).where(*free).values(status="pending"))


def _without_layers(connection: Connection, keys: Sequence[str]) -> list[str]:
    """Those of some cells whose newest result is of a sweep that did not ask for layers."""
    timed = {row.id for row in connection.execute(select(t.sweeps)) if PLAN.read(row).how.by_layer}
    ids = list(newest(connection, dict.fromkeys(keys, "done")).values())
    rows = select_by(connection, select(t.results.c.key, t.results.c.id, t.results.c.sweep), t.results.c.id, ids)
    return [row.key for row in rows if row.sweep not in timed]


def now() -> str:
    """UTC in ISO 8601, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def add_sweep(
    store: Store, plan: PlanRecord, place: str, cells: Sequence[tuple[str, Planned]], again: Again = NOT_AGAIN
) -> int:
    """Put down what is to be measured, in order, and return the sweep's number; cells that are there stay as they are.

    Args:
        store: where.
        plan: what was asked for.
        place: the kind of machine that the cells are for.
        cells: each with its key.
        again: which cells that were measured become pending again; what was measured stays, too.

    Raises:
        StoreError: where the store cannot be written.
    """
    columns = sweep_columns(token_hex(16), now(), place, plan)
    networks = Networks(planned.cell.settings for _, planned in cells)
    # In the order of their keys: two sweeps that write the same rows do not wait for each other then.
    rows = [columns_of(key, one, place, networks.id_of(one.cell.settings)) for key, one in sorted(cells, key=_key)]
    keys = [key for key, _ in cells]

    def change(connection: Connection) -> int:
        store.alone(connection)
        known = sweep_of(connection, columns["token"])
        if known is not None:
            return known  # the commit before this try had come through
        store.put(connection, t.networks, networks.rows())
        store.put(connection, t.cells, rows)
        make_pending(connection, measured_again(connection, keys, again))
        sweep = new_sweep(connection, columns)
        store.put(connection, t.members, [{"sweep": sweep, "key": key, "position": i} for i, key in enumerate(keys)])
        store.look_at(connection, t.cells, t.members)
        return sweep

    return store.write(change)


def new_sweep(connection: Connection, columns: Mapping[str, Any]) -> int:
    """Put a sweep down without any cells, and return its number."""
    number: int = connection.execute(insert(t.sweeps).values(columns).returning(t.sweeps.c.id)).scalar_one()
    return number


def sweep_of(connection: Connection, token: str) -> int | None:
    """The number of a sweep that a store has already: the same one, whatever its number elsewhere."""
    query = select(t.sweeps.c.id).where(t.sweeps.c.token == token).order_by(t.sweeps.c.id)
    return connection.execute(query).scalars().first()


def _key(cell: tuple[str, Planned]) -> str:
    return cell[0]


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
        rows = [checked(row, t.sweeps) for row in connection.execute(select(t.sweeps).order_by(t.sweeps.c.id))]
        return [
            Sweep(row.id, row.token, row.started, row.place, PLAN.read(row), StatusCounts(**counts[row.id]))
            for row in rows
        ]

    return store.read(query)


def add_reference(store: Store, reference: Reference) -> None:
    """Put down a time of a reference cell.

    Raises:
        StoreError: where the store cannot be written.
    """
    row = {**vars(reference), "samples": list(reference.samples)}
    there = select(t.cells.c.key).where(t.cells.c.key == reference.key).with_for_update(read=True)

    def change(connection: Connection) -> None:
        if connection.execute(there).first():  # else it was removed meanwhile
            store.put(connection, t.references, [row])

    store.write(change)


def references(store: Store) -> list[Reference]:
    """The times of all reference cells, the oldest first.

    Raises:
        StoreError: where the store cannot be read.
    """
    query = select(t.references).order_by(t.references.c.finished)

    def read(connection: Connection) -> list[Reference]:
        rows = [checked(row, t.references) for row in connection.execute(query)]
        return [Reference(row.id, row.sweep, row.key, row.node, row.finished, SAMPLES.read(row)) for row in rows]

    return store.read(read)
