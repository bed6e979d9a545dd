"""A pool that measures nothing: what each cell takes is made up."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from mnfpn_cli.space.cells import Cell
from mnfpn_cli.store.sweeps import now
from mnfpn_cli.sweep.pool import Lane, Lost
from mnfpn_cli.sweep.process import Outcome, Task

ENVIRONMENT = {"cpu": "a CPU", "cores": 2, "gpu": None, "torch": "2.13.0", "date": "2026-11-21T00:00:00+00:00"}


def measured(samples: Sequence[float], runtime: str = "eager", node: str = "here") -> Outcome:
    """A cell that was measured."""
    ordered = sorted(samples)
    latency = {"samples": list(samples), "median": ordered[len(ordered) // 2]}
    run = {"latency_s": latency, "device": "cpu", "runtime": runtime, "failure": None}
    document: dict[str, Any] = {"run": run, "warnings": [], "environment": ENVIRONMENT, "profile": None}
    return Outcome("done", node, now(), now(), None, document)


def failed(reason: str, node: str = "here") -> Outcome:
    """A cell that could not be measured."""
    return Outcome("failed", node, now(), now(), reason)


def steady(_task: Task) -> Outcome:
    """Every cell takes 10 ms."""
    return measured([0.01] * 8)


@dataclass
class FakePool:
    """Lanes whose results are there at once; ``measure`` makes them."""

    measure: Callable[[Task], Outcome | Lost] = steady
    lanes: list[Lane] = field(default_factory=lambda: [Lane("1", "here")])
    tasks: list[tuple[Lane, Task]] = field(default_factory=list)
    _running: dict[Lane, Task] = field(default_factory=dict)

    def idle(self) -> Sequence[Lane]:
        """The lanes that have nothing to do."""
        return [lane for lane in self.lanes if lane not in self._running]

    def start(self, lane: Lane, task: Task) -> None:
        """Remember what was asked for."""
        assert lane in self.idle(), "a lane measures one cell at a time"
        self.tasks.append((lane, task))
        self._running[lane] = task

    def wait(self, seconds: float) -> Sequence[tuple[Lane, Outcome | Lost]]:
        """All that runs is finished; a lane that is lost does not come back."""
        assert 0 < seconds < 5, "Ctrl-C is seen between two waits"
        finished = [(lane, self.measure(task)) for lane, task in self._running.items()]
        self._running.clear()
        for lane, outcome in finished:
            if isinstance(outcome, Lost):
                self.lanes.remove(lane)
        return finished

    def alive(self, cell: Cell) -> bool:
        """Whether a lane is left for it."""
        return any(lane.takes(cell) for lane in self.lanes)

    def notes(self) -> Sequence[str]:
        """There is nothing to say."""
        return ()
