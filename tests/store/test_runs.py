"""What is put into a store comes out of it, on a file and on a server."""

from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Connection, select, update

from mnfpn_cli.documents.records import StatusCounts
from mnfpn_cli.errors import Problem, UsageError
from mnfpn_cli.store import rows as t
from mnfpn_cli.store.claims import Claims
from mnfpn_cli.store.errors import StoreError
from mnfpn_cli.store.read import pending_keys, read_run, read_runs
from mnfpn_cli.store.rows import Baseline
from mnfpn_cli.store.store import Store, check_file, open_store
from mnfpn_cli.store.sweeps import Remeasure, add_baseline, add_sweep, baselines, sweeps
from tests.store.made import PLACE, PLAN, measure, measured, planned, result, swept
from tests.sweep.recorded import recorded


def test_runs_come_back_as_they_were_put_down(store: Store) -> None:
    """Settings, size, execution, figures, in the sweep's order."""
    runs = planned(5)[::-1]
    sweep = add_sweep(store, PLAN, PLACE, runs)
    back = read_runs(store, sweep)
    assert [(one.key, one.planned, one.machine, one.status) for one in back] == [
        (key, one, PLACE, "pending") for key, one in runs
    ]
    assert pending_keys(store, sweep) == [key for key, _ in runs]


def test_a_store_keeps_what_it_has(name: str) -> None:
    """Opened again, it has the same."""
    with open_store(name, create=True) as store:
        sweep, keys = swept(store)
        measure(store, keys[0], result(sweep))
    with open_store(name) as store:
        assert [one.status for one in read_runs(store, sweep)] == ["done", "pending", "pending", "pending"]


def test_a_result_comes_back_whole(store: Store) -> None:
    """Samples, environment, warnings, times."""
    sweep, keys = swept(store)
    one = result(sweep)
    assert measure(store, keys[1], one)
    run, results = read_run(store, keys[1][:6])
    assert (run.status, run.result, results) == ("done", one, [one])
    assert run.latency_s == 0.011


def test_a_reason_may_hold_anything(store: Store) -> None:
    """Servers refuse zeros in texts; what a dying process says may have them."""
    sweep, keys = swept(store)
    assert measure(store, keys[0], result(sweep, status="failed", reason="a\0b\nc '\"%s"))
    (failed,) = read_runs(store, status="failed")
    assert failed.result
    assert failed.result.reason == "a\N{REPLACEMENT CHARACTER}b\nc '\"%s"


def test_runs_that_are_there_stay_and_are_part_of_the_new_sweep_too(store: Store) -> None:
    """A sweep repeated measures nothing twice."""
    first, keys = swept(store)
    measure(store, keys[0], result(first))
    second, _ = swept(store, 6)
    assert [one.counts for one in sweeps(store)] == [StatusCounts(done=1, pending=3), StatusCounts(done=1, pending=5)]
    assert [one.id for one in sweeps(store)] == [first, second]


def test_again_makes_pending_what_was_measured_and_keeps_the_result(store: Store) -> None:
    """But not what is being measured."""
    first, keys = swept(store)
    measure(store, keys[0], result(first))
    claims = Claims(store)
    claims.claim(keys[1])
    second, _ = swept(store, again=Remeasure(every=True))
    run, results = read_run(store, keys[0])
    assert (run.status, run.measured, len(results)) == ("pending", None, 1)
    assert claims.finish(keys[1], result(second))


def test_the_newest_result_of_the_runs_status_counts(store: Store) -> None:
    """Whatever the order in which they were put down."""
    sweep, keys = swept(store)
    days = ("02", "03", "01")
    for day in days:
        store.write(lambda connection: connection.execute(update(t.runs).values(status="pending")))
        measure(store, keys[0], result(sweep, [float(day)], finished=f"2026-01-{day}T00:00:00.000+00:00"))
    assert read_run(store, keys[0])[0].latency_s == 3.0
    assert [one.latency_s for one in read_runs(store, status="done")] == [3.0]
    failure = result(sweep, status="failed", finished="2026-02-01T00:00:00.000+00:00", reason="no")
    store.write(lambda connection: connection.execute(update(t.runs).values(status="pending")))
    measure(store, keys[0], failure)
    store.write(lambda connection: connection.execute(update(t.runs).values(status="done")))
    assert read_run(store, keys[0])[0].latency_s == 3.0


@pytest.mark.parametrize(
    ("key", "rule"),
    [
        ("abc", "must be 4 or more of a key's hexadecimal digits, got 'abc'"),
        ("wxyz", "must be 4 or more of a key's hexadecimal digits, got 'wxyz'"),
        ("%%%%", "must be 4 or more"),
        ("00000", "must be the key of a run in"),
    ],
)
def test_a_key_must_be_one_of_a_run(store: Store, key: str, rule: str) -> None:
    """Or the beginning of one."""
    swept(store)
    with pytest.raises(UsageError, match=rule):
        read_run(store, key)


def test_a_key_must_be_that_of_one_run(store: Store) -> None:
    """Two that begin alike are not told apart by that."""
    (_, one), *_ = planned(1)
    add_sweep(store, PLAN, PLACE, [("aaaa1" + "0" * 27, one), ("aaaa2" + "0" * 27, one)])
    with pytest.raises(UsageError, match=r"'aaaa', which matches aaaa10+ and others"):
        read_run(store, "aaaa")
    assert read_run(store, "aaaa2")[0].key == "aaaa2" + "0" * 27


def test_what_is_wrong_with_a_key_or_a_name_is_data(store: Store, tmp_path: Path) -> None:
    """Where, the rule, and the value: the command line words them."""
    with pytest.raises(UsageError) as caught:
        read_run(store, "0" * 32)
    assert caught.value.problems == (
        Problem("KEY", f"must be the key of a run in {store.name}", f"'{'0' * 32}'", ", which matches no run"),
    )
    with pytest.raises(UsageError) as caught:
        check_file(tmp_path / "runs.db", create=False)
    path = tmp_path / "runs.db"
    assert caught.value.problems == (Problem("`store`", f"must be a store, but there is no file '{path}'"),)


def test_times_of_baselines_come_back(store: Store) -> None:
    """One of a run that was removed meanwhile is not worth keeping, nor an error."""
    sweep, keys = swept(store)
    one = Baseline("1" * 32, sweep, keys[0], "here", "2026-01-01T00:00:00.000+00:00", (0.5, 0.25))
    for _ in range(2):
        add_baseline(store, one)
    add_baseline(store, replace(one, id="2" * 32, key="f" * 32))
    assert baselines(store) == [one]


def test_settings_that_are_none_are_told(store: Store) -> None:
    """A store that was written by hand, or by a later version."""
    swept(store)
    store.write(lambda connection: connection.execute(update(t.networks).values(settings={"widht": 1})))
    with pytest.raises(StoreError, match=r"is damaged: network .*: settings.widht"):
        read_runs(store)


def test_settings_that_describe_no_network_are_told(store: Store) -> None:
    """Each value may be right by itself."""
    swept(store)
    broken = {"pyramid": {"levels": ["p3", "p7"]}}
    store.write(lambda connection: connection.execute(update(t.networks).values(settings=broken)))
    with pytest.raises(StoreError, match=r"is damaged: network .*: settings\.pyramid\.levels: must be among"):
        read_runs(store)


def test_a_read_sees_one_moment(name: str) -> None:
    """What others write in between is not seen by half."""
    with open_store(name, create=True) as one, open_store(name) as other:
        seen = list[int]()

        def query(connection: Connection) -> None:
            seen.append(len(connection.execute(select(t.runs.c.key)).all()))
            if one.engine.dialect.name == "postgresql":  # a file's writer waits until this is through
                swept(other)
            seen.append(len(connection.execute(select(t.runs.c.key)).all()))

        one.read(query)
        assert seen == [0, 0]


def test_what_was_measured_and_planned_is_read_as_it_was_put_down(store: Store) -> None:
    """The same records, whatever the database makes of them in between: with layers, and of a run that failed."""
    sweep, keys = swept(store)
    profile = recorded().profile
    assert profile is not None
    layered = replace(result(sweep), measured=measured((0.01, 0.011), profile))
    failed = result(sweep, status="failed", reason="out of memory")
    for key, one in zip(keys, (layered, failed), strict=False):
        assert measure(store, key, one)
        assert read_run(store, key)[1] == [one]
    assert [one.result for one in read_runs(store, sweep)] == [layered, failed, None, None]
    (only,) = sweeps(store)
    assert (only.plan, only.record.measuring, only.machine) == (PLAN, PLAN.measuring, PLACE)
