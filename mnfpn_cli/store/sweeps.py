"""Insert and read sweeps and their baseline timings, and find the runs that a sweep measures again."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from secrets import token_hex
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select, update

from mnfpn_cli.documents.records import StatusCounts
from mnfpn_cli.documents.sweep import PlanRecord
from mnfpn_cli.settings.measuring import PASSES
from mnfpn_cli.space.planned import Planned
from mnfpn_cli.space.runs import Execution
from mnfpn_cli.store import rows as t
from mnfpn_cli.store.checks import PLAN, SAMPLES, check_row
from mnfpn_cli.store.read import Networks, newest
from mnfpn_cli.store.rows import BaselineTiming, Sweep, run_columns, sweep_columns
from mnfpn_cli.store.store import Store, batches, select_by


@dataclass(frozen=True, slots=True)
class Remeasure:
    """Which of the runs that already have a result a sweep measures again.

    Attributes:
        every: all runs.
        failed: runs that failed.
        for_layers: runs without layer times because their sweep did not ask for them, where the runtime has layers.
    """

    every: bool = False
    failed: bool = False
    for_layers: bool = False


REMEASURE_NONE = Remeasure()


def runs_to_remeasure(connection: Connection, keys: Sequence[str], remeasure: Remeasure) -> list[str]:
    """Return the keys of the runs that are not pending and are to be measured again."""
    query = select(t.runs.c.key, t.runs.c.status, t.runs.c.runtime, t.runs.c.passes).where(t.runs.c.status != "pending")
    rows = list(select_by(connection, query, t.runs.c.key, keys))
    if remeasure.every:
        return [row.key for row in rows]
    chosen = [row.key for row in rows if remeasure.failed and row.status == "failed"]
    if remeasure.for_layers:
        layered = [row.key for row in rows if row.status == "done" and _execution(row).has_layers]
        chosen += _without_layers(connection, layered)
    return chosen


def _execution(row: Row[Any]) -> Execution:
    return Execution(runtime=row.runtime, train=row.passes == PASSES[True])


def mark_pending(connection: Connection, keys: Sequence[str]) -> None:
    """Make runs pending, except those that a process has claimed."""
    for batch in batches(keys):
        free = (t.runs.c.key.in_(batch), t.runs.c.claimed_by.is_(None))
        connection.execute(update(t.runs).where(*free).values(status="pending"))


def _without_layers(connection: Connection, keys: Sequence[str]) -> list[str]:
    """Return the keys of the runs whose newest result is of a sweep that did not time layers."""
    by_layer = {row.id for row in connection.execute(select(t.sweeps)) if PLAN.read(row).measuring.by_layer}
    ids = list(newest(connection, dict.fromkeys(keys, "done")).values())
    rows = select_by(connection, select(t.results.c.key, t.results.c.id, t.results.c.sweep), t.results.c.id, ids)
    return [row.key for row in rows if row.sweep not in by_layer]


def now() -> str:
    """Return the current moment in UTC, ISO 8601 with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def add_sweep(
    store: Store,
    plan: PlanRecord,
    machine: str,
    runs: Sequence[tuple[str, Planned]],
    remeasure: Remeasure = REMEASURE_NONE,
) -> int:
    """Insert a sweep and its runs, in their order; return the sweep's id. Existing runs are reused.

    Args:
        store: the store to insert into.
        plan: the space, the choice of runs, and how each is measured.
        machine: the kind of machine that is to measure the runs.
        runs: each run with its key.
        remeasure: which existing runs become pending again; their results stay.

    Raises:
        StoreError: where the store cannot be written.
    """
    columns = sweep_columns(token_hex(16), now(), machine, plan)
    networks = Networks(planned.run.settings for _, planned in runs)
    # Sorted: two sweeps that insert the same rows in the same order do not deadlock.
    rows = [
        run_columns(key, planned, machine, networks.id_of(planned.run.settings))
        for key, planned in sorted(runs, key=lambda run: run[0])
    ]
    keys = [key for key, _ in runs]

    def change(connection: Connection) -> int:
        store.lock_bulk_changes(connection)
        known = sweep_by_token(connection, columns["token"])
        if known is not None:
            return known  # an earlier attempt was committed
        store.insert_missing(connection, t.networks, networks.rows())
        store.insert_missing(connection, t.runs, rows)
        mark_pending(connection, runs_to_remeasure(connection, keys, remeasure))
        sweep = insert_sweep(connection, columns)
        links = [{"sweep": sweep, "key": key, "position": index} for index, key in enumerate(keys)]
        store.insert_missing(connection, t.sweep_runs, links)
        store.analyze(connection, t.runs, t.sweep_runs)
        return sweep

    return store.write(change)


def insert_sweep(connection: Connection, columns: Mapping[str, Any]) -> int:
    """Insert a sweep without runs; return its id."""
    number: int = connection.execute(insert(t.sweeps).values(columns).returning(t.sweeps.c.id)).scalar_one()
    return number


def sweep_by_token(connection: Connection, token: str) -> int | None:
    """Return the id of the sweep with this token; None where the store has no such sweep."""
    query = select(t.sweeps.c.id).where(t.sweeps.c.token == token).order_by(t.sweeps.c.id)
    return connection.execute(query).scalars().first()


def read_sweeps(store: Store) -> list[Sweep]:
    """Return all sweeps, the oldest first.

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
        rows = [check_row(row, t.sweeps) for row in connection.execute(select(t.sweeps).order_by(t.sweeps.c.id))]
        return [
            Sweep(row.id, row.token, row.started, row.machine, PLAN.read(row), StatusCounts(**counts[row.id]))
            for row in rows
        ]

    return store.read(query)


def add_baseline(store: Store, baseline: BaselineTiming) -> None:
    """Insert a baseline timing, unless its run was removed.

    Raises:
        StoreError: where the store cannot be written.
    """
    row = {**vars(baseline), "samples": list(baseline.samples)}
    run = select(t.runs.c.key).where(t.runs.c.key == baseline.key).with_for_update(read=True)

    def change(connection: Connection) -> None:
        if connection.execute(run).first():
            store.insert_missing(connection, t.baselines, [row])

    store.write(change)


def read_baselines(store: Store) -> list[BaselineTiming]:
    """Return all baseline timings, the oldest first.

    Raises:
        StoreError: where the store cannot be read.
    """
    query = select(t.baselines).order_by(t.baselines.c.finished)

    def read(connection: Connection) -> list[BaselineTiming]:
        rows = [check_row(row, t.baselines) for row in connection.execute(query)]
        return [BaselineTiming(row.id, row.sweep, row.key, row.worker, row.finished, SAMPLES.read(row)) for row in rows]

    return store.read(read)
