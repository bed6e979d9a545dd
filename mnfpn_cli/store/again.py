"""Which cells are measured again though a store has a result of them: what was measured stays."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, select, update

from mnfpn_cli.settings.measuring import LAYERED
from mnfpn_cli.store import tables as t
from mnfpn_cli.store.read import newest
from mnfpn_cli.store.rows import by_layer
from mnfpn_cli.store.store import parts, select_by


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
    timed = {row.id for row in connection.execute(select(t.sweeps.c.id, t.sweeps.c.plan)) if by_layer(row.plan)}
    ids = list(newest(connection, dict.fromkeys(keys, "done")).values())
    rows = select_by(connection, select(t.results.c.key, t.results.c.id, t.results.c.sweep), t.results.c.id, ids)
    return [row.key for row in rows if row.sweep not in timed]
