"""Every preset through every command, heads included."""

import json

import pytest

from mnfpn_cli.plan.rules import resolve
from mnfpn_cli.settings.files import preset_names, read_preset
from tests.conftest import Mnfpn

LEVELS: dict[str, list[int | None]] = {
    "fpn-classifier": [8, 16, 32, 64, 128],
    "fpnssd": [8, 16, 32, 64, 128, 256, 512],
    "fpnssd512": [8, 16, 32, 64, 128, 256, 512],
    "mobilenetv2-classifier": [],
    "mobilenetv2-dynamic-fpn": [4, 8, 16, 32, None],
    "mobilenetv2-fpn": [4, 8, 16, 32],
    "mobilenetv2-fpnlite": [8, 16, 32, 64, 128],
    "mobilenetv2-keras": [],
    "mobilenetv2-plain-classifier": [],
    "resnet-fpn": [4, 8, 16, 32],
    "retina-fpn": [8, 16, 32, 64, 128],
    "retinanet": [8, 16, 32, 64, 128],
}
"""The strides of each preset's levels; None for a pooled top."""

DETECTORS = {"fpnssd512": 21, "mobilenetv2-fpnlite": 91, "retinanet": 80}
CLASSES = DETECTORS | {
    "fpn-classifier": 2,
    "mobilenetv2-classifier": 1000,
    "mobilenetv2-keras": 1000,
    "mobilenetv2-plain-classifier": 1000,
}
SIZE = ("--size", "65x97")


def test_the_table_above_has_every_preset() -> None:
    """A preset that is not tested below would pass unseen."""
    assert list(LEVELS) == preset_names()


@pytest.mark.parametrize("preset", LEVELS)
def test_shapes_has_its_levels_and_its_head(mnfpn: Mnfpn, preset: str) -> None:
    """Held against the real network with --verify."""
    outcome = mnfpn("shapes", "--preset", preset, *SIZE, "--batch", "2", "--verify", "--json")
    assert (outcome.code, outcome.err) == (0, "")
    (result,) = json.loads(outcome.out)["results"]
    assert [level["stride"] for level in result["levels"]] == LEVELS[preset]
    head = result["head"]
    if preset in DETECTORS:
        assert head["classes"] == DETECTORS[preset]
        anchors = sum(one["anchors"] for one in head["maps"])
        shapes = {one["name"]: one["shape"][1:] for one in head["outputs"]}
        assert shapes == {"cls_logits": [anchors, DETECTORS[preset]], "bbox_regression": [anchors, 4]}
        assert [(one["path"], one["height"]) for one in head["maps"]] == [
            (level["name"], level["height"]) for level in result["levels"]
        ]
    elif preset in CLASSES:
        assert (head["classes"], head["bytes"]) == (CLASSES[preset], 8 * CLASSES[preset])
        assert [(one["name"], one["shape"]) for one in head["outputs"]] == [("logits", [2, CLASSES[preset]])]
        assert len(head["maps"]) == max(1, len(LEVELS[preset]))
    else:
        assert head is None
    text = mnfpn("shapes", "--preset", preset, *SIZE).out
    assert ("Logits" in text) == (preset in CLASSES and preset not in DETECTORS)
    assert ("Anchors a cell" in text) == (preset in DETECTORS)
    assert ("Level" in text) == bool(LEVELS[preset])


@pytest.mark.parametrize("preset", LEVELS)
def test_summary_has_its_head_and_registers_all(mnfpn: Mnfpn, preset: str) -> None:
    """Rows roll up to the whole; what is called is registered."""
    result = json.loads(mnfpn("summary", "--preset", preset, *SIZE, "--json").out)
    rows = {row["path"]: row for row in result["layers"]}
    assert ("head" in rows) == (preset in CLASSES)
    assert result["registration"]["same"] is True
    top = [row for row in result["layers"] if row["depth"] == 1]
    assert sum(row["parameters"] for row in top) == result["totals"]["parameters"]
    assert sum(row["macs"] for row in top) == result["totals"]["macs"]
    if preset in DETECTORS:
        branches = [row["parameters"] for path, row in rows.items() if path.startswith("head.") and row["depth"] == 2]
        assert sum(branches) == rows["head"]["parameters"]
    elif preset in CLASSES:
        assert rows[""]["output_shape"] == [1, CLASSES[preset]]


@pytest.mark.parametrize("preset", LEVELS)
def test_bench_has_the_cost_of_its_parts(mnfpn: Mnfpn, preset: str) -> None:
    """Backbone, pyramid and head, as far as there are any, make up the whole."""
    run = ("--device", "cpu", "--passes", "1", "--warmup", "0")
    outcome = mnfpn("bench", "--preset", preset, *SIZE, *run, "--json")
    assert outcome.code == 0
    result = json.loads(outcome.out)
    cost, settings = result["cost"], resolve([read_preset(preset)])
    parts = {"backbone"} | ({"pyramid"} if settings.pyramid else set()) | ({"head"} if preset in CLASSES else set())
    assert parts == {name for name in ("backbone", "pyramid", "head") if cost[name] is not None}
    for key in ("parameters", "macs"):
        assert sum(cost[part][key] for part in parts) == cost[key]
    counted = cost["fvcore_by_operator"]
    assert counted["conv"] + counted.get("linear", 0) == cost["macs"]
    assert len(result["runs"]) == 1


def test_bench_prints_the_head_and_no_pyramid_where_there_is_none(mnfpn: Mnfpn) -> None:
    """As a row of the cost table."""
    run = ("--device", "cpu", "--passes", "1", "--warmup", "0", *SIZE)
    lines = mnfpn("bench", "--preset", "mobilenetv2-classifier", *run).out.splitlines()
    names = [line.split()[0] for line in lines[2:5]]
    assert names == ["backbone", "head", "total"]
    assert not any("pyramid" in line for line in lines)
