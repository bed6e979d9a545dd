"""Measure the runs of a sweep: claim each, measure it on a worker of a pool, and store its result."""

import time
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from secrets import token_hex
from statistics import fmean
from typing import TYPE_CHECKING

from mnfpn_cli.documents.sweep import MeasuringRecord
from mnfpn_cli.documents.worker import RunRequest
from mnfpn_cli.errors import MnfpnError
from mnfpn_cli.external.origin import input_record
from mnfpn_cli.store.claims import Claims
from mnfpn_cli.store.errors import StoreError
from mnfpn_cli.store.merge import rescue
from mnfpn_cli.store.read import pending_keys, read_runs
from mnfpn_cli.store.rows import BaselineTiming, StoredResult, StoredRun
from mnfpn_cli.store.store import Store
from mnfpn_cli.store.sweeps import add_baseline, now, read_sweeps
from mnfpn_cli.sweep.drift import drift_at
from mnfpn_cli.sweep.order import Baselines, Rates, Requirements, requirements
from mnfpn_cli.sweep.pool import MAX_LOSSES, POLL_S, Ending, Lost, Pool, Worker
from mnfpn_cli.sweep.process import Outcome, Task
from mnfpn_cli.sweep.state import CannotRun, State

if TYPE_CHECKING:
    from mnfpn_cli.sweep.teaching import Teacher


@dataclass(frozen=True, slots=True)
class Measurement:
    """What a worker is measuring; ``started``: in seconds of the sweep's clock."""

    run: StoredRun
    is_baseline: bool
    started: float


@dataclass
class Sweeper:
    """Measures the pending runs of a sweep. Several processes may share one sweep.

    Attributes:
        store: the store that has the sweep.
        sweep: the sweep's number in the store.
        pool: the workers.
        measuring: the options of the measurements.
        stopped: polled between measurements; the sweep ends when it returns true.
        report: called with the new state after each poll.
        clock: gives seconds.
        teacher: chooses the runs to measure; None for all that are pending.
    """

    store: Store
    sweep: int
    pool: Pool
    measuring: MeasuringRecord
    stopped: Callable[[], bool] = lambda: False
    report: Callable[[State], None] = lambda _state: None
    clock: Callable[[], float] = time.monotonic
    teacher: "Teacher | None" = None
    _running: dict[Worker, Measurement] = field(default_factory=dict)
    _unavailable: dict[tuple[Worker, Requirements], str] = field(default_factory=dict)
    _left_out: set[str] = field(default_factory=set)
    _losses: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    _durations: list[float] = field(default_factory=list)
    _baselines: list[BaselineTiming] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.runs: Mapping[str, StoredRun] = {run.key: run for run in read_runs(self.store, self.sweep)}
        self._record = next(sweep for sweep in read_sweeps(self.store) if sweep.id == self.sweep)
        self.claims = Claims(self.store)
        self.baselines = Baselines(self.runs, self.measuring.baseline_every)
        self.rates = Rates(self.measuring.max_latency_s)
        self.state = State(self.sweep, len(self.runs))
        for run in self.runs.values():
            if run.status != "pending":
                self._count(run)
        for run in read_runs(self.store, status="done"):
            self.rates.learn(run)
        self._count_to_measure()
        self._queue = deque(pending_keys(self.store, self.sweep) if self.teacher is None else ())

    def _count_to_measure(self) -> None:
        """With a teacher, count the runs that may still be measured; runs that are left out take none of them."""
        if self.teacher is not None:
            ended = self.state.done + self.state.failed + self.state.skipped + len(self.state.not_run)
            left = self.teacher.left({key: run for key, run in self.runs.items() if key not in self._left_out})
            self.state = replace(self.state, total=ended + left)

    def run(self) -> State:
        """Measure until no run is left, or until stopped; return the last state.

        Raises:
            MnfpnError: where no worker is left, or the store fails; the results so far are stored.
        """
        reachable = True
        try:
            while not self.stopped():
                self.claims.beat()
                self._start_idle_workers()
                if not self._running and not self._has_more():
                    break
                for worker, outcome in self.pool.wait(POLL_S):
                    self._finish(worker, outcome)
                for line in self.pool.notes():
                    self._note(line)
                self.report(self.state)
        except StoreError:
            reachable = False  # the claims expire by themselves
            raise
        finally:
            if reachable:
                self.claims.release()
        return self.state

    def _start_idle_workers(self) -> None:
        if self.teacher is not None and not self._running and not self._queue:
            self._queue.extend(self.teacher.next(self.runs, self._left_out, self._baselines))
        if not self._running:
            self._leave_out_unavailable()
        for worker in self.pool.idle():
            if measurement := self._next(worker):
                self._running[worker] = measurement
                self.pool.start(worker, task_of(measurement.run, self.measuring, measurement.is_baseline))

    def _next(self, worker: Worker) -> Measurement | None:
        """Choose what a worker measures next: a baseline run that is due, a run, or the last baseline run."""
        if self._has_work(worker) and (baseline := self.baselines.due(worker)):
            return Measurement(baseline, True, self.clock())
        if run := self._claim_next(worker):
            return Measurement(run, False, self.clock())
        if not self._queue and (baseline := self.baselines.due(worker, last=True)):
            return Measurement(baseline, True, self.clock())
        return None

    def _has_work(self, worker: Worker) -> bool:
        queued = (self.runs[key] for key in self._queue)
        return any(self._can_run(worker, run) and not self.rates.too_slow(run) for run in queued)

    def _can_run(self, worker: Worker, run: StoredRun) -> bool:
        return worker.takes(run.planned.run) and (worker, requirements(run)) not in self._unavailable

    def _leave_out_unavailable(self) -> None:
        """Leave out the queued runs that every worker is known to be unable to run."""
        workers, left_out = self.pool.idle(), list[CannotRun]()
        for run in [self.runs[key] for key in self._queue] if self._unavailable else ():
            taking = [worker for worker in workers if worker.takes(run.planned.run)]
            if taking and not any(self._can_run(worker, run) for worker in taking):
                left_out.append(CannotRun(run, self._unavailable[taking[0], requirements(run)]))
        if left_out:
            self._left_out |= {one.run.key for one in left_out}
            self._queue = deque(key for key in self._queue if key not in self._left_out)
            self.state = replace(self.state, not_run=(*self.state.not_run, *left_out))
            self._count_to_measure()

    def _claim_next(self, worker: Worker) -> StoredRun | None:
        """Claim the next queued run that the worker can run; return None where there is none."""
        for key in [key for key in self._queue if self._can_run(worker, self.runs[key])]:
            self._queue.remove(key)
            if self.rates.too_slow(self.runs[key]):
                self._left_out.add(key)
                self.state = replace(self.state, skipped=self.state.skipped + 1)
                self._count_to_measure()
            elif self.claims.claim(key):
                return self.runs[key]
            elif self.teacher is not None:
                self._left_out.add(key)  # another process measures it
        return None

    def _has_more(self) -> bool:
        """Return whether runs are queued, or claimed by another process that may yet give them up.

        Raises:
            MnfpnError: where no worker is left for the queued runs.
        """
        if self._queue:
            if not any(self.pool.alive(self.runs[key].planned.run) for key in self._queue):
                raise MnfpnError("no worker is left that can measure the pending runs")
            return True
        if self.teacher is not None:
            return False  # it was asked, and wants no more
        self.claims.release_expired()
        stored = {run.key: run for run in read_runs(self.store, self.sweep)}
        for key, run in stored.items():
            if run.status != "pending" and self.runs[key].status == "pending":
                self._count(run)  # another process has measured it
        self.runs = {**self.runs, **stored}
        self._queue.extend(key for key in pending_keys(self.store, self.sweep) if key not in self._left_out)
        others = sum(run.status == "pending" and key not in self._left_out for key, run in stored.items())
        self.state = replace(self.state, others=others - len(self._queue))
        return others > 0

    def _finish(self, worker: Worker, outcome: Ending) -> None:
        """Store the outcome of a worker's measurement, or queue the run again."""
        measurement = self._running.pop(worker)
        run, is_baseline = measurement.run, measurement.is_baseline
        if isinstance(outcome, Lost):
            self._lose(worker, run, is_baseline, outcome)
            return
        assert isinstance(outcome, Outcome)
        if outcome.status == "unavailable":
            self._mark_unavailable(worker, run, is_baseline, outcome.reason or "")
            return
        self._durations.append(self.clock() - measurement.started)
        self.baselines.measured(worker, run, is_baseline)
        result = StoredResult(
            token_hex(16),
            self.sweep,
            outcome.status,
            outcome.worker,
            outcome.started,
            outcome.finished,
            outcome.reason,
            outcome.measured,
        )
        if is_baseline:
            self._store_baseline(run, result)
        elif not self.stopped() or outcome.status == "done":
            self._store_result(run, result)

    def _mark_unavailable(self, worker: Worker, run: StoredRun, is_baseline: bool, reason: str) -> None:
        self._unavailable[worker, requirements(run)] = reason
        self.baselines.cannot_run(run)
        if not is_baseline:
            self._requeue(run)

    def _requeue(self, run: StoredRun) -> None:
        self.claims.release(run.key)
        self._queue.appendleft(run.key)

    def _store_result(self, run: StoredRun, result: StoredResult) -> None:
        try:
            ours = self.claims.finish(run.key, result)
        except StoreError as error:
            file = rescue(error, run, result, self._record)
            rescued = f"the last result is saved in {file}; add it to the store with mnfpn runs merge"
            raise StoreError(*error.problems, rescued) from error
        if ours:
            measured = replace(run, status=result.status, result=result)
            self.state = replace(self.state, last=measured)
            self.runs = {**self.runs, run.key: measured}
            self._count(measured)

    def _store_baseline(self, run: StoredRun, result: StoredResult) -> None:
        if result.status == "failed":
            then = "another is chosen" if self.baselines.failed(run) else "the sweep continues without drift checks"
            self._note(f"the baseline run ({run.planned.run}) failed, {then}: {result.reason}")
        else:
            baseline = BaselineTiming(result.id, self.sweep, run.key, result.worker, result.finished, result.samples)
            add_baseline(self.store, baseline)
            self._baselines.append(baseline)
            drift = drift_at(self._baselines, baseline.worker, baseline.finished)
            self.state = replace(self.state, drift=drift)

    def _lose(self, worker: Worker, run: StoredRun, is_baseline: bool, lost: Lost) -> None:
        """Queue the run of a lost worker again; after `MAX_LOSSES` losses the run has failed."""
        self._note(f"{worker.name} is lost: {lost.why}")
        if is_baseline:
            return
        self._losses[run.key] += 1
        if self._losses[run.key] < MAX_LOSSES:
            self._requeue(run)
        else:
            reason = f"the workers that measured it were lost {MAX_LOSSES} times: {lost.why}"
            self._store_result(
                run, StoredResult(token_hex(16), self.sweep, "failed", worker.name, now(), now(), reason)
            )

    def _count(self, run: StoredRun) -> None:
        done, failed = self.state.done + (run.status == "done"), self.state.failed + (run.status == "failed")
        self.rates.learn(run)
        self.state = replace(self.state, done=done, failed=failed, best=self.rates.better(self.state.best, run))
        if self._durations:
            workers = max(1, len(self._running) + len(self.pool.idle()))
            self.state = replace(self.state, left_s=fmean(self._durations) * self.state.left / workers)

    def _note(self, line: str) -> None:
        self.state = replace(self.state, notes=(*self.state.notes, line))


def task_of(run: StoredRun, measuring: MeasuringRecord, is_baseline: bool) -> Task:
    """Return the task that measures a run; layers are not timed for a baseline run."""
    execution = asdict(run.execution)
    execution.pop("batch")  # the input has it
    work = RunRequest(
        settings=run.settings,
        input=input_record(run.planned.run.input),
        **execution,
        sampling=measuring.sampling,
        by_layer=measuring.by_layer and not is_baseline and run.execution.has_layers,
    )
    return Task(work, measuring.timeout_s)
