"""Claims: a process claims a run before it measures it, so that several sweeps can share a store.

A claim holds the name of its process. It ends with the result, or when it expires because the process is dead. A
process of this machine is looked up. One of another machine is dead when its beat, a counter in its claims, has not
changed for `EXPIRY_S` by the clock of the process that checks, so that clocks need not agree. Time in which nobody
checked does not count: the store may have been unreachable for all of them.
"""

import os
import re
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex
from typing import Any

import psutil
from sqlalchemy import Connection, Select, Table, func, insert, select, update

from mnfpn_cli.store import rows as t
from mnfpn_cli.store.rows import StoredResult, result_columns
from mnfpn_cli.store.store import Store

BEAT_S = 10.0
"""Seconds between two beats of a process."""

EXPIRY_S = 60.0
"""Seconds without a beat after which a claim expires."""

CHECK_GAP_S = 30.0
"""Seconds between two checks beyond which the earlier one is discarded."""

SAME_START_S = 30.0
"""Seconds by which the start of the same process may differ: the system clock may have been adjusted."""


def this_host() -> str:
    """Return the host name and the process namespace, as containers may share a host name but not their processes."""
    try:
        return f"{socket.gethostname()}:{Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return socket.gethostname()


@dataclass(frozen=True)
class _LastBeat:
    """A beat of another process: its value, when this value was first seen, and when it was last checked."""

    beat: int
    since: float
    checked: float


@dataclass
class Claims:
    """The claims of one process on the runs of a store, or on its trainings.

    ``table`` is that of what is claimed. ``me`` is the name of the process in its claims: host, process id, start and a
    random token.
    """

    store: Store
    table: Table = t.runs
    host: str = field(default_factory=this_host)
    clock: Callable[[], float] = time.monotonic
    me: str = ""
    _beat_count: int = 0
    _last_beat_at: float = float("-inf")
    _last_beats: dict[str, _LastBeat] = field(default_factory=dict)

    def __post_init__(self) -> None:
        process = psutil.Process()
        self.me = self.me or f"{self.host}/{os.getpid()}/{process.create_time():.2f}/{token_hex(4)}"

    def claim(self, key: str) -> bool:
        """Claim a run or training if it is pending and not claimed; return whether this process holds it now.

        Raises:
            StoreError: where the store cannot be written.
        """
        columns = self.table.c
        free = (columns.key == key, columns.status == "pending", columns.claimed_by.is_(None))

        def change(connection: Connection) -> bool:
            connection.execute(update(self.table).where(*free).values(claimed_by=self.me, beat=self._beat_count))
            holder = select(columns.claimed_by).where(columns.key == key)
            return connection.execute(holder).scalar_one_or_none() == self.me

        return self.store.write(change)

    def finish(self, key: str, result: StoredResult) -> bool:
        """Insert the result of a claimed run; return False, and insert nothing, where the claim has expired.

        Raises:
            StoreError: where the store cannot be written.
        """

        def insert_result(connection: Connection) -> None:
            connection.execute(insert(t.results).values(result_columns(key, result)))

        done = select(t.results.c.id).where(t.results.c.id == result.id)
        return self.end(key, {"status": result.status}, insert_result, done)

    def end(
        self,
        key: str,
        values: Mapping[str, object],
        also: Callable[[Connection], None],
        done: Select[Any],
    ) -> bool:
        """Change a claimed row and release it; return False, and change nothing, where the claim has expired.

        Args:
            key: of the row.
            values: its new values.
            also: makes what else belongs to the same transaction.
            done: finds a row where an earlier attempt was committed.

        Raises:
            StoreError: where the store cannot be written.
        """
        columns = self.table.c

        def change(connection: Connection) -> bool:
            if connection.execute(done).first():
                return True
            ours = (columns.key == key, columns.claimed_by == self.me)
            # Update the row first: it is then locked, and no other process can claim it.
            if not connection.execute(update(self.table).where(*ours).values(**values, claimed_by=None)).rowcount:
                return False
            also(connection)
            return True

        return self.store.write(change)

    def release(self, key: str | None = None) -> None:
        """Release the claim on one of them, or on all, without a result.

        Raises:
            StoreError: where the store cannot be written.
        """
        ours = self.table.c.claimed_by == self.me
        which = (ours,) if key is None else (ours, self.table.c.key == key)
        self.store.write(
            lambda connection: connection.execute(update(self.table).where(*which).values(claimed_by=None))
        )

    def beat(self) -> None:
        """Write a beat, unless the last one is less than `BEAT_S` old.

        Raises:
            StoreError: where the store cannot be written.
        """
        now = self.clock()
        if now - self._last_beat_at < BEAT_S:
            return
        ours, beats = self.table.c.claimed_by == self.me, self._beat_count + 1
        self.store.write(lambda connection: connection.execute(update(self.table).where(ours).values(beat=beats)))
        # With the time before the write: if the store was unreachable for long, the next beat is due at once.
        self._last_beat_at, self._beat_count = now, beats

    def release_expired(self) -> Sequence[str]:
        """Release the claims of dead processes, and return the names of these processes.

        Raises:
            StoreError: where the store cannot be written.
        """
        who, beat = self.table.c.claimed_by, func.max(self.table.c.beat).label("beat")
        others = select(who, beat).where(who.is_not(None), who != self.me).group_by(who)
        rows = self.store.read(lambda connection: connection.execute(others).all())
        dead = [row for row in rows if self._expired(row.claimed_by, row.beat)]
        for row in dead:
            self._release_from(row.claimed_by, row.beat)
        return [row.claimed_by for row in dead]

    def _release_from(self, who: str, beat: int) -> None:
        """Release the claims of a process, unless it has written a newer beat."""
        theirs = (self.table.c.claimed_by == who, self.table.c.beat <= beat)
        self.store.write(
            lambda connection: connection.execute(update(self.table).where(*theirs).values(claimed_by=None))
        )

    def _expired(self, who: str, beat: int) -> bool:
        process = re.fullmatch(r"(.*)/([0-9]+)/([0-9.]+)/[^/]*", who)
        if process and process[1] == self.host:
            return not _is_alive(int(process[2]), float(process[3]))
        now, last = self.clock(), self._last_beats.get(who)
        is_same = last is not None and last.beat == beat and now - last.checked < CHECK_GAP_S
        since = last.since if last and is_same else now
        self._last_beats[who] = _LastBeat(beat, since, now)
        return now - since >= EXPIRY_S


def _is_alive(pid: int, created: float) -> bool:
    try:
        return abs(psutil.Process(pid).create_time() - created) < SAME_START_S
    except psutil.Error:
        return False
