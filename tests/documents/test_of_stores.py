"""Documents of commands that read a store."""

import json
from importlib import import_module
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from mnfpn_cli.documents.base import to_json
from mnfpn_cli.documents.schema import DOCUMENTS
from mnfpn_cli.store.read import read_runs
from mnfpn_cli.store.store import open_store
from tests.conftest import Mnfpn
from tests.report.stores import SAMPLE, make_store

COMMANDS = [
    ("sweep", "--width-mult", "0.5,1.0", "--size", "64", "--max-macs", "1G", "--measure", "none"),
    ("sweep", "--resume", "--store", "{store}"),
    ("runs", "list", "--store", "{store}"),
    ("runs", "show", "{key}", "--store", "{store}"),
    ("runs", "export", "--store", "{store}"),
    ("runs", "merge", "{store}", "--store", "{other}"),
    ("runs", "prune", "--failed", "--dry-run", "--store", "{store}"),
    ("report", "--store", "{store}"),
    ("recommend", "--max-latency", "20ms", "--store", "{store}"),
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: " ".join(command[:2]))
def test_it_is_read_back_as_it_was_written(mnfpn: Mnfpn, tmp_path: Path, command: tuple[str, ...]) -> None:
    """By the model of its schema; the envelope is the same in all."""
    names = {"store": str(make_store(tmp_path / "runs.db", SAMPLE[:8], [(0, 0.01), (30, 0.012)]))}
    with open_store(names["store"]) as store:
        names |= {"key": read_runs(store)[0].key, "other": str(tmp_path / "other.db")}
    printed = mnfpn(*(word.format(**names) for word in command), "--json").out
    document = json.loads(printed)
    assert list(document)[:5] == ["format_version", "mnfpn_version", "command", "settings", "model"]
    assert document["command"] == " ".join(command[: 1 + (command[0] == "runs")])
    module, _, name = DOCUMENTS[command[0]].partition(":")
    read = TypeAdapter(getattr(import_module(module), name)).validate_json(printed)
    assert to_json(read) == printed


def test_one_quantity_has_one_name(mnfpn: Mnfpn, tmp_path: Path) -> None:
    """A run costs the same and took the same time in the export, on the frontier, and where it is recommended."""
    store = str(make_store(tmp_path / "runs.db", SAMPLE, [(0, 0.01), (30, 0.012)]))
    exported = {one["key"]: one for one in json.loads(mnfpn("runs", "export", "--store", store).out)["runs"]}
    report = json.loads(mnfpn("report", "--store", store, "--json").out)
    (frontier,) = report["frontier"]
    words = ("recommend", "--max-latency", "1s", "--store", store, "--json")
    (recommended,) = json.loads(mnfpn(*words).out)["recommendations"]
    assert len(frontier["runs"]) == len(recommended["picks"]) == 4
    assert len(report["runs"]) == len(exported)
    for one in (*frontier["runs"], *report["runs"]):
        of_report = ("name", "score", "on_frontier", "prediction")
        assert {key: value for key, value in one.items() if key not in of_report} == exported[one["key"]]
    for one in recommended["picks"]:
        same = exported[one["key"]].keys() & one.keys() - {"size", "identity"}  # named as among its own
        assert same == {
            "key",
            "settings",
            "input",
            "runtime",
            "device",
            "dtype",
            "threads",
            "train",
            "allocator",
            "cost",
            "latency_s",
            "drift",
            "corrected_s",
        }
        assert {key: one[key] for key in same} == {key: exported[one["key"]][key] for key in same}
