"""A sweep under way: each run once, the baseline in between, and nothing lost whatever happens."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import func, select

from mnfpn_cli.documents.sweep import MeasuringRecord
from mnfpn_cli.documents.worker import SamplingRecord
from mnfpn_cli.errors import MnfpnError, Problem
from mnfpn_cli.space.planned import Budget, plan_space
from mnfpn_cli.store import rows as tables
from mnfpn_cli.store.change import retry_failed
from mnfpn_cli.store.claims import Claims
from mnfpn_cli.store.errors import StoreError
from mnfpn_cli.store.merge import merge
from mnfpn_cli.store.read import read_runs
from mnfpn_cli.store.rows import Result
from mnfpn_cli.store.store import Store, open_store
from mnfpn_cli.store.sweeps import REMEASURE_NONE, Remeasure, baselines, sweeps
from mnfpn_cli.sweep.pool import Lost, Worker
from mnfpn_cli.sweep.process import Outcome, Task
from mnfpn_cli.sweep.start import Chosen, Reused, begin, reused, reused_by_any
from mnfpn_cli.sweep.state import State
from mnfpn_cli.sweep.sweep import SweepRun
from tests.space.spaces import space_of
from tests.sweep.pools import FakePool, failed, measured, no_graphs, steady

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
    again: Remeasure = REMEASURE_NONE,
    **axes: list[object],
) -> int:
    """A sweep over some widths, put down."""
    space = space_of(width_mult=[round(0.35 + index / 10, 2) for index in range(widths)], size=["64"], **axes)
    planned = plan_space(space, Budget())
    return begin(
        store, Chosen(planned.runs, planned, "all", "mnfpn sweep"), measuring or MeasuringRecord(), MACHINE, again
    )


def run(store: Store, sweep: int, pool: FakePool, measuring: MeasuringRecord | None = None) -> State:
    """Measure what is left of a sweep."""
    return SweepRun(store, sweep, pool, measuring or MeasuringRecord()).run()


def results(store: Store) -> Counter[str]:
    """How many results each run has."""
    query = select(tables.results.c.key, func.count()).group_by(tables.results.c.key)
    return Counter({row[0]: row[1] for row in store.read(lambda connection: connection.execute(query).all())})


def test_each_run_is_measured_once_in_random_order(store: Store) -> None:
    """And the order is none of the axes'."""
    sweep, pool = sweep_of(store), FakePool()
    state = run(store, sweep, pool)
    assert (state.done, state.failed, state.left) == (12, 0, 0)
    assert set(results(store).values()) == {1}
    assert len(results(store)) == 12
    widths = [task.work.settings.width_mult for _, task in pool.tasks]
    assert widths != sorted(widths)


def test_a_repeated_sweep_measures_nothing_twice(store: Store) -> None:
    """Runs that the store has are done, from whichever sweep; new ones are measured."""
    run(store, sweep_of(store, widths=4), FakePool())
    pool = FakePool()
    state = run(store, sweep_of(store, widths=6), pool)
    assert (state.total, state.done) == (6, 6)
    assert len(results(store)) == 6
    assert set(results(store).values()) == {1}


def test_what_is_asked_for_again_is_measured_again_and_nothing_is_lost(store: Store) -> None:
    """Two results, of which the newer counts."""
    run(store, sweep_of(store, widths=2), FakePool())
    planned = plan_space(space_of(width_mult=[0.35, 0.45], size=["64"]), Budget())
    again = begin(
        store, Chosen(planned.runs, planned, "all", ""), MeasuringRecord(), MACHINE, again=Remeasure(every=True)
    )
    run(store, again, FakePool(lambda _: measured([0.02] * 8)))
    assert sorted(results(store).values()) == [2, 2]
    assert [one.latency_s for one in read_runs(store)] == [0.02, 0.02]


def test_the_baseline_is_timed_first_in_between_and_last(store: Store) -> None:
    """The middle run by MACs, with the same options; its times are not results of runs."""
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
    assert len(baselines(store)) == 4


def test_a_run_that_fails_is_a_row_that_says_so(store: Store) -> None:
    """The others are measured; it is tried again only where that is asked for."""

    def third_fails(task: Task) -> Outcome:
        return failed("out of memory") if task.work.settings.width_mult == 0.55 else steady(task)

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


def test_a_baseline_that_fails_is_told_and_another_is_taken(store: Store) -> None:
    """The next in the middle; every run is measured."""
    failures = iter([True])

    def first_fails(task: Task) -> Outcome:
        return failed("too large") if next(failures, False) else steady(task)

    pool = FakePool(first_fails)
    state = run(store, sweep_of(store), pool)
    assert (state.done, state.failed) == (12, 0)
    assert "failed, and another is taken: too large" in state.notes[0]
    assert pool.tasks[0][1].work != pool.tasks[1][1].work == pool.tasks[-1][1].work
    assert len(baselines(store)) == 3


def test_baselines_that_fail_again_and_again_are_given_up(store: Store) -> None:
    """After three of them there is no word on drift, but a row for every run."""
    pool = FakePool(lambda _: failed("too large"))
    state = run(store, sweep_of(store), pool)
    assert state.failed == 12
    assert "failed, and drift of the machine is not seen: too large" in state.notes[-1]
    assert len(pool.tasks) == 15


def test_a_run_whose_machine_died_is_measured_elsewhere(store: Store) -> None:
    """Once; the worker is not used again."""
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


def test_a_run_that_kills_every_machine_fails_in_the_end(store: Store) -> None:
    """It is held to be the reason, after three of them."""
    workers = [Worker(str(number), f"worker {number}") for number in range(5)]

    def deadly(task: Task) -> Outcome | Lost:
        return Lost("gone") if task.work.settings.width_mult == 0.55 else steady(task)

    measuring = MeasuringRecord(baseline_every=100)
    state = run(store, sweep_of(store, measuring), FakePool(deadly, workers), measuring)
    assert (state.done, state.failed) == (11, 1)
    assert "were lost 3 times" in (read_runs(store, status="failed")[0].result or failed("")).reason  # type: ignore[operator]


def test_without_a_machine_a_sweep_ends_with_what_it_has(store: Store) -> None:
    """An error in words; what was measured is kept, and the rest is free."""
    sweep = sweep_of(store)
    pool = FakePool(lambda task: Lost("gone") if len(pool.tasks) > 5 else steady(task))
    with pytest.raises(MnfpnError, match="no machine is left"):
        run(store, sweep, pool)
    assert len(results(store)) == 4
    assert run(store, sweep, FakePool()).done == 12
    assert set(results(store).values()) == {1}


def test_a_sweep_that_is_stopped_leaves_the_rest_for_later(store: Store) -> None:
    """What runs is given back, not put down; going on measures exactly what is left."""
    sweep, pool = sweep_of(store), FakePool()
    stopped = SweepRun(store, sweep, pool, MeasuringRecord(), stopped=lambda: len(pool.tasks) > 5).run()
    assert 0 < stopped.done < 12
    assert run(store, sweep, FakePool()).done == 12
    assert set(results(store).values()) == {1}


def test_runs_that_cannot_keep_to_the_latency_are_not_measured(store: Store) -> None:
    """By the best rate that any run has reached; they stay pending."""
    measuring = MeasuringRecord(max_latency_s=0.010)
    space = space_of(width_mult=[1.0], size=[str(side) for side in range(64, 577, 64)])
    planned = plan_space(space, Budget())
    sweep = begin(store, Chosen(planned.runs, planned, "all", ""), measuring, MACHINE)

    def by_area(task: Task) -> Outcome:
        return measured([0.001 * (task.work.height / 64) ** 2] * 8)

    pool = FakePool(by_area)
    state = run(store, sweep, pool, measuring)
    slow = [one for one in read_runs(store) if (one.latency_s or 0) > 0.010]
    assert state.skipped > 0
    assert state.skipped + state.done == 9
    assert len(read_runs(store, status="pending")) == state.skipped
    assert len(slow) < 6
    assert state.best is not None
    assert state.best.size.height == 192


def test_runs_of_another_sweep_are_waited_for(store: Store) -> None:
    """What a process that died had claimed is measured here."""
    sweep = sweep_of(store, widths=3)
    other = Claims(store, me="elsewhere/1/1.00/abcd", host="elsewhere")
    key = read_runs(store)[0].key
    assert other.claim(key)
    states = list[State]()

    def tell(state: State) -> None:
        states.append(state)
        if state.others and len(states) > 20:
            other.release()

    assert SweepRun(store, sweep, FakePool(), MeasuringRecord(), tell=tell).run().done == 3
    assert max(state.others for state in states) == 1


def test_lanes_get_the_runs_of_their_kind(store: Store) -> None:
    """A worker with a GPU takes no run for the CPU; any takes the best that it has."""
    sweep = sweep_of(store, widths=3, device=["cpu", "cuda", "auto"])
    pool = FakePool(workers=[Worker("1", "one", "cpu"), Worker("2", "two", "cuda")])
    assert run(store, sweep, pool).done == 9
    for worker, task in pool.tasks:
        assert task.work.device in (worker.kind, "auto")


def test_what_cannot_run_is_left_out_with_its_reason(store: Store) -> None:
    """One run of each runtime is tried; they have not failed, stay to be measured, and none is the baseline."""
    sweep, pool = sweep_of(store, widths=4, runtime=["cuda-graph", "eager"]), FakePool(no_graphs)
    state = run(store, sweep, pool)
    assert (state.done, state.failed, state.left, state.notes) == (4, 0, 0, ())
    assert [(one.run.execution.runtime, one.reason) for one in state.not_run] == [
        ("cuda-graph", "runs on CUDA alone")
    ] * 4
    assert len(baselines(store)) == 2
    assert all(task.work.runtime != "cuda-graph" for _, task in pool.tasks[2:])
    assert len(read_runs(store, status="pending")) == 4
    assert run(store, sweep, FakePool()).done == 8


def test_what_one_machine_cannot_run_another_measures(store: Store) -> None:
    """It waits for a worker that can."""
    sweep = sweep_of(store, widths=4, runtime=["cuda-graph", "eager"])
    pool = FakePool(workers=[Worker("1", "one"), Worker("2", "two")])

    def one_cannot(task: Task) -> Outcome:
        (worker,) = [worker for worker, given in reversed(pool.tasks) if given is task][:1]
        return no_graphs(task) if worker.name == "one" else steady(task)

    pool.measure = one_cannot
    state = run(store, sweep, pool)
    assert (state.done, state.not_run) == (8, ())


def test_layers_are_timed_where_the_store_lacks_them(store: Store) -> None:
    """A repeated sweep that asks for layers measures again what has none, by runtimes that have layers; once."""
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


def test_a_repeated_sweep_tries_again_what_failed_where_that_is_asked_for(store: Store) -> None:
    """And nothing else."""
    run(
        store,
        sweep_of(store, widths=3),
        FakePool(lambda task: failed("x") if task.work.settings.width_mult == 0.45 else steady(task)),
    )
    assert run(store, sweep_of(store, widths=3), FakePool()).failed == 1
    assert run(store, sweep_of(store, widths=3, again=Remeasure(failed=True)), FakePool()).done == 3
    assert sorted(results(store).values()) == [1, 1, 2]


def test_results_of_other_options_are_known(store: Store) -> None:
    """So many of them, and of which options; not those that were measured with the same."""
    few, many = MeasuringRecord(sampling=SamplingRecord(passes=6)), MeasuringRecord(sampling=SamplingRecord(passes=30))
    run(store, sweep_of(store, few, 2), FakePool(), few)
    same, other, layered = (sweep_of(store, one, 4) for one in (few, many, MeasuringRecord(by_layer=True)))
    run(store, other, FakePool(), many)
    known = {one.id: one for one in sweeps(store)}
    found = {sweep: reused(known[sweep], read_runs(store, sweep), known) for sweep in (same, other, layered)}
    assert found[other] == [Reused(2, "`passes` 6", "`passes` 30")]
    assert found[same] == [Reused(2, "`passes` 30", "`passes` 6")]
    assert {(one.runs, one.measured_with, one.wanted) for one in found[layered]} == {
        (2, "`passes` 6", "`by_layer`"),
        (2, "`passes` 30", "`by_layer`"),
    }


def test_a_run_is_held_against_the_newest_sweep_that_asked_for_it(store: Store) -> None:
    """What an older sweep wanted of it is superseded; of several sweeps like sentences are one."""
    few, many = MeasuringRecord(sampling=SamplingRecord(passes=6)), MeasuringRecord(sampling=SamplingRecord(passes=30))
    run(store, sweep_of(store, few, 2), FakePool(), few)
    run(store, sweep_of(store, many, 2, Remeasure(every=True)), FakePool(), many)
    known = {one.id: one for one in sweeps(store)}
    by_sweep = {number: read_runs(store, number) for number in known}
    assert reused_by_any(list(known.values()), by_sweep, known) == []
    for widths in (1, 2):
        number = sweep_of(store, few, widths)
        known = {one.id: one for one in sweeps(store)}
        by_sweep[number] = read_runs(store, number)
    assert reused_by_any(list(known.values()), by_sweep, known) == [Reused(2, "`passes` 30", "`passes` 6")]


def test_layers_are_timed_where_a_runtime_a_runtime_has_them(store: Store) -> None:
    """Not for the baseline, nor by runtimes that join layers."""
    measuring = MeasuringRecord(by_layer=True)
    sweep, pool = sweep_of(store, measuring, 2, runtime=["eager", "fused"]), FakePool()
    run(store, sweep, pool, measuring)
    asked = Counter((task.work.runtime == "fused", task.work.by_layer) for _, task in pool.tasks)
    assert asked[True, True] == 0
    assert asked[False, True] == 2


def test_what_the_store_does_not_take_goes_to_a_file(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sweep ends, all that it put down is safe, and merging the file brings in what it measured last."""
    sweep, finish, finished = sweep_of(store, widths=4), Claims.finish, list[str]()

    def away_at_the_third(claims: Claims, key: str, result: Result) -> bool:
        finished.append(key)
        if len(finished) == 3:
            raise StoreError(Problem("`store`", "'runs.db': the server has gone away"))
        return finish(claims, key, result)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Claims, "finish", away_at_the_third)
    with pytest.raises(
        StoreError, match=r"has gone away\nwhat was measured last is in mnfpn-rescued-.*\.db; mnfpn runs"
    ):
        run(store, sweep, FakePool())
    assert len(results(store)) == 2
    (rescued,) = tmp_path.glob("mnfpn-rescued-*.db")
    with open_store(str(rescued)) as other:
        assert merge(store, other) == 1
    assert set(results(store)) == set(finished)
