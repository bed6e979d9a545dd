"""Merge the results of one store into another, and rescue a result into a file when its store cannot be written."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Table, select, update

from mnfpn_cli.documents.base import KEY_DIGITS
from mnfpn_cli.store import rows as t
from mnfpn_cli.store.checks import DamagedError, check_row_and_json
from mnfpn_cli.store.errors import StoreError
from mnfpn_cli.store.read import Networks
from mnfpn_cli.store.rows import StoredResult, StoredRun, Sweep, result_columns, run_columns, sweep_columns
from mnfpn_cli.store.store import Store, open_store
from mnfpn_cli.store.sweeps import insert_sweep, sweep_by_token
from mnfpn_cli.text import ReportProgress

BATCH_RESULTS = 100
"""Results that are copied in one transaction: one with the times of all layers is tens of kilobytes."""

StoredColumns = Mapping[str, Any]


@dataclass(frozen=True)
class TableRows:
    """Complete rows of one store, by table. Ids of sweeps are those of that store."""

    sweeps: Sequence[StoredColumns]
    networks: Sequence[StoredColumns] = ()
    runs: Sequence[StoredColumns] = ()
    sweep_runs: Sequence[StoredColumns] = ()
    results: Sequence[StoredColumns] = ()
    baselines: Sequence[StoredColumns] = ()
    scores: Sequence[StoredColumns] = ()
    trainings: Sequence[StoredColumns] = ()


def merge_stores(store: Store, other: Store, progress: ReportProgress = lambda _doing, _share: None) -> int:
    """Copy all results, baseline timings and scores from another store; return the number of results that are new here.

    Existing rows stay. A run that is done in either store is done. Results keep their sweep, which is inserted with its
    measured runs unless this store has it. A merge that was interrupted can be repeated.

    Raises:
        StoreError: where the other store cannot be read, or this one cannot be written.
    """
    known = set(store.read(lambda connection: connection.execute(select(t.results.c.id)).scalars().all()))
    theirs = other.read(
        lambda connection: connection.execute(select(t.results.c.id).order_by(t.results.c.finished)).scalars().all()
    )
    new = [id for id in theirs if id not in known]
    for start in range(0, len(new), BATCH_RESULTS):
        progress("merging", start / len(new))
        insert_rows(store, _rows_of_results(other, new[start : start + BATCH_RESULTS]))
    insert_rows(store, other.read(_rows_of_baselines))
    insert_rows(store, other.read(_rows_of_scores))
    return len(new)


def insert_rows(store: Store, rows: TableRows) -> None:
    """Insert rows of another store, with the ids that sweeps have here, and update the status of runs.

    Raises:
        StoreError: where the store cannot be written.
    """

    def change(connection: Connection) -> None:
        store.lock_bulk_changes(connection)
        sweep_ids = {row["id"]: _sweep_id(connection, row) for row in rows.sweeps}
        store.insert_missing(connection, t.networks, sorted(rows.networks, key=lambda row: str(row["id"])))
        store.insert_missing(connection, t.runs, [{**row, "claimed_by": None, "beat": 0} for row in rows.runs])
        store.insert_missing(connection, t.sweep_runs, _with_sweep_ids(rows.sweep_runs, sweep_ids))
        results = [{**row, "sweep": sweep_ids.get(row["sweep"], 0)} for row in rows.results]
        store.insert_missing(connection, t.results, results)
        _update_statuses(connection, rows.results)
        query = select(t.runs.c.key).where(t.runs.c.key.in_([row["key"] for row in rows.baselines]))
        keys = set(connection.execute(query).scalars())
        baselines = [row for row in rows.baselines if row["key"] in keys]
        store.insert_missing(connection, t.baselines, _with_sweep_ids(baselines, sweep_ids))
        store.insert_missing(connection, t.scores, rows.scores)
        store.insert_missing(connection, t.trainings, rows.trainings)
        _update_trainings(connection, rows.trainings)

    store.write(change)


def _with_sweep_ids(rows: Sequence[StoredColumns], sweep_ids: Mapping[int, int]) -> list[StoredColumns]:
    """Return the rows whose sweep is known here, with its id here."""
    return [{**row, "sweep": sweep_ids[row["sweep"]]} for row in rows if row["sweep"] in sweep_ids]


def _sweep_id(connection: Connection, row: StoredColumns) -> int:
    """Return the id that a sweep of another store has here; insert it where it is new."""
    known = sweep_by_token(connection, row["token"])
    columns = {name: value for name, value in row.items() if name != t.sweeps.c.id.name}
    return insert_sweep(connection, columns) if known is None else known


def _update_statuses(connection: Connection, results: Sequence[StoredColumns]) -> None:
    """Update runs to the status of their new results: done replaces failed, and both replace pending."""
    for status, replaced in (("failed", ("pending",)), ("done", ("pending", "failed"))):
        keys = [row["key"] for row in results if row["status"] == status]
        outdated = (t.runs.c.key.in_(keys), t.runs.c.status.in_(replaced))
        connection.execute(update(t.runs).where(*outdated).values(status=status, claimed_by=None))


def _update_trainings(connection: Connection, trainings: Sequence[StoredColumns]) -> None:
    """Update trainings that ended elsewhere: done replaces failed, and both replace pending."""
    for status, replaced in (("failed", ("pending",)), ("done", ("pending", "failed"))):
        for row in (row for row in trainings if row["status"] == status):
            columns = t.trainings.c
            outdated = (columns.key == row["key"], columns.status.in_(replaced), columns.claimed_by.is_(None))
            connection.execute(update(t.trainings).where(*outdated).values(row))


def _rows_of_results(other: Store, ids: Sequence[str]) -> TableRows:
    """Return results and all rows that they refer to."""
    chosen = select(t.results).where(t.results.c.id.in_(ids))
    keys = chosen.with_only_columns(t.results.c.key)
    runs = select(t.runs).where(t.runs.c.key.in_(keys)).order_by(t.runs.c.key)
    networks = runs.with_only_columns(t.runs.c.network).order_by(None)
    sweeps = chosen.with_only_columns(t.results.c.sweep)
    sweep_runs = select(t.sweep_runs).where(t.sweep_runs.c.key.in_(keys), t.sweep_runs.c.sweep.in_(sweeps))

    def read(connection: Connection) -> TableRows:
        rows = TableRows(
            _rows(connection, t.sweeps, select(t.sweeps).where(t.sweeps.c.id.in_(sweeps)).order_by(t.sweeps.c.id)),
            _rows(connection, t.networks, select(t.networks).where(t.networks.c.id.in_(networks))),
            _rows(connection, t.runs, runs),
            _rows(connection, t.sweep_runs, sweep_runs),
            _rows(connection, t.results, chosen),
        )
        _check_references(rows)
        return rows

    return other.read(read)


def _check_references(rows: TableRows) -> None:
    """Check that the runs and networks that rows refer to are among them.

    Raises:
        DamagedError: where a run or a network is missing.
    """
    networks, runs = {row["id"] for row in rows.networks}, {row["key"] for row in rows.runs}
    for row in (row for row in rows.runs if row["network"] not in networks):
        raise DamagedError(f"network {row['network'][:KEY_DIGITS]}: is missing, but a run refers to it")
    for row in (row for row in rows.results if row["key"] not in runs):
        raise DamagedError(f"run {row['key'][:KEY_DIGITS]}: is missing, but a result refers to it")


def _rows_of_baselines(connection: Connection) -> TableRows:
    """Return all baseline timings and their sweeps."""
    sweeps = select(t.sweeps).where(t.sweeps.c.id.in_(select(t.baselines.c.sweep))).order_by(t.sweeps.c.id)
    baselines = _rows(connection, t.baselines, select(t.baselines))
    return TableRows(_rows(connection, t.sweeps, sweeps), baselines=baselines)


def _rows_of_scores(connection: Connection) -> TableRows:
    """Return all scores, the trainings that ended, and the networks that they are of."""
    ended = select(t.trainings).where(t.trainings.c.status != "pending")
    of = select(t.scores.c.network).union(ended.with_only_columns(t.trainings.c.network))
    return TableRows(
        (),
        networks=_rows(connection, t.networks, select(t.networks).where(t.networks.c.id.in_(of))),
        scores=_rows(connection, t.scores, select(t.scores)),
        trainings=[{**row, "claimed_by": None} for row in _rows(connection, t.trainings, ended)],
    )


def _rows(connection: Connection, table: Table, query: Any) -> list[StoredColumns]:
    return [dict(check_row_and_json(row, table)._mapping) for row in connection.execute(query)]


def rescue(error: StoreError, run: StoredRun, result: StoredResult, sweep: Sweep, folder: Path | None = None) -> Path:
    """Write a result that could not be written to its store to a new store, which ``mnfpn runs merge FILE`` merges.

    Args:
        error: the error of writing to its store.
        run: the run that was measured.
        result: the result of that.
        sweep: the sweep that measured it; a merge adds the result to this sweep again.
        folder: the folder of the file; by default the current one.

    Returns:
        The path of the file, which is named after the current second and shared by all results rescued in it.

    Raises:
        StoreError: where the file cannot be written either, with the problems of both; ``error`` is its cause.
    """
    path = (folder or Path()) / f"mnfpn-rescued-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.db"
    networks = Networks([run.settings])
    network = networks.id_of(run.settings)
    rows = TableRows(
        sweeps=[{"id": sweep.id, **sweep_columns(sweep.token, sweep.started, sweep.machine, sweep.plan)}],
        networks=networks.rows(),
        runs=[{**run_columns(run.key, run.planned, run.target_machine, network), "status": result.status}],
        sweep_runs=[{"sweep": sweep.id, "key": run.key, "position": 0}],
        results=[{**result_columns(run.key, result), "sweep": sweep.id}],
    )
    try:
        with open_store(str(path), create=True) as store:
            insert_rows(store, rows)
    except StoreError as second:
        second.within("and the result could not be written to a file either")
        raise StoreError(*error.problems, *second.problems) from error
    return path
