"""What people ask for: trying again, removing, merging, rescuing."""

from pathlib import Path

import pytest
from sqlalchemy import func, select, update

from mnfpn_cli.store import merge as rescue_module
from mnfpn_cli.store import rows as t
from mnfpn_cli.store.change import Removed, Unwanted, remove, retry_failed
from mnfpn_cli.store.claims import Claims
from mnfpn_cli.store.errors import StoreError
from mnfpn_cli.store.merge import merge_stores, rescue
from mnfpn_cli.store.read import pending_keys, read_run, read_runs
from mnfpn_cli.store.rows import BaselineTiming
from mnfpn_cli.store.store import Store, open_store
from mnfpn_cli.store.sweeps import add_baseline, read_baselines, read_sweeps
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


def runs_to_remeasure(store: Store, key: str, sweep: int) -> None:
    """Add a newer result to a run."""
    store.write(lambda c: c.execute(update(t.runs).where(t.runs.c.key == key).values(status="pending")))
    measure(store, key, result(sweep, finished=LATER))


@pytest.fixture
def mixed(store: Store) -> tuple[int, list[str]]:
    """A sweep with a run done (twice), one failed, one done that is to be measured again, and two not measured."""
    sweep, keys = swept(store, 5)
    measure(store, keys[0], result(sweep))
    runs_to_remeasure(store, keys[0], sweep)
    measure(store, keys[1], result(sweep, status="failed", reason="no"))
    measure(store, keys[2], result(sweep))
    store.write(lambda c: c.execute(update(t.runs).where(t.runs.c.key == keys[2]).values(status="pending")))
    add_baseline(store, BaselineTiming("1" * 32, sweep, keys[1], "here", LATER, (0.5,)))
    return sweep, keys


def test_failed_runs_are_retried(store: Store, mixed: tuple[int, list[str]]) -> None:
    """Those of a sweep, or all; their failed results stay."""
    sweep, keys = mixed
    assert retry_failed(store, sweep + 1) == 0
    assert retry_failed(store, sweep) == 1
    assert keys[1] in pending_keys(store, sweep)
    assert len(read_run(store, keys[1])[1]) == 1


def test_failed_runs_are_removed_with_all_that_refers_to_them(store: Store, mixed: tuple[int, list[str]]) -> None:
    """Their results, baseline timings, rows of `mnfpn_sweep_runs`, and networks that no other run has."""
    before = rows(store)
    assert remove(store, Unwanted(("failed",))) == Removed(runs=1, results=1)
    assert {name: before[name] - count for name, count in rows(store).items()} == dict.fromkeys(before, 1)


def test_pending_runs_are_removed_unless_they_have_an_earlier_result(
    store: Store, mixed: tuple[int, list[str]]
) -> None:
    """A run that was to be measured again gets the status of its result again."""
    sweep, _ = mixed
    assert remove(store, Unwanted(("pending",))) == Removed(runs=2, restored=1)
    assert [one.status for one in read_runs(store, sweep)] == ["done", "failed", "done"]
    assert pending_keys(store, sweep) == []


def test_superseded_results_are_removed(store: Store, mixed: tuple[int, list[str]]) -> None:
    """The newest result of each run stays, also of a run that is to be measured again."""
    assert remove(store, Unwanted(superseded=True)) == Removed(results=1)
    (only,) = read_run(store, mixed[1][0])[1]
    assert only.finished == LATER
    assert rows(store)["results"] == 3


def test_runs_are_removed_by_key_unless_they_are_claimed(store: Store, mixed: tuple[int, list[str]]) -> None:
    """The process that claimed the run can still finish it."""
    _, keys = mixed
    claims = Claims(store)
    claims.claim(keys[3])
    assert remove(store, Unwanted(keys=[keys[0], keys[2], keys[3]])) == Removed(runs=2, results=3, busy=1)
    assert claims.finish(keys[3], result(1))


def test_a_dry_run_removes_nothing(store: Store, mixed: tuple[int, list[str]]) -> None:
    """It returns what would be removed."""
    before = rows(store)
    wanted = Unwanted(("failed", "pending"), superseded=True)
    assert remove(store, wanted, dry_run=True) == Removed(runs=3, results=2, restored=1)
    assert rows(store) == before
    assert remove(store, wanted) == Removed(runs=3, results=2, restored=1)


def test_merging_copies_results_and_sweeps(new_name: NewStore, store: Store, mixed: tuple[int, list[str]]) -> None:
    """The sweep has only its measured runs here; merging again changes nothing."""
    add_baseline(store, BaselineTiming("2" * 32, mixed[0], mixed[1][4], "here", LATER, (0.5,)))  # of a run not measured
    with open_store(new_name(), create=True) as target:
        _, keys = swept(target, 2)
        for new in (4, 0):
            assert merge_stores(target, store) == new
            assert {one.key: one.status for one in read_runs(target)} == dict(
                zip(mixed[1][:3], ("done", "failed", "done"), strict=True)
            )
            assert read_run(target, keys[0])[0].latency_s == 0.011
            assert [one.sweep for one in read_baselines(target)] == [2]
            assert [(one.id, sum(dict(one.counts).values())) for one in read_sweeps(target)] == [(1, 2), (2, 3)]
        assert {one.sweep for one in read_run(target, keys[0])[1]} == {2}


def test_merging_prefers_done_over_failed(new_name: NewStore, store: Store) -> None:
    """Whichever store has the done result, and whichever is newer."""
    sweep, keys = swept(store, 2)
    measure(store, keys[0], result(sweep))
    measure(store, keys[1], result(sweep, status="failed", reason="no", finished=LATER))
    with open_store(new_name(), create=True) as target:
        swept(target, 2)
        measure(target, keys[0], result(1, status="failed", reason="no", finished=LATER))
        measure(target, keys[1], result(1))
        assert merge_stores(target, store) == 2
        assert [one.latency_s for one in read_runs(target)] == [0.011, 0.011]


def test_merging_a_result_ends_the_claim_on_its_run(new_name: NewStore, store: Store) -> None:
    """The process that had claimed it cannot finish it: every run is finished once."""
    sweep, keys = swept(store, 1)
    measure(store, keys[0], result(sweep))
    with open_store(new_name(), create=True) as target:
        own, _ = swept(target, 1)
        claims = Claims(target)
        claims.claim(keys[0])
        merge_stores(target, store)
        assert not claims.finish(keys[0], result(own))


def test_a_rescued_result_can_be_merged_into_its_store(store: Store, tmp_path: Path) -> None:
    """As part of the sweep that measured it; results that are rescued in the same second share a file."""
    sweep, keys = swept(store)
    claims = Claims(store)
    (of_sweep,), runs, error = read_sweeps(store), read_runs(store, sweep), StoreError("the server is away")
    measured = [result(sweep), result(sweep)]
    files = set()
    for run, one in zip(runs, measured, strict=False):
        claims.claim(run.key)
        files.add(rescue(error, run, one, of_sweep, tmp_path))
    new = 0
    for file in files:
        with open_store(str(file)) as rescued:
            new += merge_stores(store, rescued)
    assert new == 2
    assert [one.status for one in read_runs(store, sweep)] == ["done", "done", "pending", "pending"]
    assert [read_run(store, key)[1] for key in keys[:2]] == [[one] for one in measured]
    assert [one.id for one in read_sweeps(store)] == [sweep]


def test_a_rescue_that_fails_reports_both_errors(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk may be full as well."""
    sweep, _ = swept(store)

    def fail(*_: object) -> None:
        raise StoreError("the disk is full")

    monkeypatch.setattr(rescue_module, "insert_rows", fail)
    with pytest.raises(StoreError, match=r"the server is away\nand the result .*: the disk is full") as caught:
        rescue(StoreError("the server is away"), read_runs(store)[0], result(sweep), read_sweeps(store)[0], tmp_path)
    assert isinstance(caught.value.__cause__, StoreError)
