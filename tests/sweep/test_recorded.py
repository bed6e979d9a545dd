"""The recorded result that other tests use has the keys and types of a real worker's result."""

import json
import os
from typing import Any

import pytest

from mnfpn_cli.documents.read import parse_document
from mnfpn_cli.documents.schema import document_name
from mnfpn_cli.documents.worker import Measured, RunRequest, RunResponse
from mnfpn_cli.store.rows import StoredResult
from mnfpn_cli.sweep.process import Outcome, Task, run_task
from tests.documents.validated import check_document
from tests.sweep import pools
from tests.sweep.recorded import FILE, NEUTRAL, WORK, Exchange, record, recorded, unlike


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
    exchange = Exchange(request=WORK, response=WORK.respond(fresh.status, fresh.reason, fresh.measured))
    assert list(unlike(json.loads(FILE.read_text()), exchange.model_dump(mode="json"))) == []


@pytest.mark.parametrize("model", [RunRequest, RunResponse])
def test_the_record_is_of_documents(model: type[RunRequest | RunResponse]) -> None:
    """Their schema describes them, the envelope is that of all documents, and they are read back as they were."""
    document = json.loads(FILE.read_text())["request" if model is RunRequest else "response"]
    assert list(document)[:5] == ["format_version", "mnfpn_version", "command", "settings", "model"]
    assert document_name(document["command"]) == "worker"
    check_document(json.dumps(document))
    read_back = parse_document(json.dumps(document).encode(), model, "x", extra="forbid")
    assert read_back.model_dump(mode="json") == document


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
