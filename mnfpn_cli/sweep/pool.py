"""What measures cells: lanes, each of which measures one at a time. Here there is one; a cluster has one a machine."""

import socket
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event
from typing import Protocol

from mnfpn_cli.space.cells import Cell
from mnfpn_cli.sweep.process import Outcome, Task, run_task


@dataclass(frozen=True, slots=True)
class Lane:
    """A machine, or a GPU of one, that measures one cell at a time.

    ``kind``: of the devices that it has for cells, ``cpu`` or ``cuda``; empty for all that are asked for.
    """

    id: str
    node: str
    kind: str = ""

    def takes(self, cell: Cell) -> bool:
        """Whether it has the device that a cell is for; ``auto`` is the best that it has."""
        asked = cell.execution.device.partition(":")[0]
        return self.kind in ("", asked) or asked == "auto"


@dataclass(frozen=True, slots=True)
class Lost:
    """A lane is gone, with the cell that it measured: its machine died."""

    why: str


class Pool(Protocol):
    """The lanes there are, and what they do."""

    def idle(self) -> Sequence[Lane]:
        """The lanes that have nothing to do."""

    def start(self, lane: Lane, task: Task) -> None:
        """Have an idle lane measure a cell."""

    def wait(self, seconds: float) -> Sequence[tuple[Lane, Outcome | Lost]]:
        """Wait so long at most, and tell what was finished, or lost."""

    def alive(self, cell: Cell) -> bool:
        """Whether there is a lane for a cell, or may be one again."""

    def notes(self) -> Sequence[str]:
        """What people should know of the lanes, since this was asked last."""


@contextmanager
def local_pool() -> "Iterator[LocalPool]":
    """This machine; at the end what it measures is ended."""
    node = socket.gethostname()
    pool = LocalPool(Lane(node, node))
    try:
        yield pool
    finally:
        pool.close()


@dataclass
class LocalPool:
    """This machine: one lane."""

    lane: Lane
    _executor: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1))
    _stop: Event = field(default_factory=Event)
    _running: Future[Outcome] | None = None

    def idle(self) -> Sequence[Lane]:
        """The machine, unless it measures."""
        return [] if self._running else [self.lane]

    def start(self, lane: Lane, task: Task) -> None:
        """Measure a cell in a process of its own."""
        assert lane == self.lane
        self._running = self._executor.submit(run_task, task, self._stop.is_set)

    def wait(self, seconds: float) -> Sequence[tuple[Lane, Outcome | Lost]]:
        """What was finished by then."""
        if not self._running:
            self._stop.wait(seconds)
            return []
        done, _ = wait([self._running], seconds)
        if not done:
            return []
        outcome, self._running = self._running.result(), None
        return [(self.lane, outcome)]

    def alive(self, cell: Cell) -> bool:  # noqa: ARG002
        """It is here."""
        return True

    def notes(self) -> Sequence[str]:
        """There is nothing to say of it."""
        return ()

    def close(self) -> None:
        """Kill the process that measures."""
        self._stop.set()
        self._executor.shutdown()
