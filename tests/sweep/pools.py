"""A pool that measures nothing: what each run takes is made up, and all else is as a worker said it (`recorded`)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from mnfpn_cli.space.runs import Run
from mnfpn_cli.store.sweeps import now
from mnfpn_cli.sweep.pool import Lost, Worker
from mnfpn_cli.sweep.process import Outcome, Task
from tests.sweep.recorded import made_up, recorded


def measured(samples: Sequence[float], runtime: str = "eager", worker: str = "here", by_layer: bool = False) -> Outcome:
    """A run that was measured."""
    profile = recorded().profile if by_layer else None
    return Outcome("done", worker, now(), now(), None, made_up(samples, profile=profile, runtime=runtime))


def unavailable(reason: str, worker: str = "here") -> Outcome:
    """A run whose runtime cannot run there."""
    return Outcome("unavailable", worker, now(), now(), reason)


def failed(reason: str, worker: str = "here") -> Outcome:
    """A run that could not be measured."""
    return Outcome("failed", worker, now(), now(), reason)


def steady(task: Task) -> Outcome:
    """Every run takes 10 ms."""
    return measured([0.01] * 8, by_layer=task.work.by_layer)


def no_graphs(task: Task) -> Outcome:
    """What a machine without a GPU says."""
    return unavailable("runs on CUDA alone") if task.work.runtime == "cuda-graph" else steady(task)


@dataclass
class FakePool:
    """Workers whose results are there at once; ``measure`` makes them."""

    measure: Callable[[Task], Outcome | Lost] = steady
    workers: list[Worker] = field(default_factory=lambda: [Worker("1", "here")])
    tasks: list[tuple[Worker, Task]] = field(default_factory=list)
    _running: dict[Worker, Task] = field(default_factory=dict)

    def idle(self) -> Sequence[Worker]:
        """The workers that have nothing to do."""
        return [worker for worker in self.workers if worker not in self._running]

    def start(self, worker: Worker, task: Task) -> None:
        """Remember what was asked for."""
        assert worker in self.idle(), "a worker measures one run at a time"
        self.tasks.append((worker, task))
        self._running[worker] = task

    def wait(self, seconds: float) -> Sequence[tuple[Worker, Outcome | Lost]]:
        """All that runs is finished; a worker that is lost does not come back."""
        assert 0 < seconds < 5, "Ctrl-C is seen between two waits"
        finished = [(worker, self.measure(task)) for worker, task in self._running.items()]
        self._running.clear()
        for worker, outcome in finished:
            if isinstance(outcome, Lost):
                self.workers.remove(worker)
        return finished

    def alive(self, run: Run) -> bool:
        """Whether a worker is left for it."""
        return any(worker.takes(run) for worker in self.workers)

    def notes(self) -> Sequence[str]:
        """There is nothing to say."""
        return ()
