"""The runs of a store: their networks, each kept once under its hash, and their newest results."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, Select, select

from mnfpn_cli.errors import Problem, UsageError
from mnfpn_cli.plan.levels import plan_outline
from mnfpn_cli.settings.network import NetworkSettings
from mnfpn_cli.settings.problems import SettingsError
from mnfpn_cli.space.planned import gc_paused
from mnfpn_cli.store import rows as t
from mnfpn_cli.store.errors import DIGITS, MEASURED, SETTINGS, DamagedError, checked
from mnfpn_cli.store.rows import Result, Status, StoredRun, run_of
from mnfpn_cli.store.store import AT_ONCE, Store, select_by


class Networks:
    """The settings of some runs, each worked out once: runs of a space share them."""

    def __init__(self, settings: Iterable[NetworkSettings]) -> None:
        # By identity: to hash settings takes as long as to write them down. They are kept, so that no other gets their
        # identity.
        self._all = {id(one): one for one in settings}
        self._rows = {key: _row(one) for key, one in self._all.items()}

    def id_of(self, settings: NetworkSettings) -> str:
        """The identifier of one of them."""
        return str(self._rows[id(settings)]["id"])

    def rows(self) -> list[dict[str, Any]]:
        """What `mnfpn_networks` has of them: in order, as two sweeps that write the same wait for each other then."""
        return sorted({row["id"]: row for row in self._rows.values()}.values(), key=lambda row: str(row["id"]))


def read_networks(connection: Connection, wanted: Sequence[str]) -> dict[str, NetworkSettings]:
    """The networks of some identifiers.

    Raises:
        DamagedError: where one is no network, or missing.
    """
    rows = select_by(connection, select(t.networks), t.networks.c.id, wanted)
    found = {row.id: _settings(row) for row in rows}
    for missing in (one for one in wanted if one not in found):
        raise DamagedError(f"network {missing[:DIGITS]}: is missing, and runs are of it")
    return found


def _row(settings: NetworkSettings) -> dict[str, Any]:
    said = settings.model_dump(mode="json")
    text = json.dumps(said, sort_keys=True)
    return {"id": hashlib.sha256(text.encode()).hexdigest()[:32], "settings": said}


def _settings(row: Row[Any]) -> NetworkSettings:
    settings = SETTINGS.read(row)
    try:
        plan_outline(settings)
    except SettingsError as error:
        raise DamagedError(f"network {row.id[:DIGITS]}: settings.{error}") from None
    return settings


SHORTEST_KEY = 4


def read_runs(store: Store, sweep: int | None = None, status: Status | None = None) -> list[StoredRun]:
    """The runs of a store, or of one sweep in its order; of one status, or of all.

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


def read_run(store: Store, key: str) -> tuple[StoredRun, list[Result]]:
    """A run by its key, or by the beginning of it, and all results that it has, the oldest first.

    Raises:
        UsageError: where no run, or more than one, has such a key.
        StoreError: where the store cannot be read.
    """
    whole = full_key(store, key)
    query = select(t.results).where(t.results.c.key == whole).order_by(t.results.c.finished)

    def find(connection: Connection) -> tuple[list[StoredRun], list[Result]]:
        runs = _runs(connection, select(t.runs).where(t.runs.c.key == whole))
        return runs, [_result(row) for row in connection.execute(query)]

    runs, results = store.read(find)
    if not runs:
        raise UsageError(Problem("KEY", f"must be that of a run of {store.name}", f"'{key}'", ", which was removed"))
    return runs[0], results


def full_key(store: Store, key: str) -> str:
    """The key of the one run whose key begins so.

    Raises:
        UsageError: where no run, or more than one, has such a key.
        StoreError: where the store cannot be read.
    """
    if len(key) < SHORTEST_KEY or not all(sign in "0123456789abcdef" for sign in key):
        raise UsageError(Problem("KEY", f"must be {SHORTEST_KEY} or more of a key's hexadecimal digits", f"'{key}'"))
    query = select(t.runs.c.key).where(t.runs.c.key.startswith(key)).order_by(t.runs.c.key).limit(2)
    found = store.read(lambda connection: connection.execute(query).scalars().all())
    if not found:
        raise UsageError(Problem("KEY", f"must be that of a run of {store.name}", f"'{key}'", ", which none has"))
    if len(found) > 1:
        others = f", which {found[0]} has, and others"
        raise UsageError(Problem("KEY", f"must be that of one run of {store.name}", f"'{key}'", others))
    return str(found[0])


def pending_keys(store: Store, sweep: int) -> Sequence[str]:
    """What a sweep has left to measure and nobody has claimed, in its order.

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
    rows = [checked(row, t.runs) for row in connection.execute(query)]
    networks = read_networks(connection, list({row.network for row in rows}))
    ids = list(newest(connection, {row.key: row.status for row in rows}).values())
    newest_rows = select_by(connection, select(t.results), t.results.c.id, ids)
    results = {row.key: _result(row) for row in newest_rows}
    return [run_of(row, networks[row.network], results.get(row.key)) for row in rows]


def _result(row: Row[Any]) -> Result:
    checked(row, t.results)
    measured = MEASURED.read(row)
    return Result(row.id, row.sweep, row.status, row.worker, row.started, row.finished, row.reason, measured)


def newest(connection: Connection, statuses: Mapping[str, Status]) -> dict[str, str]:
    """The identifier of the newest result of each of some runs: of those that have the status of the run, if any."""
    columns = select(t.results.c.key, t.results.c.status, t.results.c.finished, t.results.c.id)
    few = len(statuses) <= AT_ONCE
    rows = select_by(connection, columns, t.results.c.key, list(statuses)) if few else connection.execute(columns)
    best = dict[str, tuple[bool, str, str]]()
    for row in rows:
        if row.key in statuses:
            one = (row.status == statuses[row.key], row.finished, row.id)
            best[row.key] = max(one, best.get(row.key, one))
    return {key: id for key, (_, _, id) in best.items()}
