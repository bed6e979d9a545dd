"""A sweep measures each run once, repeats its baseline run, and loses no result whatever happens."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import func, select

from mnfpn_cli.documents.sweep import MeasuringRecord, ReusedRecord
from mnfpn_cli.documents.worker import SamplingRecord
from mnfpn_cli.errors import MnfpnError, Problem
from mnfpn_cli.space.planned import Budget, plan_space
from mnfpn_cli.store import rows as tables
from mnfpn_cli.store.change import retry_failed
from mnfpn_cli.store.claims import Claims
from mnfpn_cli.store.errors import StoreError
from mnfpn_cli.store.merge import merge_stores
from mnfpn_cli.store.read import read_runs
from mnfpn_cli.store.rows import StoredResult
from mnfpn_cli.store.store import Store, open_store
from mnfpn_cli.store.sweeps import REMEASURE_NONE, Remeasure, read_baselines, read_sweeps
from mnfpn_cli.sweep.pool import Lost, Worker
from mnfpn_cli.sweep.process import Outcome, Task
from mnfpn_cli.sweep.reuse import reused, reused_by_any
from mnfpn_cli.sweep.start import Chosen, begin
from mnfpn_cli.sweep.state import State
from mnfpn_cli.sweep.sweep import Sweeper
from tests.space.spaces import space_of
from tests.sweep.pools import FakePool, failed, measured, no_graphs, steady
from tests.sweep.works import width_of

MACHINE = "a CPU, 2 cores"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty store."""
    with open_store(str(tmp_path / "runs.db"), create=True) as opened:
        yield opened


def sweep_of(
    store: Store,
    measuring: MeasuringRecord | None = None,
    widths: int = 12,
    remeasure: Remeasure = REMEASURE_NONE,
    **axes: list[object],
) -> int:
    """Insert a sweep over some widths; return its number."""
    space = space_of(width_mult=[round(0.35 + index / 10, 2) for index in range(widths)], size=["64"], **axes)
    planned = plan_space(space, Budget())
    return begin(
        store, Chosen(planned.runs, planned, "all", "mnfpn sweep"), measuring or MeasuringRecord(), MACHINE, remeasure
    )


def run(store: Store, sweep: int, pool: FakePool, measuring: MeasuringRecord | None = None) -> State:
    """Measure the pending runs of a sweep."""
    return Sweeper(store, sweep, pool, measuring or MeasuringRecord()).run()


def results(store: Store) -> Counter[str]:
    """The number of results of each run, by key."""
    query = select(tables.results.c.key, func.count()).group_by(tables.results.c.key)
    return Counter({row[0]: row[1] for row in store.read(lambda connection: connection.execute(query).all())})


def test_each_run_is_measured_once_in_random_order(store: Store) -> None:
    """The order is not that of the axes."""
    sweep, pool = sweep_of(store), FakePool()
    state = run(store, sweep, pool)
    assert (state.done, state.failed, state.left) == (12, 0, 0)
    assert set(results(store).values()) == {1}
    assert len(results(store)) == 12
    widths = [width_of(task) for _, task in pool.tasks]
    assert widths != sorted(widths)


def test_a_repeated_sweep_measures_nothing_twice(store: Store) -> None:
    """Runs that the store has, from any sweep, count as done; new ones are measured."""
    run(store, sweep_of(store, widths=4), FakePool())
    pool = FakePool()
    state = run(store, sweep_of(store, widths=6), pool)
    assert (state.total, state.done) == (6, 6)
    assert len(results(store)) == 6
    assert set(results(store).values()) == {1}


def test_again_measures_anew_and_keeps_the_older_result(store: Store) -> None:
    """Each run has two results, of which the newer counts."""
    run(store, sweep_of(store, widths=2), FakePool())
    planned = plan_space(space_of(width_mult=[0.35, 0.45], size=["64"]), Budget())
    again = begin(
        store, Chosen(planned.runs, planned, "all", ""), MeasuringRecord(), MACHINE, remeasure=Remeasure(every=True)
    )
    run(store, again, FakePool(lambda _: measured([0.02] * 8)))
    assert sorted(results(store).values()) == [2, 2]
    assert [one.latency_s for one in read_runs(store)] == [0.02, 0.02]


def test_the_baseline_run_is_measured_first_in_between_and_last(store: Store) -> None:
    """It is the median run by MACs, measured with the same options; its times are no results of that run."""
    measuring = MeasuringRecord(sampling=SamplingRecord(max_time_s=1), baseline_every=5)
    sweep, pool = sweep_of(store, measuring), FakePool()
    run(store, sweep, pool, measuring)
    assert len(pool.tasks) == 12 + 4
    times = Counter(task.work.model_dump_json() for _, task in pool.tasks)
    (baseline,) = [work for work, number in times.items() if number > 1]
    assert times[baseline] == 5  # four times as the baseline, once as a run
    assert pool.tasks[0][1].work.model_dump_json() == baseline
    assert pool.tasks[-1][1].work.model_dump_json() == baseline
    assert pool.tasks[0][1].work.sampling == measuring.sampling
    assert len(read_baselines(store)) == 4


def test_a_run_that_fails_is_stored_with_its_reason(store: Store) -> None:
    """The others are measured; it is tried again only on request."""

    def third_fails(task: Task) -> Outcome:
        return failed("out of memory") if width_of(task) == 0.55 else steady(task)

    sweep = sweep_of(store)
    state = run(store, sweep, FakePool(third_fails))
    assert (state.done, state.failed) == (11, 1)
    (broken,) = read_runs(store, status="failed")
    assert broken.result is not None
    assert broken.result.reason == "out of memory"
    pool = FakePool()
    assert run(store, sweep, pool).failed == 1
    assert pool.tasks == []
    assert retry_failed(store) == 1
    assert run(store, sweep, FakePool()).failed == 0


def test_a_baseline_run_that_fails_is_replaced_with_a_warning(store: Store) -> None:
    """By the median of the others; every run is measured."""
    failures = iter([True])

    def first_fails(task: Task) -> Outcome:
        return failed("too large") if next(failures, False) else steady(task)

    pool = FakePool(first_fails)
    state = run(store, sweep_of(store), pool)
    assert (state.done, state.failed) == (12, 0)
    assert "failed, another is chosen: too large" in state.notes[0]
    assert pool.tasks[0][1].work != pool.tasks[1][1].work == pool.tasks[-1][1].work
    assert len(read_baselines(store)) == 3


def test_after_three_failed_baseline_runs_there_is_none(store: Store) -> None:
    """Drift is not checked, and every run has a result."""
    pool = FakePool(lambda _: failed("too large"))
    state = run(store, sweep_of(store), pool)
    assert state.failed == 12
    assert "failed, the sweep continues without drift checks: too large" in state.notes[-1]
    assert len(pool.tasks) == 15


def test_a_run_whose_worker_is_lost_is_measured_by_another(store: Store) -> None:
    """It has one result; the lost worker is not used again."""
    workers = [Worker("1", "one"), Worker("2", "two")]
    deaths = iter([True])

    def first_dies(task: Task) -> Outcome | Lost:
        pool_is_warm = len(pool.tasks) > 6
        return Lost("its worker is gone") if pool_is_warm and next(deaths, False) else steady(task)

    pool = FakePool(first_dies, workers)
    state = run(store, sweep_of(store), pool)
    assert (state.done, state.failed) == (12, 0)
    assert set(results(store).values()) == {1}
    assert any("is lost: its worker is gone" in line for line in state.notes)


def test_a_run_that_three_workers_were_lost_with_has_failed(store: Store) -> None:
    """It is taken to be the cause."""
    workers = [Worker(str(number), f"worker {number}") for number in range(5)]

    def deadly(task: Task) -> Outcome | Lost:
        return Lost("gone") if width_of(task) == 0.55 else steady(task)

    measuring = MeasuringRecord(baseline_every=100)
    state = run(store, sweep_of(store, measuring), FakePool(deadly, workers), measuring)
    assert (state.done, state.failed) == (11, 1)
    assert "were lost 3 times" in (read_runs(store, status="failed")[0].result or failed("")).reason  # type: ignore[operator]


def test_a_sweep_without_workers_ends_with_an_error(store: Store) -> None:
    """The results so far are stored, and the other runs are not claimed."""
    sweep = sweep_of(store)
    pool = FakePool(lambda task: Lost("gone") if len(pool.tasks) > 5 else steady(task))
    with pytest.raises(MnfpnError, match="no worker is left"):
        run(store, sweep, pool)
    assert len(results(store)) == 4
    assert run(store, sweep, FakePool()).done == 12
    assert set(results(store).values()) == {1}


def test_a_stopped_sweep_can_be_resumed(store: Store) -> None:
    """The runs being measured have no result; resuming measures exactly what is left."""
    sweep, pool = sweep_of(store), FakePool()
    stopped = Sweeper(store, sweep, pool, MeasuringRecord(), stopped=lambda: len(pool.tasks) > 5).run()
    assert 0 < stopped.done < 12
    assert run(store, sweep, FakePool()).done == 12
    assert set(results(store).values()) == {1}


def test_runs_too_slow_for_the_latency_limit_are_not_measured(store: Store) -> None:
    """They would exceed it at the highest rate of any run so far; they stay pending."""
    measuring = MeasuringRecord(max_latency_s=0.010)
    space = space_of(width_mult=[1.0], size=[str(side) for side in range(64, 577, 64)])
    planned = plan_space(space, Budget())
    sweep = begin(store, Chosen(planned.runs, planned, "all", ""), measuring, MACHINE)

    def by_area(task: Task) -> Outcome:
        return measured([0.001 * ((task.work.input.height or 0) / 64) ** 2] * 8)

    pool = FakePool(by_area)
    state = run(store, sweep, pool, measuring)
    slow = [one for one in read_runs(store) if (one.latency_s or 0) > 0.010]
    assert state.skipped > 0
    assert state.skipped + state.done == 9
    assert len(read_runs(store, status="pending")) == state.skipped
    assert len(slow) < 6
    assert state.best is not None
    assert state.best.size.height == 192


def test_runs_that_another_process_gives_up_are_measured(store: Store) -> None:
    """The sweep waits for what others have claimed."""
    sweep = sweep_of(store, widths=3)
    other = Claims(store, me="elsewhere/1/1.00/abcd", host="elsewhere")
    key = read_runs(store)[0].key
    assert other.claim(key)
    states = list[State]()

    def report(state: State) -> None:
        states.append(state)
        if state.others and len(states) > 20:
            other.release()

    assert Sweeper(store, sweep, FakePool(), MeasuringRecord(), report=report).run().done == 3
    assert max(state.others for state in states) == 1


def test_workers_get_the_runs_of_their_device(store: Store) -> None:
    """A worker for a GPU takes no run for the CPU; any worker takes one for ``auto``."""
    sweep = sweep_of(store, widths=3, device=["cpu", "cuda", "auto"])
    pool = FakePool(workers=[Worker("1", "one", "cpu"), Worker("2", "two", "cuda")])
    assert run(store, sweep, pool).done == 9
    for worker, task in pool.tasks:
        assert task.work.device in (worker.kind, "auto")


def test_runs_that_no_worker_can_run_are_left_out_with_the_reason(store: Store) -> None:
    """One run of each runtime is tried; they have not failed, stay pending, and none is the baseline run."""
    sweep, pool = sweep_of(store, widths=4, runtime=["cuda-graph", "eager"]), FakePool(no_graphs)
    state = run(store, sweep, pool)
    assert (state.done, state.failed, state.left, state.notes) == (4, 0, 0, ())
    assert [(one.run.execution.runtime, one.reason) for one in state.not_run] == [
        ("cuda-graph", "runs on CUDA alone")
    ] * 4
    assert len(read_baselines(store)) == 2
    assert all(task.work.runtime != "cuda-graph" for _, task in pool.tasks[2:])
    assert len(read_runs(store, status="pending")) == 4
    assert run(store, sweep, FakePool()).done == 8


def test_a_run_that_one_worker_cannot_run_is_measured_by_another(store: Store) -> None:
    """It stays queued for a worker that can."""
    sweep = sweep_of(store, widths=4, runtime=["cuda-graph", "eager"])
    pool = FakePool(workers=[Worker("1", "one"), Worker("2", "two")])

    def one_cannot(task: Task) -> Outcome:
        (worker,) = [worker for worker, given in reversed(pool.tasks) if given is task][:1]
        return no_graphs(task) if worker.name == "one" else steady(task)

    pool.measure = one_cannot
    state = run(store, sweep, pool)
    assert (state.done, state.not_run) == (8, ())


def test_layers_are_timed_where_the_store_lacks_them(store: Store) -> None:
    """A repeated sweep with ``by_layer`` measures runs without layer times once more, where the runtime has layers."""
    run(store, sweep_of(store, widths=2, runtime=["eager", "fused"]), FakePool())
    measuring = MeasuringRecord(by_layer=True)
    for times in (2, 0):
        pool = FakePool()
        sweep = sweep_of(store, measuring, 2, Remeasure(for_layers=True), runtime=["eager", "fused"])
        assert run(store, sweep, pool, measuring).done == 4
        assert sum(task.work.by_layer for _, task in pool.tasks) == times
    profiles = [one.profile for one in read_runs(store)]
    assert sum(one is not None for one in profiles) == 2
    assert sorted(results(store).values()) == [1, 1, 2, 2]


def test_a_repeated_sweep_tries_failed_runs_again_on_request(store: Store) -> None:
    """And no other runs."""
    run(
        store,
        sweep_of(store, widths=3),
        FakePool(lambda task: failed("x") if width_of(task) == 0.45 else steady(task)),
    )
    assert run(store, sweep_of(store, widths=3), FakePool()).failed == 1
    assert run(store, sweep_of(store, widths=3, remeasure=Remeasure(failed=True)), FakePool()).done == 3
    assert sorted(results(store).values()) == [1, 1, 2]


def test_results_measured_with_other_options_are_counted(store: Store) -> None:
    """By the options of both sweeps; results of the same options are not counted."""
    few, many = MeasuringRecord(sampling=SamplingRecord(passes=6)), MeasuringRecord(sampling=SamplingRecord(passes=30))
    run(store, sweep_of(store, few, 2), FakePool(), few)
    same, other, layered = (sweep_of(store, one, 4) for one in (few, many, MeasuringRecord(by_layer=True)))
    run(store, other, FakePool(), many)
    known = {one.id: one for one in read_sweeps(store)}
    found = {sweep: reused(known[sweep], read_runs(store, sweep), known) for sweep in (same, other, layered)}
    assert found[other] == [ReusedRecord(runs=2, measured_with="`passes` 6", wanted="`passes` 30")]
    assert found[same] == [ReusedRecord(runs=2, measured_with="`passes` 30", wanted="`passes` 6")]
    assert {(one.runs, one.measured_with, one.wanted) for one in found[layered]} == {
        (2, "`passes` 6", "`by_layer`"),
        (2, "`passes` 30", "`by_layer`"),
    }


def test_a_run_of_several_sweeps_counts_for_the_newest(store: Store) -> None:
    """The options that an older sweep wanted do not matter any more; equal records of several sweeps are added up."""
    few, many = MeasuringRecord(sampling=SamplingRecord(passes=6)), MeasuringRecord(sampling=SamplingRecord(passes=30))
    run(store, sweep_of(store, few, 2), FakePool(), few)
    run(store, sweep_of(store, many, 2, Remeasure(every=True)), FakePool(), many)
    known = {one.id: one for one in read_sweeps(store)}
    by_sweep = {number: read_runs(store, number) for number in known}
    assert reused_by_any(list(known.values()), by_sweep, known) == []
    for widths in (1, 2):
        number = sweep_of(store, few, widths)
        known = {one.id: one for one in read_sweeps(store)}
        by_sweep[number] = read_runs(store, number)
    assert reused_by_any(list(known.values()), by_sweep, known) == [
        ReusedRecord(runs=2, measured_with="`passes` 30", wanted="`passes` 6")
    ]


def test_layers_are_timed_where_the_runtime_has_them(store: Store) -> None:
    """Not for the baseline run, nor by runtimes that fuse layers."""
    measuring = MeasuringRecord(by_layer=True)
    sweep, pool = sweep_of(store, measuring, 2, runtime=["eager", "fused"]), FakePool()
    run(store, sweep, pool, measuring)
    asked = Counter((task.work.runtime == "fused", task.work.by_layer) for _, task in pool.tasks)
    assert asked[True, True] == 0
    assert asked[False, True] == 2


def test_a_result_that_the_store_rejects_is_saved_in_a_file(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sweep ends, the earlier results are stored, and merging the file adds the last one."""
    sweep, finish, finished = sweep_of(store, widths=4), Claims.finish, list[str]()

    def away_at_the_third(claims: Claims, key: str, result: StoredResult) -> bool:
        finished.append(key)
        if len(finished) == 3:
            raise StoreError(Problem("`store`", "'runs.db': the server has gone away"))
        return finish(claims, key, result)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Claims, "finish", away_at_the_third)
    saved = r"has gone away\nthe last result is saved in mnfpn-rescued-.*\.db; add it to the store with mnfpn runs"
    with pytest.raises(StoreError, match=saved):
        run(store, sweep, FakePool())
    assert len(results(store)) == 2
    (rescued,) = tmp_path.glob("mnfpn-rescued-*.db")
    with open_store(str(rescued)) as other:
        assert merge_stores(store, other) == 1
    assert set(results(store)) == set(finished)
