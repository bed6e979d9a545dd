"""Scores in a store: the newest counts for every run of its network, and they stay with their network."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import event, func, select

from mnfpn_cli.errors import UsageError
from mnfpn_cli.settings.input import Size
from mnfpn_cli.settings.network import NetworkSettings
from mnfpn_cli.space.planned import plan_runs
from mnfpn_cli.space.runs import Execution, run_key
from mnfpn_cli.store import rows as t
from mnfpn_cli.store.change import Unwanted, remove
from mnfpn_cli.store.merge import merge_stores
from mnfpn_cli.store.read import read_run, read_runs
from mnfpn_cli.store.rows import StoredScore
from mnfpn_cli.store.scored_runs import ScoredRuns
from mnfpn_cli.store.scores import NewScore, add_scores, check_metric, check_score, of_run, with_metric
from mnfpn_cli.store.store import Store, open_store
from mnfpn_cli.store.sweeps import add_sweep
from tests.store.conftest import NewStore
from tests.store.made import MACHINE, PLAN, measure, result, swept

SMALL, LARGE = Size(64, 64), Size(96, 96)
EXECUTIONS = [
    Execution(device="cpu", runtime="eager"),
    Execution(device="cpu", runtime="channels-last"),
    Execution(device="cpu", runtime="eager", batch=4),
    Execution(device="cpu", runtime="eager", dtype="bfloat16"),
]
NETWORK = NetworkSettings.model_validate({"width_mult": 0.25})
OTHER = NetworkSettings.model_validate({"width_mult": 0.5})


def score(value: float, day: int = 1, metric: str = "map") -> StoredScore:
    """A score that was stored on a day of January."""
    return StoredScore(metric, value, "a file", f"2026-01-{day:02}T00:00:00.000+00:00")


def of(value: float, day: int = 1, metric: str = "map", settings: NetworkSettings = NETWORK) -> NewScore:
    """A score of a small network in float32."""
    return NewScore(settings, SMALL, "float32", score(value, day, metric))


def number_of(store: Store, table: object = t.scores) -> int:
    """How many rows a table has."""
    return store.read(lambda c: int(c.execute(select(func.count()).select_from(table)).scalar_one()))  # type: ignore[arg-type]


@pytest.fixture
def several(store: Store) -> Store:
    """A store with one network at two sizes by four executions, and with another."""
    runs = [
        *(one for size in (SMALL, LARGE) for one in plan_runs(NETWORK, size, EXECUTIONS)),
        *plan_runs(OTHER, SMALL, EXECUTIONS[:1]),
    ]
    add_sweep(store, PLAN, MACHINE, [(run_key(one.run, MACHINE), one) for one in runs])
    return store


def test_a_score_is_of_the_network_at_its_size_in_its_dtype(several: Store) -> None:
    """By all runtimes and batches; at another size, in another dtype, and of another network there is none."""
    add_scores(several, [of(0.3)])
    found = {(one.settings.width_mult, one.size, one.execution): dict(one.scores) for one in read_runs(several)}
    assert len(found) == 9
    for (width, size, execution), scores in found.items():
        reached = (width, size, execution.dtype) == (0.25, SMALL, "float32")
        assert scores == ({"map": score(0.3)} if reached else {})
    one = next(run for run in read_runs(several) if run.scores)
    assert read_run(several, one.key)[0].scores == one.scores


def test_the_newest_score_of_a_metric_counts(several: Store) -> None:
    """By its date, in whatever order they are stored; other metrics stay."""
    add_scores(several, [of(0.5, day=3), of(0.9, day=2), of(-1.0, metric="loss")])
    add_scores(several, [of(0.1, day=1)])
    (scores,) = {tuple(one.scores.items()) for one in read_runs(several) if one.scores}
    assert dict(scores) == {"map": score(0.5, 3), "loss": score(-1.0, metric="loss")}
    assert number_of(several) == 4


def test_a_score_of_a_network_that_the_store_has_not_is_kept(several: Store) -> None:
    """It is shown as soon as the network has a run."""
    new = NetworkSettings.model_validate({"width_mult": 0.75})
    add_scores(several, [of(0.7, settings=new)])
    runs = plan_runs(new, SMALL, EXECUTIONS[:1])
    add_sweep(several, PLAN, MACHINE, [(run_key(one.run, MACHINE), one) for one in runs])
    assert [one.scores["map"].value for one in read_runs(several) if one.settings == new] == [0.7]


def test_scores_are_stored_all_or_none(several: Store) -> None:
    """A second one that the database refuses takes the first one along."""
    broken = NewScore(NETWORK, SMALL, "float32", replace(score(0.2), value=None))  # type: ignore[arg-type]
    with pytest.raises(Exception, match=r"(?i)null"):
        add_scores(several, [of(0.1), broken])
    assert number_of(several) == 0


def test_scores_are_merged_once(several: Store, new_name: NewStore) -> None:
    """With their networks, and also from a store without results; the newest of both stores counts."""
    add_scores(several, [of(0.3, day=2)])
    with open_store(new_name(), create=True) as target:
        runs = plan_runs(NETWORK, SMALL, EXECUTIONS[:1])
        add_sweep(target, PLAN, MACHINE, [(run_key(one.run, MACHINE), one) for one in runs])
        add_scores(target, [of(0.8, day=1)])
        for _ in range(2):
            assert merge_stores(target, several) == 0
            assert number_of(target) == 2
            assert [one.scores["map"] for one in read_runs(target)] == [score(0.3, 2)]


def test_scores_stay_until_the_last_run_of_their_network_is_removed(several: Store) -> None:
    """Those of other networks stay; a dry run removes none."""
    add_scores(several, [of(0.3), of(0.4, settings=OTHER)])
    keys = [one.key for one in read_runs(several) if one.settings == NETWORK]
    remove(several, Unwanted(keys=keys), dry_run=True)
    remove(several, Unwanted(keys=keys[:-1]))
    assert number_of(several) == 2
    remove(several, Unwanted(keys=keys[-1:]))
    assert [one.scores["map"].value for one in read_runs(several)] == [0.4]
    assert (number_of(several), number_of(several, t.networks)) == (1, 1)


def test_removing_old_results_leaves_scores(store: Store) -> None:
    """They are of the network, not of a result."""
    sweep, (key,) = swept(store, 1)
    measure(store, key, result(sweep))
    add_scores(store, [of_run(read_runs(store)[0], score(0.3))])
    remove(store, Unwanted(superseded=True, statuses=("failed",)))
    assert read_runs(store)[0].scores["map"].value == 0.3


def test_runs_are_read_with_one_query_of_scores(several: Store) -> None:
    """However many runs and scores there are."""
    add_scores(several, [of(day / 100, day) for day in range(1, 29)])
    statements = list[str]()
    event.listen(several.engine, "before_cursor_execute", lambda _c, _cursor, text, *_: statements.append(text))
    assert len(read_runs(several)) == 9
    assert sum("FROM mnfpn_scores" in one for one in statements) == 1


def test_two_rows_are_found_without_comparing_all_runs(several: Store) -> None:
    """By key and by settings; the runs of one network, size and dtype come together."""
    runs = ScoredRuns(read_runs(several), "a store")
    cells = {"width_mult": "0.250", "size": "64", "dtype": "float32"}
    by_settings = runs.by_settings("x", cells)
    assert len(by_settings) == 3
    assert runs.by_key("x", by_settings[0].key.upper()[:12]) == by_settings
    with pytest.raises(UsageError, match="which matches 2 networks"):
        runs.by_settings("x", cells | {"dtype": ""})


def test_a_cell_without_text_stands_for_no_value_where_several_are_left(store: Store) -> None:
    """As an export writes a setting without a value."""
    networks = [NetworkSettings.model_validate({"pyramid": {"last_channels": channels}}) for channels in (None, 8)]
    runs = [one for settings in networks for one in plan_runs(settings, SMALL, EXECUTIONS[:1])]
    add_sweep(store, PLAN, MACHINE, [(run_key(one.run, MACHINE), one) for one in runs])
    found = ScoredRuns(read_runs(store), "a store").by_settings("x", {"pyramid.last_channels": "", "size": "64"})
    assert [one.settings for one in found] == [networks[0]]


def test_runs_with_one_metric(several: Store) -> None:
    """Without their other scores; a metric that none has is refused with the nearest name."""
    add_scores(several, [of(0.3), of(0.7, metric="acc"), of(0.4, settings=OTHER, metric="acc")])
    runs = read_runs(several)
    assert {tuple(one.scores) for one in with_metric(runs, "map")} == {("map",)}
    assert len(with_metric(runs, "map")) == 3
    assert len(with_metric(runs, "acc")) == 4
    with pytest.raises(UsageError, match=r"a run has a score of \(acc, map\), got 'mpa'.*map"):
        with_metric(runs, "mpa")


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_finite_number_is_a_score(value: float) -> None:
    """As a number and as the text that a file has."""
    assert check_score("x", value) == check_score("x", repr(value)) == value


@pytest.mark.parametrize(
    "value", ["nan", "-inf", "1e999", "", "0,5", "1_0", "0x10", float("nan"), 10**400, True, None, []]
)
def test_what_is_no_finite_number_is_no_score(value: object) -> None:
    """The message has the place and the value."""
    with pytest.raises(UsageError, match=r"f\.csv, line 2: must be a finite number, of which more is better, got '"):
        check_score("f.csv, line 2", value)


@pytest.mark.parametrize("name", ["map", "mAP@0.5:0.95", "acc.top-1", "m" * 80])
def test_a_name_of_letters_digits_and_few_signs_is_a_metric(name: str) -> None:
    """It is returned."""
    assert check_metric("x", name) == name


@pytest.mark.parametrize(
    "name", ["", "a b", "1st", "-map", "m" * 81, "map\n", "=map", 5, None, "macs", "imagenet-top1"]
)
def test_another_name_is_refused(name: object) -> None:
    """Also the names of mnfpn's own metrics."""
    with pytest.raises(UsageError, match="metric"):
        check_metric("x", name)
