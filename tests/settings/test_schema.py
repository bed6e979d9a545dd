"""The JSON Schema of settings accepts and refuses the same files as the settings do."""

import json
from typing import Any

import pytest
from hypothesis import given

from mnfpn_cli.documents.schema import schema
from mnfpn_cli.errors import UsageError
from mnfpn_cli.plan.rules import resolve
from mnfpn_cli.settings.files import parse_settings
from mnfpn_cli.settings.network import NetworkSettings
from mnfpn_cli.settings.sources import Source
from tests.documents.test_schema import numbers
from tests.strategies import network_settings

jsonschema = pytest.importorskip("jsonschema")

VALIDATOR = jsonschema.Draft202012Validator(schema("settings"))


def test_the_schema_is_itself_valid() -> None:
    """Against the draft that it names."""
    jsonschema.Draft202012Validator.check_schema(schema("settings"))


@pytest.mark.parametrize("name", sorted(schema("settings")["$defs"]))
def test_every_key_is_described_and_every_number_has_a_unit(name: str) -> None:
    """Of each kind of backbone and head too, and in each spelling of a stage; in a sentence with a full stop."""
    made = schema("settings")["$defs"][name]
    for key, value in made["properties"].items():
        assert value.get("description", "").endswith("."), key
        assert all("unit" in value or "unit" in number for number in numbers(value)), key


@given(network_settings())
def test_the_schema_accepts_what_settings_show_prints(settings: NetworkSettings) -> None:
    """For any resolved settings."""
    VALIDATOR.validate(settings.model_dump(mode="json"))


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"$schema": "x", "$comment": "y"},
        [[6, 24, 2, 2]],
        [{"expansion_factor": 6, "width_factor": 24, "n": 2, "stride": 2}],
        {"pyramid": {"levels": "p3-p5"}},
        {"pyramid": {"levels": "p3,p5"}},
        {"pyramid": {"levels": "all"}},
        {"backbone": {}, "head": {}, "stages": None},
        {"backbone": {"kind": "resnet", "blocks": [3, 4, 6, 3]}},
        {"pyramid": None, "head": {"kind": "classifier", "last_channels": None}},
        {"head": {"kind": "level_classifiers", "size": 224}},
        {"head": {"kind": "level_classifiers", "size": "224x320"}},
        {"head": {"kind": "level_classifiers", "size": " 0224×320 "}},
        {"head": {"kind": "level_classifiers", "size": None}},
        {
            "padding": "same",
            "norm_eps": 0.001,
            "pyramid": {"norm": "batch", "activation": "relu6", "last_channels": 96},
        },
        {"head": {"kind": "retinanet", "depth": 0, "classes": 1, "anchors": {"sizes": [32, 64, 128, 256]}}},
        {"head": {"kind": "fcos", "norm": "group", "norm_groups": 16}},
        {"head": {"kind": "ssd", "anchors": {"ratios": [[2], [2, 3], [2, 3], [2]], "steps": None, "clip": False}}},
        {"head": {"kind": "ssdlite", "anchors": {"scales": [0.1, 0.3, 0.5, 0.7, 1]}}},
        {"head": {"kind": "rpn"}, "preprocess": {"mean": [0], "std": [1]}, "postprocess": {"topk": 10}},
    ],
)
def test_the_schema_accepts_each_spelling(value: Any) -> None:
    """Every spelling that `config` reads."""
    VALIDATOR.validate(value)


@pytest.mark.parametrize(
    "value",
    [
        {"width": 1},
        {"width_mult": 0},
        {"stages": []},
        [],
        [[1, 16, 0, 2]],
        [[6, 65537, 1, 2]],
        [{"expansion_factor": 6, "width_factor": 24, "n": 2000, "stride": 2}],
        {"pyramid": {"levels": []}},
        {"pyramid": {"levels": ["p3", "p3"]}},
        {"pyramid": {"levels": "P3-P5"}},
        {"stages": [{"expansion": 6, "channels": 24, "repeats": 2, "stride": 3}]},
        {"pyramid": {"smooth": "yes"}},
        {"backbone": {"kind": "vgg"}},
        {"backbone": {"blocks": [1]}},
        {"backbone": {"kind": "resnet", "blocks": []}},
        {"head": {"classes": 3}},
        {"head": {"kind": "classifier", "dropout": 1}},
        {"head": {"kind": "classifier", "dense": "convolutional"}},
        {"head": {"kind": "level_classifiers", "size": "abc"}},
        {"head": {"kind": "level_classifiers", "size": "0x320"}},
        {"head": {"kind": "level_classifiers", "size": "224x123456"}},
        {"head": {"kind": "level_classifiers", "size": "224x320x3"}},
        {"head": {"kind": "level_classifiers", "size": 0}},
        {"head": {"kind": "level_classifiers", "size": 65537}},
        {"padding": "valid"},
        {"norm_eps": 0},
        {"pyramid": {"norm": "group"}},
        {"head": {"kind": "yolo"}},
        {"head": {"kind": "retinanet", "classes": 0}},
        {"head": {"kind": "retinanet", "depth": 33}},
        {"head": {"kind": "retinanet", "norm": "layer"}},
        {"head": {"kind": "retinanet", "separable": "yes"}},
        {"head": {"kind": "retinanet", "anchors": {"sizes": []}}},
        {"head": {"kind": "retinanet", "anchors": {"sizes": [0, 64, 128, 256]}}},
        {"head": {"kind": "retinanet", "anchors": {"scales": [-1]}}},
        {"head": {"kind": "retinanet", "anchors": {"clip": True}}},
        {"head": {"kind": "fcos", "anchors": {"sizes": [8]}}},
        {"head": {"kind": "ssd", "classes": 1}},
        {"head": {"kind": "ssd", "anchors": {"ratios": [2, 3]}}},
        {"head": {"kind": "ssdlite", "anchors": {"min_scale": 0}}},
        {"head": {"kind": "rpn", "classes": 2}},
        {"head": {"kind": "rpn"}, "preprocess": {"std": [0]}},
        {"head": {"kind": "rpn"}, "postprocess": {"score_threshold": 1.5}},
        {"head": {"kind": "rpn"}, "postprocess": {"topk": 0}},
        {"head": {"kind": "rpn"}, "postprocess": {"detections": 1.5}},
        3,
    ],
)
def test_the_schema_refuses_what_the_settings_refuse(value: Any) -> None:
    """So an editor marks the same errors."""
    assert not VALIDATOR.is_valid(value)
    with pytest.raises(UsageError):
        resolve([Source("my.json", parse_settings("my.json", json.dumps(value).encode()))])
