"""Who measures what: runs are claimed before they are measured, so that several sweeps share a store.

A claim carries the process that made it. It ends with the result, or when that process is seen to be dead: at once
where it was one of this machine, else when its beat has stood still for `EXPIRY_S` on the clock of the one who waits, so
that the clocks of two machines need not agree. Time in which nobody looked does not count: the store may have been away
for all.
"""

import os
import re
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex

import psutil
from sqlalchemy import Connection, func, insert, select, update

from mnfpn_cli.store import rows as t
from mnfpn_cli.store.rows import Result, result_columns
from mnfpn_cli.store.store import Store

BEAT_S = 10.0
EXPIRY_S = 60.0
UNSEEN_S = 30.0
"""Longer between two looks, and what was seen before says nothing."""

SAME_START_S = 30.0
"""Two starts of a process with one number within this are one: the system's clock may have been set meanwhile."""


def this_host() -> str:
    """This machine's name; in a container, whose processes others of that name cannot see, with the container's."""
    try:
        return f"{socket.gethostname()}:{Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return socket.gethostname()


@dataclass(frozen=True)
class _Seen:
    """A beat, since when it stands still, and when it was looked at last."""

    beat: int
    since: float
    looked: float


@dataclass
class Claims:
    """The claims of one process on runs of a store."""

    store: Store
    host: str = field(default_factory=this_host)
    clock: Callable[[], float] = time.monotonic
    me: str = ""
    _beats: int = 0
    _beaten: float = float("-inf")
    _seen: dict[str, _Seen] = field(default_factory=dict)

    def __post_init__(self) -> None:
        process = psutil.Process()
        self.me = self.me or f"{self.host}/{os.getpid()}/{process.create_time():.2f}/{token_hex(4)}"

    def claim(self, key: str) -> bool:
        """Take a run, if it is pending and nobody has it.

        Raises:
            StoreError: where the store cannot be written.
        """
        free = (t.runs.c.key == key, t.runs.c.status == "pending", t.runs.c.claimed_by.is_(None))

        def change(connection: Connection) -> bool:
            connection.execute(update(t.runs).where(*free).values(claimed_by=self.me, beat=self._beats))
            holder = select(t.runs.c.claimed_by).where(t.runs.c.key == key)
            return connection.execute(holder).scalar_one_or_none() == self.me

        return self.store.write(change)

    def finish(self, key: str, result: Result) -> bool:
        """Put down what came of a run that is ours; False where the claim had lapsed, and another has it.

        Raises:
            StoreError: where the store cannot be written.
        """

        def change(connection: Connection) -> bool:
            if connection.execute(select(t.results.c.id).where(t.results.c.id == result.id)).first():
                return True  # the commit before this try had come through
            ours = (t.runs.c.key == key, t.runs.c.claimed_by == self.me)
            # The run first: from here on nobody can take it away.
            if not connection.execute(
                update(t.runs).where(*ours).values(status=result.status, claimed_by=None)
            ).rowcount:
                return False
            connection.execute(insert(t.results).values(result_columns(key, result)))
            return True

        return self.store.write(change)

    def release(self, key: str | None = None) -> None:
        """Give back a run, or all, unmeasured.

        Raises:
            StoreError: where the store cannot be written.
        """
        ours = t.runs.c.claimed_by == self.me
        which = (ours,) if key is None else (ours, t.runs.c.key == key)
        self.store.write(lambda connection: connection.execute(update(t.runs).where(*which).values(claimed_by=None)))

    def beat(self) -> None:
        """Show that this process lives, if it has not lately.

        Raises:
            StoreError: where the store cannot be written.
        """
        now = self.clock()
        if now - self._beaten < BEAT_S:
            return
        ours, beats = t.runs.c.claimed_by == self.me, self._beats + 1
        self.store.write(lambda connection: connection.execute(update(t.runs).where(ours).values(beat=beats)))
        # Behind it: a store that was away for long must not make the next one late.
        self._beaten, self._beats = now, beats

    def release_expired(self) -> Sequence[str]:
        """Free the runs of processes that are dead, and return those processes.

        Raises:
            StoreError: where the store cannot be written.
        """
        who, beat = t.runs.c.claimed_by, func.max(t.runs.c.beat).label("beat")
        others = select(who, beat).where(who.is_not(None), who != self.me).group_by(who)
        rows = self.store.read(lambda connection: connection.execute(others).all())
        dead = [row for row in rows if self._expired(row.claimed_by, row.beat)]
        for row in dead:
            self._free(row.claimed_by, row.beat)
        return [row.claimed_by for row in dead]

    def _free(self, who: str, beat: int) -> None:
        """Free what a process has claimed, unless it has shown since that it lives."""
        theirs = (t.runs.c.claimed_by == who, t.runs.c.beat <= beat)
        self.store.write(lambda connection: connection.execute(update(t.runs).where(*theirs).values(claimed_by=None)))

    def _expired(self, who: str, beat: int) -> bool:
        named = re.fullmatch(r"(.*)/([0-9]+)/([0-9.]+)/[^/]*", who)
        if named and named[1] == self.host:
            return not _lives(int(named[2]), float(named[3]))
        now, before = self.clock(), self._seen.get(who)
        known = before is not None and before.beat == beat and now - before.looked < UNSEEN_S
        since = before.since if before and known else now
        self._seen[who] = _Seen(beat, since, now)
        return now - since >= EXPIRY_S


def _lives(pid: int, created: float) -> bool:
    try:
        return abs(psutil.Process(pid).create_time() - created) < SAME_START_S
    except psutil.Error:
        return False
