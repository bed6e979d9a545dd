"""Train the networks of a sweep by the user's command, one after the other on each worker, and store their scores."""

from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from sqlalchemy import select

from mnfpn_cli.documents.sweep import FailedTraining, ScoringRecord, TrainingsRecord
from mnfpn_cli.errors import MnfpnError
from mnfpn_cli.space.runs import Execution, Run, run_namer
from mnfpn_cli.store import rows as t
from mnfpn_cli.store.claims import Claims
from mnfpn_cli.store.read import read_runs
from mnfpn_cli.store.rows import RunStatus, StoredScore, Sweep
from mnfpn_cli.store.scores import NewScore, inserting
from mnfpn_cli.store.store import Store
from mnfpn_cli.store.sweeps import REMEASURE_NONE, Remeasure, now
from mnfpn_cli.store.trainings import (
    ScoredNetwork,
    StoredTraining,
    add_trainings,
    networks_of,
    read_trainings,
    repeat_trainings,
)
from mnfpn_cli.sweep.command import Scored, ScoreTask
from mnfpn_cli.sweep.pool import MAX_LOSSES, POLL_S, Lost, Pool, Worker


@dataclass(frozen=True, slots=True)
class TrainingState:
    """How far the trainings of a sweep are: ``last``: the name of the network whose training ended last."""

    total: int
    done: int = 0
    failed: int = 0
    last: str = ""
    notes: tuple[str, ...] = ()

    @property
    def left(self) -> int:
        """The number of trainings that are still to be run."""
        return self.total - self.done - self.failed


@dataclass
class Trainer:
    """Runs the trainings of the measured networks of a sweep. Several processes may share one sweep.

    Attributes:
        store: the store that has the sweep.
        sweep: the sweep, with the command and its time limit.
        pool: the workers.
        remeasure: which trainings that ended are run again.
        stopped: polled between trainings; the sweep ends when it returns true.
        report: called with the new state after each training.
    """

    store: Store
    sweep: Sweep
    pool: Pool
    remeasure: Remeasure = REMEASURE_NONE
    stopped: Callable[[], bool] = lambda: False
    report: Callable[[TrainingState], None] = lambda _state: None
    _running: dict[Worker, str] = field(default_factory=dict)
    _losses: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        assert self.sweep.plan.scoring is not None
        self.scoring: ScoringRecord = self.sweep.plan.scoring
        self.claims = Claims(self.store, t.trainings)
        self.networks = trainings_of_sweep(self.store, self.sweep)
        if self.remeasure.every or self.remeasure.failed:
            statuses: list[RunStatus] = ["failed", "done"] if self.remeasure.every else ["failed"]
            repeat_trainings(self.store, list(self.networks), statuses)
        self._names = _names(self.networks)
        self.state = TrainingState(len(self.networks))
        self._read()

    def run(self) -> TrainingState:
        """Train until no network is left, or until stopped; return the last state.

        Raises:
            MnfpnError: where no worker is left, or the store fails; the scores so far are stored.
        """
        self.report(self.state)
        try:
            while not self.stopped():
                self.claims.beat()
                for worker in self.pool.idle():
                    self._start_next(worker)
                if not self._running and not self._has_more():
                    break
                for worker, outcome in self.pool.wait(POLL_S):
                    self._finish(worker, outcome)
                if notes := self.pool.notes():
                    self.state = replace(self.state, notes=(*self.state.notes, *notes))
                    self.report(self.state)
        finally:
            self.claims.release()
        return self.state

    def _start_next(self, worker: Worker) -> None:
        while self._queue:
            key = self._queue.popleft()
            if self.claims.claim(key):
                self._running[worker] = key
                self.pool.start(worker, self._task(key))
                return

    def _task(self, key: str) -> ScoreTask:
        network = self.networks[key]
        values = {"size": str(network.size), "dtype": network.dtype, "key": key}
        settings = network.settings.model_dump_json(indent=2)
        return ScoreTask(self.scoring.command, settings, values, str(Path.cwd()), self.scoring.timeout_s)

    def _has_more(self) -> bool:
        """Return whether trainings are queued, or claimed by another process that may yet give them up.

        Raises:
            MnfpnError: where no worker is left.
        """
        if not self._queue:
            self.claims.release_expired()
            self._read()
            if not self.state.left:
                return False
            self.pool.wait(POLL_S)
        network = next(iter(self.networks.values()))
        if not self.pool.alive(Run(network.settings, network.size)):
            raise MnfpnError("no worker is left that can run the trainings")
        return True

    def _read(self) -> None:
        """Read the trainings from the store, and queue those that are pending."""
        stored = read_trainings(self.store, list(self.networks))
        counts = Counter(one.status for one in stored.values())
        self.state = replace(self.state, total=len(stored), done=counts["done"], failed=counts["failed"])
        running = set(self._running.values())
        self._queue = deque(
            key for key in self.networks if key in stored and stored[key].status == "pending" and key not in running
        )

    def _finish(self, worker: Worker, outcome: object) -> None:
        """Store how a training ended, or queue it again where its worker was lost or the sweep is stopped."""
        key = self._running.pop(worker)
        if isinstance(outcome, Lost):
            self._losses[key] += 1
            if self._losses[key] < MAX_LOSSES:
                self.claims.release(key)
                self._queue.appendleft(key)
                return
            reason = f"the workers that ran it were lost {MAX_LOSSES} times: {outcome.why}"
            outcome = Scored("failed", worker.name, now(), now(), reason)
        assert isinstance(outcome, Scored)
        if self.stopped() and outcome.status == "failed":
            return  # it was ended by the stop; `run` releases its claim
        if self._store(key, outcome):
            done, failed = self.state.done, self.state.failed
            done, failed = done + (outcome.status == "done"), failed + (outcome.status == "failed")
            self.state = replace(self.state, done=done, failed=failed, last=self._names[key])
            self.report(self.state)

    def _store(self, key: str, scored: Scored) -> bool:
        """Store how a training ended, with its scores; return False where the claim has expired."""
        network, columns = self.networks[key], t.trainings.c
        scores = [
            NewScore(
                network.settings,
                network.size,
                network.dtype,
                StoredScore(metric, value, self.scoring.command, scored.finished),
            )
            for metric, value in scored.scores.items()
        ]
        values = {name: getattr(scored, name) for name in ("status", "reason", "log", "worker", "started", "finished")}

        ended = (columns.key == key, columns.status != "pending", columns.started == scored.started)
        return self.claims.end(key, values, inserting(self.store, scores), select(columns.key).where(*ended))


def trainings_of_sweep(store: Store, sweep: Sweep) -> dict[str, ScoredNetwork]:
    """Return the networks of a sweep to train, by the key of their trainings, which the store then has.

    These are those that were measured, and not slower than the sweep's limit of latency by every runtime.

    Raises:
        StoreError: where the store cannot be read or written.
    """
    scoring, limit = sweep.plan.scoring, sweep.plan.measuring.max_latency_s or float("inf")
    runs = [one for one in read_runs(store, sweep.id, "done") if (one.latency_s or 0.0) <= limit]
    return add_trainings(store, networks_of(runs), scoring.command) if scoring and runs else {}


def has_trainings_left(store: Store, sweep: Sweep) -> bool:
    """Return whether a sweep has measured networks that are not trained yet.

    Raises:
        StoreError: where the store cannot be read or written.
    """
    if sweep.plan.scoring is None:
        return False
    stored = read_trainings(store, list(trainings_of_sweep(store, sweep)))
    return any(one.status == "pending" for one in stored.values())


def retry_trainings(store: Store, sweeps: Sequence[Sweep]) -> None:
    """Make the failed trainings of sweeps pending again.

    Raises:
        StoreError: where the store cannot be read or written.
    """
    for sweep in sweeps:
        if sweep.plan.scoring:
            repeat_trainings(store, list(trainings_of_sweep(store, sweep)), ["failed"])


def trainings_record(store: Store, sweeps: Sequence[Sweep]) -> TrainingsRecord | None:
    """Return how many networks of sweeps were trained, and which failed; None where no sweep trains any.

    Raises:
        StoreError: where the store cannot be read or written.
    """
    networks = dict[str, ScoredNetwork]()
    for sweep in sweeps:
        if sweep.plan.scoring:
            networks |= trainings_of_sweep(store, sweep)
    if not any(sweep.plan.scoring for sweep in sweeps):
        return None
    stored, names = read_trainings(store, list(networks)), _names(networks)
    counts = Counter(one.status for one in stored.values())
    failed = [one for one in stored.values() if one.status == "failed"]
    return TrainingsRecord(
        done=counts["done"],
        pending=counts["pending"],
        failed=tuple(_failed_training(one, names[one.key]) for one in failed),
    )


def _failed_training(one: StoredTraining, name: str) -> FailedTraining:
    lines = (one.log or "").strip().splitlines()
    return FailedTraining(name=name, reason=one.reason or "", last_line=lines[-1] if lines else "")


def _names(networks: Mapping[str, ScoredNetwork]) -> dict[str, str]:
    """Return the name of each network, by what sets it apart."""
    runs = {key: Run(one.settings, one.size, Execution(dtype=one.dtype)) for key, one in networks.items()}
    name = run_namer(list(runs.values()))
    return {key: name(run) for key, run in runs.items()}
