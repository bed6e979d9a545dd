"""What people ask for: trying again, removing, merging, rescuing."""

from pathlib import Path

import pytest
from sqlalchemy import func, select, update

from mnfpn_cli.store import merge as rescue_module
from mnfpn_cli.store import rows as t
from mnfpn_cli.store.change import Removed, Unwanted, remove, retry_failed
from mnfpn_cli.store.claims import Claims
from mnfpn_cli.store.errors import StoreError
from mnfpn_cli.store.merge import merge, rescue
from mnfpn_cli.store.read import pending_keys, read_run, read_runs
from mnfpn_cli.store.rows import Baseline
from mnfpn_cli.store.store import Store, open_store
from mnfpn_cli.store.sweeps import add_baseline, baselines, sweeps
from tests.store.conftest import NewStore
from tests.store.made import measure, result, swept

LATER = "2026-01-02T00:00:00.000+00:00"


def rows(store: Store) -> dict[str, int]:
    """How many rows each table has."""
    tables = (t.networks, t.runs, t.results, t.sweep_runs, t.baselines)
    return {
        one.name.removeprefix("mnfpn_"): store.read(
            lambda connection, one=one: connection.execute(select(func.count()).select_from(one)).scalar_one()  # type: ignore[misc]
        )
        for one in tables
    }


def measured_again(store: Store, key: str, sweep: int) -> None:
    """One more result of a run, newer than the first."""
    store.write(lambda c: c.execute(update(t.runs).where(t.runs.c.key == key).values(status="pending")))
    measure(store, key, result(sweep, finished=LATER))


@pytest.fixture
def mixed(store: Store) -> tuple[int, list[str]]:
    """A sweep with a run done (twice), one failed, one done that is to be measured again, and two not measured."""
    sweep, keys = swept(store, 5)
    measure(store, keys[0], result(sweep))
    measured_again(store, keys[0], sweep)
    measure(store, keys[1], result(sweep, status="failed", reason="no"))
    measure(store, keys[2], result(sweep))
    store.write(lambda c: c.execute(update(t.runs).where(t.runs.c.key == keys[2]).values(status="pending")))
    add_baseline(store, Baseline("1" * 32, sweep, keys[1], "here", LATER, (0.5,)))
    return sweep, keys


def test_failed_runs_are_tried_again(store: Store, mixed: tuple[int, list[str]]) -> None:
    """Those of a sweep, or all; what failed is kept on record."""
    sweep, keys = mixed
    assert retry_failed(store, sweep + 1) == 0
    assert retry_failed(store, sweep) == 1
    assert keys[1] in pending_keys(store, sweep)
    assert len(read_run(store, keys[1])[1]) == 1


def test_runs_that_failed_are_removed_with_all_that_is_of_them(store: Store, mixed: tuple[int, list[str]]) -> None:
    """Results, times as a baseline, membership of sweeps, and networks that no other run has."""
    before = rows(store)
    assert remove(store, Unwanted(("failed",))) == Removed(runs=1, results=1)
    assert {name: before[name] - count for name, count in rows(store).items()} == dict.fromkeys(before, 1)


def test_what_is_not_measured_is_removed_and_what_was_measured_before_stays(
    store: Store, mixed: tuple[int, list[str]]
) -> None:
    """A run that was to be measured again is as it was measured."""
    sweep, _ = mixed
    assert remove(store, Unwanted(("pending",))) == Removed(runs=2, restored=1)
    assert [one.status for one in read_runs(store, sweep)] == ["done", "failed", "done"]
    assert pending_keys(store, sweep) == []


def test_results_that_newer_ones_replaced_are_removed(store: Store, mixed: tuple[int, list[str]]) -> None:
    """The newest of each run stays, also of one that is to be measured again."""
    assert remove(store, Unwanted(superseded=True)) == Removed(results=1)
    (only,) = read_run(store, mixed[1][0])[1]
    assert only.finished == LATER
    assert rows(store)["results"] == 3


def test_runs_are_removed_by_key_unless_they_are_being_measured(store: Store, mixed: tuple[int, list[str]]) -> None:
    """That would be measured for nothing."""
    _, keys = mixed
    claims = Claims(store)
    claims.claim(keys[3])
    assert remove(store, Unwanted(keys=[keys[0], keys[2], keys[3]])) == Removed(runs=2, results=3, busy=1)
    assert claims.finish(keys[3], result(1))


def test_a_rehearsal_removes_nothing(store: Store, mixed: tuple[int, list[str]]) -> None:
    """It says what would be removed."""
    before = rows(store)
    wanted = Unwanted(("failed", "pending"), superseded=True)
    assert remove(store, wanted, dry_run=True) == Removed(runs=3, results=2, restored=1)
    assert rows(store) == before
    assert remove(store, wanted) == Removed(runs=3, results=2, restored=1)


def test_merging_brings_in_what_was_measured(new_name: NewStore, store: Store, mixed: tuple[int, list[str]]) -> None:
    """Results, the times of the baseline, and the sweep with what it has measured; once, however often it is done."""
    add_baseline(store, Baseline("2" * 32, mixed[0], mixed[1][4], "here", LATER, (0.5,)))  # of a run not measured
    with open_store(new_name(), create=True) as target:
        _, keys = swept(target, 2)
        for new in (4, 0):
            assert merge(target, store) == new
            assert {one.key: one.status for one in read_runs(target)} == dict(
                zip(mixed[1][:3], ("done", "failed", "done"), strict=True)
            )
            assert read_run(target, keys[0])[0].latency_s == 0.011
            assert [one.sweep for one in baselines(target)] == [2]
            assert [(one.id, sum(dict(one.counts).values())) for one in sweeps(target)] == [(1, 2), (2, 3)]
        assert {one.sweep for one in read_run(target, keys[0])[1]} == {2}


def test_what_is_done_counts_for_more_than_what_failed(new_name: NewStore, store: Store) -> None:
    """In whichever store."""
    sweep, keys = swept(store, 2)
    measure(store, keys[0], result(sweep))
    measure(store, keys[1], result(sweep, status="failed", reason="no", finished=LATER))
    with open_store(new_name(), create=True) as target:
        swept(target, 2)
        measure(target, keys[0], result(1, status="failed", reason="no", finished=LATER))
        measure(target, keys[1], result(1))
        assert merge(target, store) == 2
        assert [one.latency_s for one in read_runs(target)] == [0.011, 0.011]


def test_merging_a_run_that_is_being_measured_makes_the_measurement_void(new_name: NewStore, store: Store) -> None:
    """Every run is finished once."""
    sweep, keys = swept(store, 1)
    measure(store, keys[0], result(sweep))
    with open_store(new_name(), create=True) as target:
        own, _ = swept(target, 1)
        claims = Claims(target)
        claims.claim(keys[0])
        merge(target, store)
        assert not claims.finish(keys[0], result(own))


def test_what_the_store_would_not_take_is_rescued_into_a_file_and_comes_back(store: Store, tmp_path: Path) -> None:
    """As part of the sweep that measured it; two of one second are in one file."""
    sweep, keys = swept(store)
    claims = Claims(store)
    (of_sweep,), runs, error = sweeps(store), read_runs(store, sweep), StoreError("the server is away")
    measured = [result(sweep), result(sweep)]
    files = set()
    for run, one in zip(runs, measured, strict=False):
        claims.claim(run.key)
        files.add(rescue(error, run, one, of_sweep, tmp_path))
    new = 0
    for file in files:
        with open_store(str(file)) as rescued:
            new += merge(store, rescued)
    assert new == 2
    assert [one.status for one in read_runs(store, sweep)] == ["done", "done", "pending", "pending"]
    assert [read_run(store, key)[1] for key in keys[:2]] == [[one] for one in measured]
    assert [one.id for one in sweeps(store)] == [sweep]


def test_a_rescue_that_fails_tells_both_errors(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk may be full as well."""
    sweep, _ = swept(store)

    def fail(*_: object) -> None:
        raise StoreError("the disk is full")

    monkeypatch.setattr(rescue_module, "insert_rows", fail)
    with pytest.raises(StoreError, match=r"the server is away\nand the result could not .*: the disk is full") as told:
        rescue(StoreError("the server is away"), read_runs(store)[0], result(sweep), sweeps(store)[0], tmp_path)
    assert isinstance(told.value.__cause__, StoreError)
