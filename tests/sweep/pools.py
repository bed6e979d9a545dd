"""A pool that measures nothing: the times of its runs are made up, the rest is a recorded result (`recorded`)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from mnfpn_cli.space.runs import Run
from mnfpn_cli.store.sweeps import now
from mnfpn_cli.sweep.command import ScoreTask
from mnfpn_cli.sweep.pool import Lost, Worker
from mnfpn_cli.sweep.process import Outcome, Task
from tests.sweep.recorded import made_up, recorded


def measured(samples: Sequence[float], runtime: str = "eager", worker: str = "here", by_layer: bool = False) -> Outcome:
    """The outcome of a measured run."""
    profile = recorded().profile if by_layer else None
    return Outcome("done", worker, now(), now(), None, made_up(samples, profile=profile, runtime=runtime))


def unavailable(reason: str, worker: str = "here") -> Outcome:
    """The outcome of a run whose runtime cannot run on the worker."""
    return Outcome("unavailable", worker, now(), now(), reason)


def failed(reason: str, worker: str = "here") -> Outcome:
    """The outcome of a failed run."""
    return Outcome("failed", worker, now(), now(), reason)


def steady(task: Task) -> Outcome:
    """Every run takes 10 ms."""
    return measured([0.01] * 8, by_layer=task.work.by_layer)


def no_graphs(task: Task) -> Outcome:
    """Measure as a machine without a GPU does."""
    return unavailable("runs on CUDA alone") if task.work.runtime == "cuda-graph" else steady(task)


@dataclass
class FakePool:
    """Workers that finish at once; ``measure`` makes their outcomes."""

    measure: Callable[[Task], Outcome | Lost] = steady
    workers: list[Worker] = field(default_factory=lambda: [Worker("1", "here")])
    tasks: list[tuple[Worker, Task]] = field(default_factory=list)
    _running: dict[Worker, Task] = field(default_factory=dict)

    def idle(self) -> Sequence[Worker]:
        """The workers that measure nothing."""
        return [worker for worker in self.workers if worker not in self._running]

    def start(self, worker: Worker, task: Task | ScoreTask) -> None:
        """Record the task."""
        assert isinstance(task, Task)
        assert worker in self.idle(), "a worker measures one run at a time"
        self.tasks.append((worker, task))
        self._running[worker] = task

    def wait(self, seconds: float) -> Sequence[tuple[Worker, Outcome | Lost]]:
        """Finish all tasks; remove the workers that are lost."""
        assert 0 < seconds < 5, "Ctrl-C is seen between two waits"
        finished = [(worker, self.measure(task)) for worker, task in self._running.items()]
        self._running.clear()
        for worker, outcome in finished:
            if isinstance(outcome, Lost):
                self.workers.remove(worker)
        return finished

    def alive(self, run: Run) -> bool:
        """Whether a worker is left for the run."""
        return any(worker.takes(run) for worker in self.workers)

    def notes(self) -> Sequence[str]:
        """No warnings."""
        return ()
