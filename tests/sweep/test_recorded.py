"""The recorded result that other tests use has the keys and types of a real worker's result."""

import json
import os
from typing import Any

import pytest

from mnfpn_cli.documents.worker import Measured
from mnfpn_cli.store.rows import StoredResult
from mnfpn_cli.sweep.process import Outcome, Task, run_task
from tests.sweep import pools
from tests.sweep.recorded import FILE, NEUTRAL, WORK, record, recorded, unlike


@pytest.fixture(scope="module")
def fresh() -> Outcome:
    """The outcome of a real worker; with ``MNFPN_RECORD`` it becomes the record."""
    outcome = run_task(Task(WORK, 120))
    if os.environ.get("MNFPN_RECORD") and outcome.measured:
        record(outcome.measured)
    return outcome


def test_a_real_result_has_the_keys_and_types_of_the_record(fresh: Outcome) -> None:
    """At all levels; `MNFPN_RECORD=1` writes a new record where the result is meant to change."""
    assert (fresh.status, fresh.reason) == ("done", None)
    assert fresh.measured is not None
    assert list(unlike(json.loads(FILE.read_text()), fresh.measured.model_dump(mode="json"))) == []


def test_the_record_names_no_machine() -> None:
    """Processor, memory, platform and date are neutral."""
    environment = dict(recorded().environment)
    assert {key: environment[key] for key in NEUTRAL} == NEUTRAL


@pytest.mark.parametrize("by_layer", [True, False])
def test_made_up_results_have_the_keys_and_types_of_the_record(by_layer: bool) -> None:
    """All but the samples and what follows from them; layer times only with ``by_layer``."""
    task = Task(WORK.model_copy(update={"by_layer": by_layer}), 1)
    outcome = pools.steady(task)
    assert outcome.measured is not None
    same, said = recorded().model_dump(mode="json"), outcome.measured.model_dump(mode="json")
    assert list(unlike(same, said)) == []
    assert (outcome.measured.profile is not None) == by_layer
    assert Measured.model_validate(said) == outcome.measured
    assert StoredResult("1", 1, "done", "here", "", "", None, outcome.measured).latency_s == 0.01


@pytest.mark.parametrize(
    ("one", "other", "found"),
    [
        ({"a": 1}, {"a": 2}, []),
        ({"a": 1}, {"b": 1}, [".a: is in one alone", ".b: is in one alone"]),
        ({"a": [{"b": 1.0}]}, {"a": [{"b": 2.0}, {"b": "x"}]}, [".a[1].b: float is not str"]),
        ({"a": None}, {"a": {"b": 1}}, []),
        ({"a": True}, {"a": 1}, [".a: bool is not int"]),
    ],
)
def test_a_document_that_changed_is_seen(one: Any, other: Any, found: list[str]) -> None:
    """Keys and types, not values."""
    assert list(unlike(one, other)) == found
