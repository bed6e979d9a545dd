"""What a checkpoint that does not fit shows of its settings: only what then fits is said."""

from collections.abc import Mapping
from typing import Any

import pytest
from torch import nn

from mnfpn_cli.errors import UsageError
from mnfpn_cli.network.network import build_meta
from mnfpn_cli.plan.network import plan_network
from mnfpn_cli.settings.network import NetworkSettings
from mnfpn_cli.weights.checkpoint import Checkpoint
from mnfpn_cli.weights.layouts import LAYOUTS, OURS
from mnfpn_cli.weights.load import check_weights
from tests.weights.test_levels import renamed

CLASSIFIER = {"head": {"kind": "classifier", "classes": 10}}
RESNET = {"backbone": {"kind": "resnet"}}
SMALL = {"stages": [(2, 8, 1, 2), (2, 16, 2, 2)]}


def settings_of(values: Mapping[str, Any]) -> NetworkSettings:
    """Settings from values by key."""
    return NetworkSettings.model_validate(values)


def message(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> str:
    """What is said of a checkpoint of some settings in a network of others."""
    state = build_meta(plan_network(settings_of(theirs))).state_dict()
    network = build_meta(plan_network(settings_of(ours)))
    with pytest.raises(UsageError) as caught:
        check_weights(network, settings_of(ours), Checkpoint("a.pth", state))
    return caught.value.text(lambda name: f"--{name}")


HINTS: list[tuple[Mapping[str, Any], Mapping[str, Any], str]] = [
    ({}, {"width_mult": 1.4}, "; it has 48 channels in the stem: try --width_mult 1.4"),
    ({"width_mult": 0.35}, {}, "; it has 32 channels in the stem: try --width_mult 1.0"),
    ({}, {"width_mult": 0.35}, "; it has 16 channels in the stem: try --width_mult 0.35"),
    (
        {"width_mult": 0.33},
        {"width_mult": 0.33, "rounding": "truncate"},
        "; it has 10 channels in the stem: try --width_mult 0.33, --set rounding=truncate",
    ),
    ({}, {"stem_channels": 64}, "; it has 64 channels in the stem: try --set stem_channels=64"),
    (RESNET, {**RESNET, "width_mult": 0.5}, "; it has 32 channels in the stem: try --width_mult 0.5"),
    ({}, {"in_channels": 1}, "; it has images of 1 channel: try --set in_channels=1"),
    ({}, {"pyramid": {"channels": 64}}, "; it has 64 channels in the pyramid: try --pyramid_channels 64"),
    (
        {},
        {"pyramid": {"channels": 64}, "width_mult": 0.5, "in_channels": 4},
        "; it has images of 4 channels, 16 channels in the stem, 64 channels in the pyramid: "
        "try --set in_channels=4, --width_mult 0.5, --pyramid_channels 64",
    ),
    (
        CLASSIFIER,
        {"head": {"kind": "classifier", "classes": 19}},
        "; it has 19 classes: try --set head.classes=19, or --weights_partial head to load all else",
    ),
    (
        CLASSIFIER,
        {"head": {"kind": "classifier", "classes": 10, "last_channels": 640}},
        "; it has 640 channels in the last convolution: try --set head.last_channels=640, "
        "or --weights_partial head to load all else",
    ),
    (
        CLASSIFIER,
        {"head": {"kind": "classifier", "classes": 19}, "width_mult": 1.4},
        "; it has 48 channels in the stem, 19 classes: try --width_mult 1.4, --set head.classes=19",
    ),
    *(
        (
            {"head": {"kind": kind, "classes": 4}},
            {"head": {"kind": kind, "classes": 21}},
            "; it has 21 classes: try --set head.classes=21, or --weights_partial head to load all else",
        )
        for kind in ("retinanet", "fcos", "ssd", "ssdlite")
    ),
    (
        {"head": {"kind": "retinanet", "classes": 4}, "pyramid": {"channels": 64}},
        {"head": {"kind": "retinanet", "classes": 21}, "pyramid": {"channels": 32}},
        "; it has 32 channels in the pyramid, 21 classes: try --pyramid_channels 32, --set head.classes=21",
    ),
    (
        {"head": {"kind": "level_classifiers", "classes": 2, "pool": "average"}},
        {"head": {"kind": "level_classifiers", "classes": 5, "pool": "average"}},
        "; it has 5 classes: try --set head.classes=5, or --weights_partial head to load all else",
    ),
]


@pytest.mark.parametrize(("ours", "theirs", "hint"), HINTS)
def test_the_fewest_settings_that_fit_are_named(ours: Mapping[str, Any], theirs: Mapping[str, Any], hint: str) -> None:
    """With what is seen of them; a command's own parameter where there is one."""
    said = message(ours, theirs)
    assert said.startswith("a.pth: must have this network's shapes (read in mnfpn's layout), but ")
    assert said.endswith(hint)
    assert said.count("try") == 1


@pytest.mark.parametrize("layout", ["mnfpn", "torchvision ResNet", "pytorch-fpn", "pytorch-fpn RetinaFPN"])
def test_the_blocks_of_a_resnet_are_read_off_its_names(layout: str) -> None:
    """Where they fit: a checkpoint that lacks a layer besides is another network's."""
    theirs = settings_of({"backbone": {"kind": "resnet", "blocks": [3, 1, 2, 4]}, "stem_channels": 8})
    names = next(one for one in (OURS, *LAYOUTS) if one.name == layout)
    state = renamed(build_meta(plan_network(theirs)).state_dict(), theirs, names)
    ours = settings_of({"backbone": {"kind": "resnet", "blocks": [2, 2, 2, 2]}, "stem_channels": 8})
    with pytest.raises(UsageError, match=r"more; it has blocks 3-1-2-4: try set backbone\.blocks=\[3,1,2,4\]$"):
        check_weights(build_meta(plan_network(ours)), ours, Checkpoint("a.pth", state))
    del state[next(key for key in state if "2" in key)]
    with pytest.raises(UsageError, match=r"\d more$"):
        check_weights(build_meta(plan_network(ours)), ours, Checkpoint("a.pth", state))


@pytest.mark.parametrize(
    "theirs",
    [{"stages": [(2, 8, 1, 2), (2, 24, 2, 2)]}, {"stages": [(4, 8, 1, 2), (2, 16, 2, 2)]}],
    ids=["channels", "expansion"],
)
def test_nothing_is_suggested_where_no_value_fits(theirs: Mapping[str, Any]) -> None:
    """A stage of other channels has no width multiplier; a width that gives the stem alone is not said."""
    assert "try" not in message({**SMALL, "pyramid": {"channels": 8}}, {**theirs, "pyramid": {"channels": 8}})


def test_a_head_that_alone_does_not_fit_can_be_left_out() -> None:
    """Where no settings fit: its last layer is a convolution there."""
    settings = settings_of(CLASSIFIER)
    network = build_meta(plan_network(settings))
    theirs = network.state_dict()
    theirs["head.dense.weight"] = nn.Conv2d(1280, 10, 1, device="meta").weight
    with pytest.raises(UsageError, match=r"not 10×1280; try weights_partial head to load all else$"):
        check_weights(network, settings, Checkpoint("a.pth", theirs))
