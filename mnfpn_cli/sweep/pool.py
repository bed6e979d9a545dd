"""Workers, each of which measures one run at a time: this machine is one; a Ray cluster has one a machine or GPU."""

import socket
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event
from typing import Protocol

from mnfpn_cli.space.runs import Run
from mnfpn_cli.sweep.process import Outcome, Task, run_task


@dataclass(frozen=True, slots=True)
class Worker:
    """A machine, or a GPU of one, that measures one run at a time.

    ``kind``: of the devices that it has for runs, ``cpu`` or ``cuda``; empty for all that are asked for.
    """

    id: str
    name: str
    kind: str = ""

    def takes(self, run: Run) -> bool:
        """Whether it has the device that a run is for; ``auto`` is the best that it has."""
        asked = run.execution.device.partition(":")[0]
        return self.kind in ("", asked) or asked == "auto"


@dataclass(frozen=True, slots=True)
class Lost:
    """A worker is gone, with the run that it measured: its machine died."""

    why: str


class Pool(Protocol):
    """The workers there are, and what they do."""

    def idle(self) -> Sequence[Worker]:
        """The workers that have nothing to do."""

    def start(self, worker: Worker, task: Task) -> None:
        """Have an idle worker measure a run."""

    def wait(self, seconds: float) -> Sequence[tuple[Worker, Outcome | Lost]]:
        """Wait so long at most, and tell what was finished, or lost."""

    def alive(self, run: Run) -> bool:
        """Whether there is a worker for a run, or may be one again."""

    def notes(self) -> Sequence[str]:
        """What people should know of the workers, since this was asked last."""


@contextmanager
def local_pool() -> "Iterator[LocalPool]":
    """This machine; at the end what it measures is ended."""
    worker = socket.gethostname()
    pool = LocalPool(Worker(worker, worker))
    try:
        yield pool
    finally:
        pool.close()


@dataclass
class LocalPool:
    """This machine: one worker."""

    worker: Worker
    _executor: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1))
    _stop: Event = field(default_factory=Event)
    _running: Future[Outcome] | None = None

    def idle(self) -> Sequence[Worker]:
        """The machine, unless it measures."""
        return [] if self._running else [self.worker]

    def start(self, worker: Worker, task: Task) -> None:
        """Measure a run in a process of its own."""
        assert worker == self.worker
        self._running = self._executor.submit(run_task, task, self._stop.is_set)

    def wait(self, seconds: float) -> Sequence[tuple[Worker, Outcome | Lost]]:
        """What was finished by then."""
        if not self._running:
            self._stop.wait(seconds)
            return []
        done, _ = wait([self._running], seconds)
        if not done:
            return []
        outcome, self._running = self._running.result(), None
        return [(self.worker, outcome)]

    def alive(self, run: Run) -> bool:  # noqa: ARG002
        """It is here."""
        return True

    def notes(self) -> Sequence[str]:
        """There is nothing to say of it."""
        return ()

    def close(self) -> None:
        """Kill the process that measures."""
        self._stop.set()
        self._executor.shutdown()
