"""Read runs with their networks and newest results. Each network is stored once, under the hash of its settings."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, Select, select

from mnfpn_cli.documents.base import KEY_DIGITS
from mnfpn_cli.errors import Problem, UsageError
from mnfpn_cli.plan.rules import plan_outline
from mnfpn_cli.settings.network import NetworkSettings
from mnfpn_cli.settings.problems import SettingsError
from mnfpn_cli.space.planned import gc_paused
from mnfpn_cli.store import rows as t
from mnfpn_cli.store.checks import MEASURED, SETTINGS, DamagedError, check_row
from mnfpn_cli.store.rows import RunStatus, StoredResult, StoredRun, StoredScore, run_from_row
from mnfpn_cli.store.store import BATCH_ROWS, Store, select_by


class Networks:
    """The rows of the networks of runs. Runs that share a settings object share its row, which is computed once."""

    def __init__(self, settings: Iterable[NetworkSettings]) -> None:
        # By identity: hashing settings takes as long as dumping them. They are held here, so that no id is reused.
        self._settings = {id(one): one for one in settings}
        self._rows = {key: _row(one) for key, one in self._settings.items()}

    def id_of(self, settings: NetworkSettings) -> str:
        """Return the id of the network with this settings object."""
        return str(self._rows[id(settings)]["id"])

    def rows(self) -> list[dict[str, Any]]:
        """Return the rows of `mnfpn_networks`, sorted: two sweeps that insert the same rows do not deadlock."""
        return sorted({row["id"]: row for row in self._rows.values()}.values(), key=lambda row: str(row["id"]))


def read_networks(connection: Connection, ids: Sequence[str]) -> dict[str, NetworkSettings]:
    """Return the settings of networks by id.

    Raises:
        DamagedError: where a network is missing, or its settings are invalid.
    """
    rows = select_by(connection, select(t.networks), t.networks.c.id, ids)
    networks = {row.id: _settings(row) for row in rows}
    for missing in (id for id in ids if id not in networks):
        raise DamagedError(f"network {missing[:KEY_DIGITS]}: is missing, but a run refers to it")
    return networks


def _row(settings: NetworkSettings) -> dict[str, Any]:
    dumped = settings.model_dump(mode="json")
    text = json.dumps(dumped, sort_keys=True)
    return {"id": hashlib.sha256(text.encode()).hexdigest()[:32], "settings": dumped}


def _settings(row: Row[Any]) -> NetworkSettings:
    settings = SETTINGS.read(row)
    try:
        plan_outline(settings)
    except SettingsError as error:
        raise DamagedError(f"network {row.id[:KEY_DIGITS]}: settings.{error}") from None
    return settings


SHORTEST_KEY = 4
"""The fewest digits of a key by which a run can be named."""


def read_runs(store: Store, sweep: int | None = None, status: RunStatus | None = None) -> list[StoredRun]:
    """Return the runs of a store sorted by key, or those of a sweep in its order; with ``status``, only those with it.

    Raises:
        StoreError: where the store cannot be read.
    """
    query = select(t.runs).order_by(t.runs.c.key)
    if sweep is not None:
        of_sweep = t.sweep_runs.c.sweep == sweep
        query = select(t.runs).join(t.sweep_runs, t.sweep_runs.c.key == t.runs.c.key).where(of_sweep)
        query = query.order_by(t.sweep_runs.c.position)
    if status is not None:
        query = query.where(t.runs.c.status == status)
    with gc_paused():
        return store.read(lambda connection: _runs(connection, query))


def read_run(store: Store, key: str) -> tuple[StoredRun, list[StoredResult]]:
    """Return a run, given its key or the first digits of it, and all of its results, the oldest first.

    Raises:
        UsageError: where no run, or more than one, matches.
        StoreError: where the store cannot be read.
    """
    full = full_key(store, key)
    query = select(t.results).where(t.results.c.key == full).order_by(t.results.c.finished)

    def find(connection: Connection) -> tuple[list[StoredRun], list[StoredResult]]:
        runs = _runs(connection, select(t.runs).where(t.runs.c.key == full))
        return runs, [_result(row) for row in connection.execute(query)]

    runs, results = store.read(find)
    if not runs:
        raise UsageError(Problem("KEY", f"must be the key of a run in {store.name}", f"'{key}'", ", which was removed"))
    return runs[0], results


def full_key(store: Store, key: str) -> str:
    """Return the key that begins with these digits.

    Raises:
        UsageError: where no run, or more than one, matches.
        StoreError: where the store cannot be read.
    """
    if len(key) < SHORTEST_KEY or not all(sign in "0123456789abcdef" for sign in key):
        raise UsageError(Problem("KEY", f"must be {SHORTEST_KEY} or more of a key's hexadecimal digits", f"'{key}'"))
    query = select(t.runs.c.key).where(t.runs.c.key.startswith(key)).order_by(t.runs.c.key).limit(2)
    keys = store.read(lambda connection: connection.execute(query).scalars().all())
    if not keys:
        hint = ", which matches no run"
        raise UsageError(Problem("KEY", f"must be the key of a run in {store.name}", f"'{key}'", hint))
    if len(keys) > 1:
        hint = f", which matches {keys[0]} and others"
        raise UsageError(Problem("KEY", f"must match one run in {store.name}", f"'{key}'", hint))
    return str(keys[0])


def pending_keys(store: Store, sweep: int) -> Sequence[str]:
    """Return the keys of a sweep's pending runs that no process has claimed, in the order of the sweep.

    Raises:
        StoreError: where the store cannot be read.
    """
    query = (
        select(t.runs.c.key)
        .join(t.sweep_runs, t.sweep_runs.c.key == t.runs.c.key)
        .where(t.sweep_runs.c.sweep == sweep, t.runs.c.status == "pending", t.runs.c.claimed_by.is_(None))
        .order_by(t.sweep_runs.c.position)
    )
    return store.read(lambda connection: connection.execute(query).scalars().all())


def _runs(connection: Connection, query: Select[Any]) -> list[StoredRun]:
    rows = [check_row(row, t.runs) for row in connection.execute(query)]
    networks = read_networks(connection, list({row.network for row in rows}))
    ids = list(newest(connection, {row.key: row.status for row in rows}).values())
    newest_rows = select_by(connection, select(t.results), t.results.c.id, ids)
    results = {row.key: _result(row) for row in newest_rows}
    scores = _scores(connection)
    return [
        run_from_row(
            row,
            networks[row.network],
            results.get(row.key),
            scores.get((row.network, row.height, row.width, row.dtype), {}),
        )
        for row in rows
    ]


_ScoreKey = tuple[str, int, int, str]
"""The id of a network, the height and width of its images, and its dtype."""


def _scores(connection: Connection) -> dict[_ScoreKey, dict[str, StoredScore]]:
    """Return the newest score of each metric, by what it is of."""
    scores = dict[_ScoreKey, dict[str, StoredScore]]()
    for row in connection.execute(select(t.scores).order_by(t.scores.c.date, t.scores.c.id)):
        check_row(row, t.scores)
        of = scores.setdefault((row.network, row.height, row.width, row.dtype), {})
        of[row.metric] = StoredScore(row.metric, row.value, row.source, row.date)
    return scores


def _result(row: Row[Any]) -> StoredResult:
    check_row(row, t.results)
    measured = MEASURED.read(row)
    return StoredResult(row.id, row.sweep, row.status, row.worker, row.started, row.finished, row.reason, measured)


def newest(connection: Connection, statuses: Mapping[str, RunStatus]) -> dict[str, str]:
    """Return the id of each run's newest result with the status of the run, or else of its newest result.

    ``statuses`` are the statuses of the runs by key; runs without a result are left out.
    """
    columns = select(t.results.c.key, t.results.c.status, t.results.c.finished, t.results.c.id)
    few = len(statuses) <= BATCH_ROWS
    rows = select_by(connection, columns, t.results.c.key, list(statuses)) if few else connection.execute(columns)
    best = dict[str, tuple[bool, str, str]]()
    for row in rows:
        if row.key in statuses:
            rank = (row.status == statuses[row.key], row.finished, row.id)
            best[row.key] = max(rank, best.get(row.key, rank))
    return {key: id for key, (_, _, id) in best.items()}
