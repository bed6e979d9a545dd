"""What a store knows of sweeps: which there are, what each has to do, what it measures again."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from secrets import token_hex
from typing import Any

from sqlalchemy import Connection, func, insert, select, update

from mnfpn_cli.documents.records import StatusCounts
from mnfpn_cli.documents.sweep import PlanRecord
from mnfpn_cli.settings.execution import LAYERED
from mnfpn_cli.space.planned import Planned
from mnfpn_cli.store import rows as t
from mnfpn_cli.store.errors import PLAN, SAMPLES, checked
from mnfpn_cli.store.read import Networks, newest
from mnfpn_cli.store.rows import Baseline, Sweep, columns_of, sweep_columns
from mnfpn_cli.store.store import Store, parts, select_by


@dataclass(frozen=True, slots=True)
class Remeasure:
    """Which runs are measured again.

    Attributes:
        every: all of them.
        failed: those that failed.
        for_layers: those that were measured for a sweep that did not time layers, though their runtime has some.
    """

    every: bool = False
    failed: bool = False
    for_layers: bool = False


REMEASURE_NONE = Remeasure()


def runs_to_remeasure(connection: Connection, keys: Sequence[str], again: Remeasure) -> list[str]:
    """Those of some runs that a store has a result of, and that are to be measured again."""
    query = select(t.runs.c.key, t.runs.c.status, t.runs.c.runtime).where(t.runs.c.status != "pending")
    rows = list(select_by(connection, query, t.runs.c.key, keys))
    if again.every:
        return [row.key for row in rows]
    found = [row.key for row in rows if again.failed and row.status == "failed"]
    if again.for_layers:
        found += _without_layers(connection, [r.key for r in rows if r.status == "done" and r.runtime in LAYERED])
    return found


def make_pending(connection: Connection, keys: Sequence[str]) -> None:
    """Have runs measured again, but for those that somebody measures right now."""
    for part in parts(keys):
        free = (t.runs.c.key.in_(part), t.runs.c.claimed_by.is_(None))
        connection.execute(update(t.runs).where(*free).values(status="pending"))


def _without_layers(connection: Connection, keys: Sequence[str]) -> list[str]:
    """Those of some runs whose newest result is of a sweep that did not ask for layers."""
    timed = {row.id for row in connection.execute(select(t.sweeps)) if PLAN.read(row).measuring.by_layer}
    ids = list(newest(connection, dict.fromkeys(keys, "done")).values())
    rows = select_by(connection, select(t.results.c.key, t.results.c.id, t.results.c.sweep), t.results.c.id, ids)
    return [row.key for row in rows if row.sweep not in timed]


def now() -> str:
    """UTC in ISO 8601, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def add_sweep(
    store: Store, plan: PlanRecord, machine: str, runs: Sequence[tuple[str, Planned]], again: Remeasure = REMEASURE_NONE
) -> int:
    """Put down what is to be measured, in order, and return the sweep's number; runs that are there stay as they are.

    Args:
        store: where.
        plan: what was asked for.
        machine: the kind of machine that the runs are for.
        runs: each with its key.
        again: which runs that were measured become pending again; what was measured stays, too.

    Raises:
        StoreError: where the store cannot be written.
    """
    columns = sweep_columns(token_hex(16), now(), machine, plan)
    networks = Networks(planned.run.settings for _, planned in runs)
    # In the order of their keys: two sweeps that write the same rows do not wait for each other then.
    rows = [columns_of(key, one, machine, networks.id_of(one.run.settings)) for key, one in sorted(runs, key=_key)]
    keys = [key for key, _ in runs]

    def change(connection: Connection) -> int:
        store.alone(connection)
        known = sweep_of(connection, columns["token"])
        if known is not None:
            return known  # the commit before this try had come through
        store.put(connection, t.networks, networks.rows())
        store.put(connection, t.runs, rows)
        make_pending(connection, runs_to_remeasure(connection, keys, again))
        sweep = new_sweep(connection, columns)
        store.put(connection, t.sweep_runs, [{"sweep": sweep, "key": key, "position": i} for i, key in enumerate(keys)])
        store.look_at(connection, t.runs, t.sweep_runs)
        return sweep

    return store.write(change)


def new_sweep(connection: Connection, columns: Mapping[str, Any]) -> int:
    """Put a sweep down without any runs, and return its number."""
    number: int = connection.execute(insert(t.sweeps).values(columns).returning(t.sweeps.c.id)).scalar_one()
    return number


def sweep_of(connection: Connection, token: str) -> int | None:
    """The number of a sweep that a store has already: the same one, whatever its number elsewhere."""
    query = select(t.sweeps.c.id).where(t.sweeps.c.token == token).order_by(t.sweeps.c.id)
    return connection.execute(query).scalars().first()


def _key(run: tuple[str, Planned]) -> str:
    return run[0]


def sweeps(store: Store) -> list[Sweep]:
    """All sweeps, the oldest first.

    Raises:
        StoreError: where the store cannot be read.
    """
    count = (
        select(t.sweep_runs.c.sweep, t.runs.c.status, func.count().label("runs"))
        .join(t.runs, t.runs.c.key == t.sweep_runs.c.key)
        .group_by(t.sweep_runs.c.sweep, t.runs.c.status)
    )

    def query(connection: Connection) -> list[Sweep]:
        counts = defaultdict[int, dict[str, int]](dict)
        for row in connection.execute(count):
            counts[row.sweep][row.status] = row.runs
        rows = [checked(row, t.sweeps) for row in connection.execute(select(t.sweeps).order_by(t.sweeps.c.id))]
        return [
            Sweep(row.id, row.token, row.started, row.machine, PLAN.read(row), StatusCounts(**counts[row.id]))
            for row in rows
        ]

    return store.read(query)


def add_baseline(store: Store, baseline: Baseline) -> None:
    """Put down a time of a baseline run.

    Raises:
        StoreError: where the store cannot be written.
    """
    row = {**vars(baseline), "samples": list(baseline.samples)}
    there = select(t.runs.c.key).where(t.runs.c.key == baseline.key).with_for_update(read=True)

    def change(connection: Connection) -> None:
        if connection.execute(there).first():  # else it was removed meanwhile
            store.put(connection, t.baselines, [row])

    store.write(change)


def baselines(store: Store) -> list[Baseline]:
    """The times of all baseline runs, the oldest first.

    Raises:
        StoreError: where the store cannot be read.
    """
    query = select(t.baselines).order_by(t.baselines.c.finished)

    def read(connection: Connection) -> list[Baseline]:
        rows = [checked(row, t.baselines) for row in connection.execute(query)]
        return [Baseline(row.id, row.sweep, row.key, row.worker, row.finished, SAMPLES.read(row)) for row in rows]

    return store.read(read)
