"""Times of runs that were not measured are predicted from those that were, for each kind of run apart."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mnfpn_cli.documents.sweep import MeasuringRecord
from mnfpn_cli.errors import MnfpnError, UsageError
from mnfpn_cli.space.planned import Budget, plan_space
from mnfpn_cli.space.runs import Execution
from mnfpn_cli.store.read import read_runs
from mnfpn_cli.store.rows import StoredRun
from mnfpn_cli.store.store import Store, open_store
from mnfpn_cli.store.sweeps import read_baselines, read_sweeps
from mnfpn_cli.sweep import predictions as predictions_module
from mnfpn_cli.sweep.answer import promising
from mnfpn_cli.sweep.frontier import scored_runs
from mnfpn_cli.sweep.objective import choose_objective
from mnfpn_cli.sweep.predictions import Predictor, check_installed, predict_stored
from mnfpn_cli.sweep.start import Chosen, begin, unfinished
from mnfpn_cli.sweep.state import State
from mnfpn_cli.sweep.sweep import Sweeper
from mnfpn_cli.sweep.teaching import Teacher
from tests.space.spaces import space_of
from tests.sweep.planted import planted, seconds_of
from tests.sweep.pools import FakePool

MACHINE = "a CPU, 2 cores"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty store."""
    with open_store(str(tmp_path / "runs.db"), create=True) as opened:
        yield opened


def sweep_of(store: Store, measure: str = "12", machine: str = MACHINE, runtime: tuple[str, ...] = ("eager",)) -> int:
    """Insert a sweep of 36 networks, of which ``measure`` are measured; return its number."""
    widths, channels, sizes = (0.35, 0.5, 0.75), (32, 64, 96), ("64", "96", "128", "160")
    space = space_of(width_mult=widths, pyramid__channels=channels, size=sizes, device=["cpu"], runtime=list(runtime))
    planned = plan_space(space, Budget())
    return begin(store, Chosen(planned.runs, planned, measure, "mnfpn sweep", predict=True), MeasuringRecord(), machine)


def teach(store: Store, sweep: int, most: int | None, pool: FakePool | None = None) -> State:
    """Measure the runs of a sweep that a teacher chooses."""
    return Sweeper(store, sweep, pool or FakePool(planted), MeasuringRecord(), teacher=Teacher(most)).run()


def stored(store: Store) -> tuple[list[StoredRun], list[StoredRun]]:
    """The measured and the pending runs."""
    return read_runs(store, status="done"), read_runs(store, status="pending")


def test_a_teacher_measures_no_more_than_the_number(store: Store) -> None:
    """The others stay pending, and the sweep has nothing left to resume."""
    sweep = sweep_of(store, "5")
    state = teach(store, sweep, 5)
    assert (state.done, state.total, state.left) == (5, 5, 0)
    assert list(map(len, stored(store))) == [5, 31]
    assert unfinished(store) == []
    (record,) = read_sweeps(store)
    assert (record.left, record.counts.pending) == (0, 31)
    again = FakePool(planted)
    assert teach(store, sweep, 5, again).done == 5
    assert again.tasks == []


def test_runs_that_are_too_slow_take_none_of_the_number(store: Store) -> None:
    """As many are measured as were asked for, and the progress never reads that all are before they are."""
    sweep, states = sweep_of(store, "9"), list[State]()
    fastest = min(seconds_of(one.planned.run) for one in read_runs(store, sweep))
    measuring = MeasuringRecord(max_latency_s=6 * fastest)
    pool = FakePool(planted)
    state = Sweeper(store, sweep, pool, measuring, report=states.append, teacher=Teacher(9)).run()
    assert state.skipped > 0
    assert (state.done, state.total, state.left) == (9, 9 + state.skipped, 0)
    assert all(one.done == 9 for one in states if not one.left)


def test_a_teacher_stops_when_the_model_is_good(store: Store) -> None:
    """A machine that follows its law exactly is known after a few runs, and the others are predicted within 10 %."""
    sweep = sweep_of(store, "all")
    state = teach(store, sweep, None)
    assert 10 <= state.done < 36
    done, pending = stored(store)
    predicted, found = predict_stored(pending, done, read_baselines(store))
    assert set(predicted) == {one.key for one in pending}
    assert found.missing == {}
    for one in pending:
        truth, prediction = seconds_of(one.planned.run), predicted[one.key].prediction
        assert prediction.seconds == pytest.approx(truth, rel=0.1)
        assert prediction.low < prediction.seconds < prediction.high
    (model,) = found.models
    assert (model.learned_from, model.within_10) == (state.done, 1.0)


def test_a_teacher_divides_its_runs_between_runtimes(store: Store) -> None:
    """Each runtime has a model of its own."""
    teach(store, sweep_of(store, "8", runtime=("eager", "channels-last")), 8)
    runtimes = [one.execution.runtime for one in stored(store)[0]]
    assert sorted(runtimes) == ["channels-last"] * 4 + ["eager"] * 4


def test_runs_that_are_left_out_are_not_chosen(store: Store) -> None:
    """A teacher chooses among the others, and always the same ones."""
    sweep = sweep_of(store)
    runs = {one.key: one for one in read_runs(store, sweep)}
    first = Teacher(12).next(runs, set(), [])
    assert Teacher(12).next(runs, set(), []) == first
    assert len(set(first)) == len(first) == 10
    assert not set(first) & set(Teacher(12).next(runs, set(first), []))


def test_runtimes_and_devices_have_models_apart(store: Store) -> None:
    """A runtime that takes half of the time is not mixed with the other, and one that was not measured is said."""
    teach(store, sweep_of(store, "all", runtime=("eager", "channels-last")), None)
    done, pending = stored(store)
    predictor = Predictor(done, read_baselines(store))
    assert sorted(one.runtime for one in predictor.kinds) == ["channels-last", "eager"]
    one = pending[0].planned
    others = [
        replace(one.run, execution=replace(one.run.execution, **change))
        for change in (
            {"runtime": "eager"},
            {"runtime": "channels-last"},
            {"runtime": "fused"},
            {"dtype": "int8"},
            {"batch": 2},
        )
    ]
    found = predictor.predict([(one._replace(run=run), MACHINE) for run in others])
    assert sorted(found.found) == [0, 1]
    for index in (0, 1):
        assert found.found[index].prediction.seconds == pytest.approx(seconds_of(others[index]), rel=0.05)
    assert list(found.missing.values()) == [1, 1, 1]
    assert all(why.startswith("no run was measured with") for why in found.missing)


def test_the_device_of_auto_is_what_the_store_has(store: Store) -> None:
    """``auto`` stands for the only device that was measured."""
    teach(store, sweep_of(store), 12)
    predictor = Predictor(stored(store)[0], read_baselines(store))
    learned = predictor.of(Execution(), MACHINE)
    assert learned is not None
    assert learned.kind.device == "cpu"
    assert predictor.of(Execution(device="cuda"), MACHINE) is None
    assert predictor.of(Execution(), "another machine") is None


def test_too_few_runs_say_how_many_more_are_needed(store: Store) -> None:
    """A model needs ten runs."""
    teach(store, sweep_of(store, "3"), 3)
    done, pending = stored(store)
    with pytest.raises(MnfpnError, match="7 more are needed"):
        predict_stored(pending, done, [])


@pytest.mark.parametrize(("asked", "here", "expected"), [(None, "mine", MACHINE), (None, MACHINE, MACHINE)])
def test_the_machine_is_this_one_or_the_only_one(store: Store, asked: str | None, here: str, expected: str) -> None:
    """A store of another machine is predicted for that machine."""
    teach(store, sweep_of(store), 12)
    assert Predictor(stored(store)[0], []).machine(asked, here) == expected


def test_a_machine_that_was_not_measured_is_refused(store: Store) -> None:
    """The message names those that the store has; of several, one must be named."""
    teach(store, sweep_of(store), 12)
    with pytest.raises(UsageError, match=rf"measured runs of \({MACHINE}\), got 'a phone'"):
        Predictor(stored(store)[0], []).machine("a phone", MACHINE)
    teach(store, sweep_of(store, machine="another CPU, 4 cores"), 12)
    predictor = Predictor(stored(store)[0], [])
    with pytest.raises(UsageError, match=f"must be given.*{MACHINE}; another CPU, 4 cores"):
        predictor.machine(None, "mine")
    assert predictor.machine("another CPU, 4 cores", "mine") == "another CPU, 4 cores"
    with pytest.raises(MnfpnError, match="no measured run"):
        Predictor([], []).machine(None, "mine")


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the command that installs it."""
    monkeypatch.setattr(predictions_module, "find_spec", lambda _name: None)
    with pytest.raises(MnfpnError, match=r"pip install 'mnfpn\[predict\]'"):
        check_installed()


def test_promising_runs_are_within_the_budget_and_better(store: Store) -> None:
    """At most three of the frontier and one that may be within the limit; none that a measured run beats."""
    teach(store, sweep_of(store), 12)
    done, pending = stored(store)
    from mnfpn_cli.sweep.answer import Promise

    predicted, _ = predict_stored(pending, done, [])
    objective = choose_objective([*done, *pending], None, predicted)
    found = scored_runs(done, [], objective)
    promises = [Promise(one, predicted[one.key], objective.scores[one.key].value) for one in pending]
    limit = sorted(seconds_of(one.planned.run) for one in (*done, *pending))[18]
    wanted = promising(found, promises, Budget(latency_s=limit))
    best = max(one.score.value for one in found if one.timed.seconds <= limit)
    assert 0 < len(wanted) <= 4
    assert all(predicted[one.key].prediction.low <= limit for one in wanted)
    assert wanted[0].figures.macs > best
    assert promising(found, promises, Budget(latency_s=1e-9)) == []
    assert promising(found, promises, Budget(macs=1)) == []
    assert promising(found, [], Budget(latency_s=limit)) == []
