"""The trainings of a sweep's networks: what is to be trained, and how it ended."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, Row, select, update

from mnfpn_cli.settings.input import DType, Size
from mnfpn_cli.settings.network import NetworkSettings
from mnfpn_cli.store import rows as t
from mnfpn_cli.store.checks import check_row
from mnfpn_cli.store.read import Networks
from mnfpn_cli.store.rows import RunStatus, StoredRun
from mnfpn_cli.store.store import Store, batches, select_by

LOG_BYTES = 64 * 1024
"""The end of what a command printed that a store keeps."""


@dataclass(frozen=True, slots=True)
class ScoredNetwork:
    """What one training is of: a network at a size in a dtype."""

    settings: NetworkSettings
    size: Size
    dtype: DType


@dataclass(frozen=True, slots=True)
class StoredTraining:
    """A training in a store.

    Attributes:
        key: the hash of its network, size, dtype and command: 32 hexadecimal digits.
        command: the command, with its placeholders.
        status: whether it is still to be run, gave scores, or failed.
        reason: why it failed.
        log: the end of what it printed.
        worker: the worker that ran it; None where it was not run.
        started, finished: UTC, ISO 8601; None where it was not run.
    """

    key: str
    command: str
    status: RunStatus
    reason: str | None
    log: str | None
    worker: str | None
    started: str | None
    finished: str | None


def networks_of(runs: Iterable[StoredRun]) -> list[ScoredNetwork]:
    """Return what runs are of, each once, in their order."""
    return list(dict.fromkeys(ScoredNetwork(one.settings, one.size, one.execution.dtype) for one in runs))


def add_trainings(store: Store, networks: Sequence[ScoredNetwork], command: str) -> dict[str, ScoredNetwork]:
    """Insert the trainings of networks by a command where they are missing; return the networks by key.

    Raises:
        StoreError: where the store cannot be written.
    """
    known = Networks(one.settings for one in networks)
    by_key = dict[str, ScoredNetwork]()
    rows = []
    for one in networks:
        content = [known.id_of(one.settings), one.size.height, one.size.width, one.dtype, command]
        key = hashlib.sha256(json.dumps(content).encode()).hexdigest()[:32]
        by_key[key] = one
        of = {"network": content[0], "height": one.size.height, "width": one.size.width, "dtype": one.dtype}
        ends = dict.fromkeys(("claimed_by", "reason", "log", "worker", "started", "finished"))
        rows.append({"key": key, **of, "command": command, "status": "pending", "beat": 0, **ends})

    def change(connection: Connection) -> None:
        store.lock_bulk_changes(connection)
        store.insert_missing(connection, t.networks, known.rows())
        store.insert_missing(connection, t.trainings, sorted(rows, key=lambda row: str(row["key"])))

    store.write(change)
    return by_key


def read_trainings(store: Store, keys: Sequence[str]) -> dict[str, StoredTraining]:
    """Return trainings by key.

    Raises:
        StoreError: where the store cannot be read.
    """
    return store.read(
        lambda connection: {
            row.key: _training(row) for row in select_by(connection, select(t.trainings), t.trainings.c.key, keys)
        }
    )


def trainings_of(store: Store, run: StoredRun) -> list[StoredTraining]:
    """Return the trainings of a run's network, at its size in its dtype, in the order in which they ended.

    Raises:
        StoreError: where the store cannot be read.
    """
    columns = t.trainings.c
    query = select(t.trainings).where(
        columns.network == Networks([run.settings]).id_of(run.settings),
        columns.height == run.size.height,
        columns.width == run.size.width,
        columns.dtype == run.execution.dtype,
    )
    found = store.read(lambda connection: [_training(row) for row in connection.execute(query)])
    return sorted(found, key=lambda one: one.finished or "~")


def repeat_trainings(store: Store, keys: Sequence[str], statuses: Sequence[RunStatus]) -> None:
    """Make trainings with these statuses pending again, except those that a process has claimed.

    Raises:
        StoreError: where the store cannot be written.
    """
    columns = t.trainings.c

    def change(connection: Connection) -> None:
        for batch in batches(keys):
            free = (columns.key.in_(batch), columns.status.in_(statuses), columns.claimed_by.is_(None))
            connection.execute(update(t.trainings).where(*free).values(status="pending"))

    store.write(change)


def _training(row: Row[Mapping[str, object]]) -> StoredTraining:
    check_row(row, t.trainings)
    return StoredTraining(row.key, row.command, row.status, row.reason, row.log, row.worker, row.started, row.finished)
