"""The trainings of a sweep: after its measurements, once for each network, resumable, shared and retried."""

import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from mnfpn_cli.documents.sweep import MeasuringRecord, ScoringRecord
from mnfpn_cli.errors import MnfpnError
from mnfpn_cli.space.planned import Budget, plan_space
from mnfpn_cli.space.runs import Run
from mnfpn_cli.store.change import Unwanted, remove
from mnfpn_cli.store.merge import merge_stores
from mnfpn_cli.store.read import read_runs
from mnfpn_cli.store.rows import Sweep
from mnfpn_cli.store.store import Store, open_store
from mnfpn_cli.store.sweeps import Remeasure, now, read_sweeps
from mnfpn_cli.sweep.command import Scored, ScoreTask
from mnfpn_cli.sweep.pool import Ending, Lost, Worker
from mnfpn_cli.sweep.process import Task
from mnfpn_cli.sweep.start import Chosen, begin, unfinished
from mnfpn_cli.sweep.sweep import Sweeper
from mnfpn_cli.sweep.training import Trainer, TrainingState, trainings_record
from tests.conftest import Mnfpn
from tests.space.spaces import space_of
from tests.sweep.pools import FakePool, steady

SCORING = ScoringRecord(command="train {config} {output}")


@dataclass
class FakeTrainer:
    """A pool of workers that train at once: each network scores its width; ``fails``: the widths that fail."""

    fails: set[str] = field(default_factory=set)
    lost: int = 0
    tasks: list[ScoreTask] = field(default_factory=list)
    workers: list[Worker] = field(default_factory=lambda: [Worker("1", "one"), Worker("2", "two")])
    _running: dict[Worker, ScoreTask] = field(default_factory=dict)

    def idle(self) -> Sequence[Worker]:
        """The workers that train nothing."""
        return [one for one in self.workers if one not in self._running]

    def start(self, worker: Worker, task: Task | ScoreTask) -> None:
        """Record the task."""
        assert isinstance(task, ScoreTask)
        self.tasks.append(task)
        self._running[worker] = task

    def wait(self, seconds: float) -> Sequence[tuple[Worker, Ending]]:
        """Finish all."""
        assert seconds > 0
        ended = [(worker, self._ended(task)) for worker, task in self._running.items()]
        self._running.clear()
        return ended

    def _ended(self, task: ScoreTask) -> Ending:
        if self.lost:
            self.lost -= 1
            return Lost("the node is gone")
        width = next(word for word in ("0.35", "0.45", "0.55") if f'"width_mult": {word}' in task.settings)
        if width in self.fails:
            return Scored("failed", "one", now(), now(), "the command ended with exit code 1", "nan loss\n")
        return Scored("done", "one", now(), now(), None, "fine\n", {"map": float(width)})

    def alive(self, run: Run) -> bool:  # noqa: ARG002
        """Whether any worker is left."""
        return bool(self.workers)

    def notes(self) -> Sequence[str]:
        """No warnings."""
        return ()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty store."""
    with open_store(str(tmp_path / "runs.db"), create=True) as opened:
        yield opened


def measured_sweep(store: Store, scoring: ScoringRecord = SCORING, most_s: float | None = None) -> Sweep:
    """A sweep of three networks by two runtimes, all measured."""
    space = space_of(width_mult=[0.35, 0.45, 0.55], size=["64"], runtime=["eager", "channels-last"])
    planned = plan_space(space, Budget())
    chosen, measuring = Chosen(planned.runs, planned, "all", "mnfpn sweep", scoring), MeasuringRecord()
    limited = measuring.model_copy(update={"max_latency_s": most_s})
    number = begin(store, chosen, limited, "a CPU")
    Sweeper(store, number, FakePool(steady), measuring).run()
    return read_sweeps(store)[-1]


def scores_of(store: Store) -> set[tuple[float, float | None]]:
    """The width and the score of each run."""
    runs = read_runs(store)
    return {(one.settings.width_mult, one.scores["map"].value if one.scores else None) for one in runs}


def test_each_network_is_trained_once_for_all_its_runs(store: Store) -> None:
    """Its score is that of both runtimes; nothing is left, and a second call trains nothing."""
    sweep, pool = measured_sweep(store), FakeTrainer()
    assert [one.id for one in unfinished(store)] == [sweep.id]
    state = Trainer(store, sweep, pool).run()
    assert (state.total, state.done, state.failed, state.left) == (3, 3, 0, 0)
    assert len(pool.tasks) == 3
    assert scores_of(store) == {(0.35, 0.35), (0.45, 0.45), (0.55, 0.55)}
    assert unfinished(store) == []
    again = FakeTrainer()
    assert Trainer(store, sweep, again).run().done == 3
    assert again.tasks == []


def test_a_failed_training_is_retried_if_asked(store: Store) -> None:
    """The others have their scores; the record says why, with the last line of the log."""
    sweep = measured_sweep(store)
    state = Trainer(store, sweep, FakeTrainer(fails={"0.45"})).run()
    assert (state.done, state.failed) == (2, 1)
    assert scores_of(store) == {(0.35, 0.35), (0.45, None), (0.55, 0.55)}
    record = trainings_record(store, read_sweeps(store))
    assert record is not None
    assert [(one.name, one.reason, one.last_line) for one in record.failed] == [
        ("width_mult 0.45", "the command ended with exit code 1", "nan loss")
    ]
    pool = FakeTrainer()
    assert Trainer(store, sweep, pool, Remeasure(failed=True)).run().done == 3
    assert len(pool.tasks) == 1
    assert (0.45, 0.45) in scores_of(store)


def test_all_are_trained_again_if_asked(store: Store) -> None:
    """With `again`."""
    sweep = measured_sweep(store)
    Trainer(store, sweep, FakeTrainer()).run()
    pool = FakeTrainer()
    Trainer(store, sweep, pool, Remeasure(every=True)).run()
    assert len(pool.tasks) == 3


def test_a_stopped_sweep_goes_on(store: Store) -> None:
    """After the first two, which two workers train; the third is left for the next call."""
    sweep, pool = measured_sweep(store), FakeTrainer()
    state = Trainer(store, sweep, pool, stopped=lambda: len(pool.tasks) >= 2).run()
    assert state.done + state.left == 3
    assert state.left >= 1
    assert [one.id for one in unfinished(store)] == [sweep.id]
    assert Trainer(store, sweep, FakeTrainer()).run().done == 3


def test_two_processes_share_the_trainings(store: Store) -> None:
    """Each network is trained by one of them."""
    sweep, first, second = measured_sweep(store), FakeTrainer(), FakeTrainer()
    other = Trainer(store, sweep, second, stopped=lambda: bool(second.tasks))

    def let_the_other_work(_state: object) -> None:
        if len(first.tasks) == 2 and not second.tasks:
            other.run()

    Trainer(store, sweep, first, report=let_the_other_work).run()
    keys = [task.values["key"] for task in (*first.tasks, *second.tasks)]
    assert sorted(keys) == sorted(set(keys))
    assert len(keys) == 3


def test_a_lost_worker_costs_no_training(store: Store) -> None:
    """It is run again; after three losses it has failed."""
    sweep, pool = measured_sweep(store), FakeTrainer(lost=2)
    assert Trainer(store, sweep, pool).run().done == 3
    sweep, pool = measured_sweep(store, ScoringRecord(command="other {config} {output}")), FakeTrainer(lost=99)
    state = Trainer(store, sweep, pool).run()
    assert (state.done, state.failed) == (0, 3)


def test_without_workers_it_ends(store: Store) -> None:
    """With an error; the trainings stay pending."""
    sweep = measured_sweep(store)
    with pytest.raises(MnfpnError, match="no worker is left"):
        Trainer(store, sweep, FakeTrainer(workers=[])).run()
    assert [one.id for one in unfinished(store)] == [sweep.id]


def test_networks_that_are_too_slow_are_not_trained(store: Store) -> None:
    """Every run takes 10 ms."""
    assert Trainer(store, measured_sweep(store, most_s=0.009), FakeTrainer()).run().total == 0
    assert Trainer(store, measured_sweep(store, most_s=0.011), FakeTrainer()).run().total == 3


def test_only_measured_networks_are_trained(store: Store) -> None:
    """Those that failed or are pending are not."""
    space = space_of(width_mult=[0.35, 0.45], size=["64"])
    planned = plan_space(space, Budget())
    begin(store, Chosen(planned.runs, planned, "all", "mnfpn sweep", SCORING), MeasuringRecord(), "a CPU")
    assert Trainer(store, read_sweeps(store)[-1], FakeTrainer()).run().total == 0


def test_a_merge_brings_trainings_that_ended(store: Store, tmp_path: Path) -> None:
    """One that is done in either store is done, and needs no training."""
    sweep = measured_sweep(store)
    with open_store(str(tmp_path / "other.db"), create=True) as other:
        merge_stores(other, store)
        (here,) = read_sweeps(other)
        Trainer(other, here, FakeTrainer(fails={"0.45"})).run()
        Trainer(store, sweep, FakeTrainer()).run()
        merge_stores(other, store)
        pool = FakeTrainer()
        assert Trainer(other, here, pool).run().done == 3
        assert pool.tasks == []


def test_a_training_whose_network_is_removed_is_left_out(store: Store) -> None:
    """While others are trained."""
    sweep, pool = measured_sweep(store), FakeTrainer(workers=[Worker("1", "one")])

    def remove_one(state: TrainingState) -> None:
        if state.done == 1:
            trained = {one.settings.width_mult for one in read_runs(store) if one.scores}
            left = [one for one in read_runs(store) if one.settings.width_mult not in trained]
            width = left[-1].settings.width_mult
            remove(store, Unwanted(keys=[one.key for one in left if one.settings.width_mult == width]))

    state = Trainer(store, sweep, pool, report=remove_one).run()
    assert (state.done, state.left) == (2, 0)


@pytest.mark.slow
def test_the_whole_loop_at_the_prompt(mnfpn: Mnfpn, tmp_path: Path) -> None:
    """Measure, train, choose by the score; one training fails, and is in `runs show` with what it printed."""
    script = tmp_path / "train.py"
    script.write_text(
        "import json, sys\n"
        "width = json.load(open(sys.argv[1]))['width_mult']\n"
        "print('width', width)\n"
        "assert width != 0.5, 'diverged'\n"
        "json.dump({'map': 1 - width}, open(sys.argv[2], 'w'))\n"
    )
    store = str(tmp_path / "runs.db")
    command = f"{shlex.quote(sys.executable)} {shlex.quote(str(script))} {{config}} {{output}}"
    words = ("--width-mult", "0.35,0.5,0.75", "--size", "64", "--device", "cpu", "--passes", "6", "--store", store)
    done = mnfpn("sweep", *words, "--score-command", command)
    assert done.code == 1
    assert "2 trained, 1 failed" in done.out
    assert "AssertionError: diverged" in done.out
    assert "trained 3 of 3" in done.err
    report = mnfpn("recommend", "--store", store, "--max-latency", "9s", "--metric", "map")
    assert "the first has the highest map: 0.65" in report.out
    with open_store(store) as opened:
        key = next(one.key for one in read_runs(opened) if one.settings.width_mult == 0.5)
    shown = mnfpn("runs", "show", key, "--store", store).out
    assert "width 0.5" in shown
    assert "AssertionError: diverged" in shown
