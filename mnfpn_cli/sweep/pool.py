"""Pools of workers, each of which measures one run at a time: this machine, or the machines or GPUs of a cluster."""

import socket
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event
from typing import Protocol

from mnfpn_cli.space.runs import Run
from mnfpn_cli.sweep.command import Scored, ScoreTask
from mnfpn_cli.sweep.process import Outcome, Task, run_on_worker

POLL_S = 0.25
"""Seconds that a sweep waits for its workers before it looks whether it was stopped."""

MAX_LOSSES = 3
"""A run, or a training, fails after this many workers were lost while they had it."""


@dataclass(frozen=True, slots=True)
class Worker:
    """A machine, or a GPU of one, that measures one run at a time.

    Attributes:
        id: distinguishes it from all other workers of its pool, those that are gone included.
        name: its name in results and messages.
        kind: the device that it has for runs, ``cpu`` or ``cuda``; empty where it has every one.
    """

    id: str
    name: str
    kind: str = ""

    def takes(self, run: Run) -> bool:
        """Return whether it has the device of a run; ``auto`` is the best device that it has."""
        device = run.execution.device.partition(":")[0]
        return self.kind in ("", device) or device == "auto"


@dataclass(frozen=True, slots=True)
class Lost:
    """The end of a worker and of its measurement: its machine died. ``why``: the error."""

    why: str


Ending = Outcome | Scored | Lost
"""What ends the work of a worker."""


class Pool(Protocol):
    """Workers, and what they measure."""

    def idle(self) -> Sequence[Worker]:
        """Return the workers that measure nothing."""

    def start(self, worker: Worker, task: Task | ScoreTask) -> None:
        """Have an idle worker measure a run, or train a network."""

    def wait(self, seconds: float) -> Sequence[tuple[Worker, Ending]]:
        """Wait at most this long; return what has finished, or was lost."""

    def alive(self, run: Run) -> bool:
        """Return whether a worker for a run is there, or may come."""

    def notes(self) -> Sequence[str]:
        """Return the warnings about workers since the last call."""


@contextmanager
def local_pool() -> "Iterator[LocalPool]":
    """Give a pool of this machine alone; at the end, kill the process that measures."""
    name = socket.gethostname()
    pool = LocalPool(Worker(name, name))
    try:
        yield pool
    finally:
        pool.close()


@dataclass
class LocalPool:
    """A pool of one worker: this machine."""

    worker: Worker
    _executor: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1))
    _stop: Event = field(default_factory=Event)
    _running: Future[Outcome | Scored] | None = None

    def idle(self) -> Sequence[Worker]:
        """Return the machine, unless it measures."""
        return [] if self._running else [self.worker]

    def start(self, worker: Worker, task: Task | ScoreTask) -> None:
        """Measure a run in a new process."""
        assert worker == self.worker
        self._running = self._executor.submit(run_on_worker, task, self._stop.is_set)

    def wait(self, seconds: float) -> Sequence[tuple[Worker, Ending]]:
        """Wait at most this long; return what has finished."""
        if not self._running:
            self._stop.wait(seconds)
            return []
        done, _ = wait([self._running], seconds)
        if not done:
            return []
        outcome, self._running = self._running.result(), None
        return [(self.worker, outcome)]

    def alive(self, run: Run) -> bool:  # noqa: ARG002
        """Return true: this machine is there."""
        return True

    def notes(self) -> Sequence[str]:
        """Return nothing: there is no warning about this machine."""
        return ()

    def close(self) -> None:
        """Kill the process that measures."""
        self._stop.set()
        self._executor.shutdown()
