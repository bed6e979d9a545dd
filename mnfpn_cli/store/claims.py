"""Who measures what: cells are claimed before they are measured, so that several sweeps share a store.

A claim carries the process that made it. It ends with the result, or when that process is seen to be dead: at once
where it was one of this machine, else when its beat has stood still for `LAPSE_S` on the clock of the one who waits, so
that the clocks of two machines need not agree.
"""

import os
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from secrets import token_hex

import psutil
from sqlalchemy import Connection, insert, select, update

from mnfpn_cli.store import tables as t
from mnfpn_cli.store.rows import Result
from mnfpn_cli.store.store import Store

BEAT_S = 10.0
LAPSE_S = 60.0


@dataclass
class Claims:
    """The claims of one process on cells of a store."""

    store: Store
    host: str = field(default_factory=socket.gethostname)
    clock: Callable[[], float] = time.monotonic
    me: str = ""
    _beaten: float = 0.0
    _seen: dict[str, tuple[int, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        process = psutil.Process()
        self.me = self.me or f"{self.host}/{os.getpid()}/{process.create_time():.2f}/{token_hex(4)}"

    def claim(self, key: str) -> bool:
        """Take a cell, if it is pending and nobody has it.

        Raises:
            StoreError: where the store cannot be written.
        """
        free = (t.cells.c.key == key, t.cells.c.status == "pending", t.cells.c.claimed_by.is_(None))

        def change(connection: Connection) -> bool:
            connection.execute(update(t.cells).where(*free).values(claimed_by=self.me, beat=0))
            holder = select(t.cells.c.claimed_by).where(t.cells.c.key == key)
            return connection.execute(holder).scalar_one_or_none() == self.me

        return self.store.write(change)

    def finish(self, key: str, result: Result) -> bool:
        """Put down what came of a cell that is ours; False where the claim had lapsed, and another has it.

        Raises:
            StoreError: where the store cannot be written.
        """
        row = {
            **{name: getattr(result, name) for name in ("id", "sweep", "status", "node", "started", "finished")},
            "key": key,
            "latency_s": result.latency_s,
            "reason": result.reason,
            "document": dict(result.document) if result.document else None,
        }

        def change(connection: Connection) -> bool:
            if connection.execute(select(t.results.c.id).where(t.results.c.id == result.id)).first():
                return True  # the commit before this try had come through
            ours = (t.cells.c.key == key, t.cells.c.claimed_by == self.me)
            if not connection.execute(select(t.cells.c.key).where(*ours)).first():
                return False
            connection.execute(insert(t.results).values(row))
            connection.execute(update(t.cells).where(*ours).values(status=result.status, claimed_by=None))
            return True

        return self.store.write(change)

    def release(self, key: str | None = None) -> None:
        """Give back a cell, or all, unmeasured.

        Raises:
            StoreError: where the store cannot be written.
        """
        ours = t.cells.c.claimed_by == self.me
        which = (ours,) if key is None else (ours, t.cells.c.key == key)
        self.store.write(lambda connection: connection.execute(update(t.cells).where(*which).values(claimed_by=None)))

    def beat(self) -> None:
        """Show that this process lives, if it has not lately.

        Raises:
            StoreError: where the store cannot be written.
        """
        now = self.clock()
        if now - self._beaten < BEAT_S:
            return
        self._beaten = now
        ours = t.cells.c.claimed_by == self.me
        self.store.write(
            lambda connection: connection.execute(update(t.cells).where(ours).values(beat=t.cells.c.beat + 1))
        )

    def free_lapsed(self) -> Sequence[str]:
        """Free the cells of processes that are dead, and return those processes.

        Raises:
            StoreError: where the store cannot be written.
        """
        query = select(t.cells.c.claimed_by, t.cells.c.beat).where(t.cells.c.claimed_by.is_not(None)).distinct()
        rows = self.store.read(lambda connection: connection.execute(query).all())
        beats = {str(row.claimed_by): int(row.beat) for row in rows if row.claimed_by != self.me}
        dead = [who for who, beat in beats.items() if self._lapsed(who, beat)]
        for who in dead:
            self._free(who, beats[who])
        return dead

    def _free(self, who: str, beat: int) -> None:
        theirs = (t.cells.c.claimed_by == who, t.cells.c.beat == beat)
        self.store.write(lambda connection: connection.execute(update(t.cells).where(*theirs).values(claimed_by=None)))

    def _lapsed(self, who: str, beat: int) -> bool:
        host, pid, created, _ = who.rsplit("/", 3)
        if host == self.host:
            return not _lives(int(pid), float(created))
        before, since = self._seen.get(who, (None, 0.0))
        if before != beat:
            self._seen[who] = (beat, self.clock())
            return False
        return self.clock() - since >= LAPSE_S


def _lives(pid: int, created: float) -> bool:
    try:
        return abs(psutil.Process(pid).create_time() - created) < 1.0
    except psutil.Error:
        return False
