"""What is inserted into a store is read from it unchanged: in a file and on a server."""

from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Connection, select, update

from mnfpn_cli.documents.records import StatusCounts
from mnfpn_cli.errors import Problem, UsageError
from mnfpn_cli.settings.input import Size
from mnfpn_cli.settings.network import NetworkSettings
from mnfpn_cli.space.planned import plan_runs
from mnfpn_cli.space.runs import Execution, run_key
from mnfpn_cli.store import rows as t
from mnfpn_cli.store.claims import Claims
from mnfpn_cli.store.errors import StoreError
from mnfpn_cli.store.read import pending_keys, read_run, read_runs
from mnfpn_cli.store.rows import BaselineTiming
from mnfpn_cli.store.store import Store, check_store_file, open_store
from mnfpn_cli.store.sweeps import Remeasure, add_baseline, add_sweep, read_baselines, read_sweeps
from tests.store.made import MACHINE, PLAN, measure, measured, planned, result, swept
from tests.sweep.recorded import recorded


def test_runs_are_read_as_they_were_inserted(store: Store) -> None:
    """With settings, size, execution and figures, in the order of the sweep."""
    runs = planned(5)[::-1]
    sweep = add_sweep(store, PLAN, MACHINE, runs)
    back = read_runs(store, sweep)
    assert [(one.key, one.planned, one.machine, one.status) for one in back] == [
        (key, one, MACHINE, "pending") for key, one in runs
    ]
    assert pending_keys(store, sweep) == [key for key, _ in runs]


def test_a_store_is_the_same_when_it_is_opened_again(name: str) -> None:
    """With the status of each run."""
    with open_store(name, create=True) as store:
        sweep, keys = swept(store)
        measure(store, keys[0], result(sweep))
    with open_store(name) as store:
        assert [one.status for one in read_runs(store, sweep)] == ["done", "pending", "pending", "pending"]


def test_a_result_is_read_as_it_was_inserted(store: Store) -> None:
    """With samples, environment, warnings and moments."""
    sweep, keys = swept(store)
    one = result(sweep)
    assert measure(store, keys[1], one)
    run, results = read_run(store, keys[1][:6])
    assert (run.status, run.result, results) == ("done", one, [one])
    assert run.latency_s == 0.011


def test_a_reason_may_hold_any_characters(store: Store) -> None:
    """The output of a dying process may hold NUL, which servers refuse; it is replaced."""
    sweep, keys = swept(store)
    assert measure(store, keys[0], result(sweep, status="failed", reason="a\0b\nc '\"%s"))
    (failed,) = read_runs(store, status="failed")
    assert failed.result
    assert failed.result.reason == "a\N{REPLACEMENT CHARACTER}b\nc '\"%s"


def test_a_sweep_reuses_existing_runs(store: Store) -> None:
    """A repeated sweep measures no run twice."""
    first, keys = swept(store)
    measure(store, keys[0], result(first))
    second, _ = swept(store, 6)
    assert [one.counts for one in read_sweeps(store)] == [
        StatusCounts(done=1, pending=3),
        StatusCounts(done=1, pending=5),
    ]
    assert [one.id for one in read_sweeps(store)] == [first, second]


def test_remeasuring_makes_runs_pending_and_keeps_their_results(store: Store) -> None:
    """Claimed runs are left to their process."""
    first, keys = swept(store)
    measure(store, keys[0], result(first))
    claims = Claims(store)
    claims.claim(keys[1])
    second, _ = swept(store, remeasure=Remeasure(every=True))
    run, results = read_run(store, keys[0])
    assert (run.status, run.measured, len(results)) == ("pending", None, 1)
    assert claims.finish(keys[1], result(second))


@pytest.mark.parametrize("train", [False, True])
def test_a_run_is_measured_again_for_its_layers_only_if_it_has_layers_to_time(store: Store, train: bool) -> None:
    """A training step has none."""
    execution = Execution(device="cpu", train=train)
    runs = [(run_key(one.run, MACHINE), one) for one in plan_runs(NetworkSettings(), Size(64, 64), [execution])]
    (key, _), sweep = runs[0], add_sweep(store, PLAN, MACHINE, runs)
    measure(store, key, result(sweep))
    add_sweep(store, PLAN, MACHINE, runs, Remeasure(for_layers=True))
    assert [run.status for run in read_runs(store)] == ["done" if train else "pending"]


def test_the_result_of_a_run_is_the_newest_with_its_status(store: Store) -> None:
    """In whichever order results were inserted."""
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
def test_a_key_must_match_a_run(store: Store, key: str, rule: str) -> None:
    """It is at least four hexadecimal digits."""
    swept(store)
    with pytest.raises(UsageError, match=rule):
        read_run(store, key)


def test_a_key_must_match_one_run_only(store: Store) -> None:
    """The first digits that two keys share name neither run."""
    (_, one), *_ = planned(1)
    add_sweep(store, PLAN, MACHINE, [("aaaa1" + "0" * 27, one), ("aaaa2" + "0" * 27, one)])
    with pytest.raises(UsageError, match=r"'aaaa', which matches aaaa10+ and others"):
        read_run(store, "aaaa")
    assert read_run(store, "aaaa2")[0].key == "aaaa2" + "0" * 27


def test_an_error_in_a_key_or_a_name_is_data(store: Store, tmp_path: Path) -> None:
    """The place, the rule, and the value, which the command line turns into a message."""
    with pytest.raises(UsageError) as caught:
        read_run(store, "0" * 32)
    assert caught.value.problems == (
        Problem("KEY", f"must be the key of a run in {store.name}", f"'{'0' * 32}'", ", which matches no run"),
    )
    with pytest.raises(UsageError) as caught:
        check_store_file(tmp_path / "runs.db", create=False)
    path = tmp_path / "runs.db"
    assert caught.value.problems == (Problem("`store`", f"must be a store, but there is no file '{path}'"),)


def test_baseline_timings_are_read_as_they_were_inserted(store: Store) -> None:
    """A timing of a run that was removed is ignored."""
    sweep, keys = swept(store)
    one = BaselineTiming("1" * 32, sweep, keys[0], "here", "2026-01-01T00:00:00.000+00:00", (0.5, 0.25))
    for _ in range(2):
        add_baseline(store, one)
    add_baseline(store, replace(one, id="2" * 32, key="f" * 32))
    assert read_baselines(store) == [one]


def test_invalid_settings_in_a_store_are_reported_as_damage(store: Store) -> None:
    """Written by another program, or by a later version."""
    swept(store)
    store.write(lambda connection: connection.execute(update(t.networks).values(settings={"widht": 1})))
    with pytest.raises(StoreError, match=r"is damaged: network .*: settings.widht"):
        read_runs(store)


def test_settings_without_a_valid_network_are_reported_as_damage(store: Store) -> None:
    """Though each value is valid by itself."""
    swept(store)
    broken = {"pyramid": {"levels": ["p3", "p7"]}}
    store.write(lambda connection: connection.execute(update(t.networks).values(settings=broken)))
    with pytest.raises(StoreError, match=r"is damaged: network .*: settings\.pyramid\.levels: must be among"):
        read_runs(store)


def test_a_read_sees_the_store_at_one_moment(name: str) -> None:
    """Statements of one read do not see what others commit in between."""
    with open_store(name, create=True) as one, open_store(name) as other:
        seen = list[int]()

        def query(connection: Connection) -> None:
            seen.append(len(connection.execute(select(t.runs.c.key)).all()))
            if one.engine.dialect.name == "postgresql":  # the writer of a file waits until the read ends
                swept(other)
            seen.append(len(connection.execute(select(t.runs.c.key)).all()))

        one.read(query)
        assert seen == [0, 0]


def test_measurements_and_plans_are_read_as_they_were_inserted(store: Store) -> None:
    """With the times of layers, and of a run that failed."""
    sweep, keys = swept(store)
    profile = recorded().profile
    assert profile is not None
    layered = replace(result(sweep), measured=measured((0.01, 0.011), profile))
    failed = result(sweep, status="failed", reason="out of memory")
    for key, one in zip(keys, (layered, failed), strict=False):
        assert measure(store, key, one)
        assert read_run(store, key)[1] == [one]
    assert [one.result for one in read_runs(store, sweep)] == [layered, failed, None, None]
    (only,) = read_sweeps(store)
    assert (only.plan, only.record.measuring, only.machine) == (PLAN, PLAN.measuring, MACHINE)
