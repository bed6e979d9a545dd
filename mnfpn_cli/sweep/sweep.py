"""A sweep under way: runs claimed, measured on the workers of a pool, and put down one by one."""

import time
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from secrets import token_hex
from statistics import fmean

from mnfpn_cli.documents.sweep import MeasuringRecord
from mnfpn_cli.errors import MnfpnError
from mnfpn_cli.store.claims import Claims
from mnfpn_cli.store.errors import StoreError
from mnfpn_cli.store.merge import rescue
from mnfpn_cli.store.read import pending_keys, read_runs
from mnfpn_cli.store.rows import BaselineTiming, Result, StoredRun
from mnfpn_cli.store.store import Store
from mnfpn_cli.store.sweeps import add_baseline, now, sweeps
from mnfpn_cli.sweep.drift import drift_at
from mnfpn_cli.sweep.order import Baselines, Rates, Way, way_of
from mnfpn_cli.sweep.pool import Lost, Pool, Worker
from mnfpn_cli.sweep.process import Outcome
from mnfpn_cli.sweep.start import task_of
from mnfpn_cli.sweep.state import CannotRun, State

POLL_S = 0.25
MAX_LOSSES = 3
"""So often a run's machine may die before the run itself is held to be the reason."""


@dataclass
class SweepRun:
    """One process's share of a sweep.

    Attributes:
        store: where the sweep is.
        sweep: its number there.
        pool: what measures.
        measuring: how it measures.
        stopped: asked all the time; the run ends where it says so.
        tell: is told how far the sweep is.
    """

    store: Store
    sweep: int
    pool: Pool
    measuring: MeasuringRecord
    stopped: Callable[[], bool] = lambda: False
    tell: Callable[[State], None] = lambda _state: None
    clock: Callable[[], float] = time.monotonic
    _running: dict[Worker, tuple[StoredRun, bool, float]] = field(default_factory=dict)
    _cannot: dict[tuple[Worker, Way], str] = field(default_factory=dict)
    _left_out: set[str] = field(default_factory=set)
    _losses: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    _seconds: list[float] = field(default_factory=list)
    _taken: list[BaselineTiming] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.runs: Mapping[str, StoredRun] = {one.key: one for one in read_runs(self.store, self.sweep)}
        self._known = sweeps(self.store)
        self.claims = Claims(self.store)
        self.baselines = Baselines(self.runs, self.measuring.baseline_every)
        self.rates = Rates(self.measuring.max_latency_s)
        self.state = State(self.sweep, len(self.runs))
        for one in self.runs.values():
            if one.status != "pending":
                self._count(one)
        for one in read_runs(self.store, status="done"):
            self.rates.learn(one)
        self._queue = deque(pending_keys(self.store, self.sweep))

    def run(self) -> State:
        """Measure what is left, until nothing is, or until stopped.

        Raises:
            MnfpnError: where no machine is left, or the store fails; what was measured by then is kept.
        """
        reachable = True
        try:
            while not self.stopped():
                self.claims.beat()
                self._keep_busy()
                if not self._running and not self._more():
                    break
                for worker, outcome in self.pool.wait(POLL_S):
                    self._take(worker, outcome)
                for line in self.pool.notes():
                    self._note(line)
                self.tell(self.state)
        except StoreError:
            reachable = False  # the claims lapse without us
            raise
        finally:
            if reachable:
                self.claims.release()
        return self.state

    def _keep_busy(self) -> None:
        if not self._running:
            self._leave_out_what_cannot_run()
        for worker in self.pool.idle():
            run, is_baseline = self.baselines.due(worker) if self._has_work(worker) else None, True
            if run is None:
                run, is_baseline = self._next(worker), False
            if run is None and not self._queue:
                run, is_baseline = self.baselines.due(worker, last=True), True
            if run is not None:
                self._running[worker] = (run, is_baseline, self.clock())
                self.pool.start(worker, task_of(run, self.measuring, is_baseline))

    def _has_work(self, worker: Worker) -> bool:
        runs = (self.runs[key] for key in self._queue)
        return any(self._can(worker, one) and not self.rates.too_slow(one) for one in runs)

    def _can(self, worker: Worker, run: StoredRun) -> bool:
        return worker.takes(run.planned.run) and (worker, way_of(run)) not in self._cannot

    def _leave_out_what_cannot_run(self) -> None:
        """Pass over the runs that no worker can run: one of each way was tried on each worker."""
        workers, found = self.pool.idle(), list[CannotRun]()
        for run in [self.runs[key] for key in self._queue] if self._cannot else ():
            taking = [worker for worker in workers if worker.takes(run.planned.run)]
            if taking and not any(self._can(worker, run) for worker in taking):
                found.append(CannotRun(run, self._cannot[taking[0], way_of(run)]))
        if found:
            self._left_out |= {one.run.key for one in found}
            self._queue = deque(key for key in self._queue if key not in self._left_out)
            self.state = replace(self.state, not_run=(*self.state.not_run, *found))

    def _next(self, worker: Worker) -> StoredRun | None:
        """The next run that this worker can measure and nobody else does, claimed."""
        for key in [key for key in self._queue if self._can(worker, self.runs[key])]:
            self._queue.remove(key)
            if self.rates.too_slow(self.runs[key]):
                self._left_out.add(key)
                self.state = replace(self.state, skipped=self.state.skipped + 1)
            elif self.claims.claim(key):
                return self.runs[key]
        return None

    def _more(self) -> bool:
        """Whether there is, or may come, something to do: runs that other sweeps had and gave up, say."""
        if self._queue:
            if not any(self.pool.alive(self.runs[key].planned.run) for key in self._queue):
                raise MnfpnError("no machine is left that could measure the runs that are left")
            return True
        self.claims.release_expired()
        fresh = {one.key: one for one in read_runs(self.store, self.sweep)}
        for key, one in fresh.items():
            if one.status != "pending" and self.runs[key].status == "pending":
                self._count(one)  # another sweep has measured it
        self.runs = {**self.runs, **fresh}
        self._queue.extend(key for key in pending_keys(self.store, self.sweep) if key not in self._left_out)
        others = sum(one.status == "pending" and key not in self._left_out for key, one in fresh.items())
        self.state = replace(self.state, others=others - len(self._queue))
        return others > 0

    def _take(self, worker: Worker, outcome: Outcome | Lost) -> None:
        run, is_baseline, started = self._running.pop(worker)
        if isinstance(outcome, Lost):
            self._lost(worker, run, is_baseline, outcome)
            return
        if outcome.status == "unavailable":
            self._cannot_run(worker, run, is_baseline, outcome.reason or "")
            return
        self._seconds.append(self.clock() - started)
        self.baselines.measured(worker, run, is_baseline)
        result = Result(
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
            self._refer(run, result)
        elif not self.stopped() or outcome.status == "done":
            self._put_down(run, result)

    def _cannot_run(self, worker: Worker, run: StoredRun, is_baseline: bool, reason: str) -> None:
        self._cannot[worker, way_of(run)] = reason
        self.baselines.cannot_run(run)
        if not is_baseline:
            self.claims.release(run.key)
            self._queue.appendleft(run.key)

    def _put_down(self, run: StoredRun, result: Result) -> None:
        try:
            ours = self.claims.finish(run.key, result)
        except StoreError as error:
            file = rescue(error, run, result, next(one for one in self._known if one.id == self.sweep))
            rescued = f"what was measured last is in {file}; mnfpn runs merge brings it in"
            raise StoreError(*error.problems, rescued) from error
        if ours:
            measured = replace(run, status=result.status, result=result)
            self.runs = {**self.runs, run.key: measured}
            self._count(measured)

    def _refer(self, run: StoredRun, result: Result) -> None:
        if result.status == "failed":
            then = "another is taken" if self.baselines.failed(run) else "drift of the machine is not seen"
            self._note(f"the baseline run ({run.planned.run}) failed, and {then}: {result.reason}")
        else:
            one = BaselineTiming(result.id, self.sweep, run.key, result.worker, result.finished, result.samples)
            add_baseline(self.store, one)
            self._taken.append(one)
            self.state = replace(self.state, drift=drift_at(self._taken, one.worker, one.finished))

    def _lost(self, worker: Worker, run: StoredRun, is_baseline: bool, lost: Lost) -> None:
        self._note(f"{worker.name} is lost: {lost.why}")
        if is_baseline:
            return
        self._losses[run.key] += 1
        if self._losses[run.key] < MAX_LOSSES:
            self.claims.release(run.key)
            self._queue.appendleft(run.key)
        else:
            reason = f"the machines that measured it were lost {MAX_LOSSES} times: {lost.why}"
            self._put_down(run, Result(token_hex(16), self.sweep, "failed", worker.name, now(), now(), reason))

    def _count(self, run: StoredRun) -> None:
        done, failures = self.state.done + (run.status == "done"), self.state.failed + (run.status == "failed")
        self.rates.learn(run)
        self.state = replace(self.state, done=done, failed=failures, best=self.rates.better(self.state.best, run))
        if self._seconds:
            workers = max(1, len(self._running) + len(self.pool.idle()))
            self.state = replace(self.state, left_s=fmean(self._seconds) * self.state.left / workers)

    def _note(self, line: str) -> None:
        self.state = replace(self.state, notes=(*self.state.notes, line))
