"""The Python API: settings, a plan and a network in a line each; torch is imported only to build a network."""

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mnfpn_cli import api
from mnfpn_cli.cli.options import NetworkOptions
from mnfpn_cli.errors import MnfpnError, UsageError
from mnfpn_cli.network import network as build
from mnfpn_cli.plan.network import plan_network
from mnfpn_cli.settings.input import Size
from mnfpn_cli.settings.network import NetworkSettings
from mnfpn_cli.settings.problems import SettingsProblem

PROGRAM = """
import sys
from mnfpn_cli import api
settings = api.settings("fpn-classifier", {"width_mult": 0.35}, {"pyramid.channels": 8})
plan = api.plan(settings, "64x96")
print("torch" in sys.modules)
api.build_network(settings, size="64x96")
print("torch" in sys.modules)
"""


def test_torch_is_imported_only_to_build() -> None:
    """Neither by the import of the API, nor for settings or a plan."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.split() == ["False", "True"]


def test_the_settings_are_those_of_the_command_line(tmp_path: Path) -> None:
    """The same preset, file and overrides give the same, in the same order; a file's content is as good as the file."""
    config = {"$comment": "mine", "width_mult": 0.5, "pyramid": {"channels": 64, "smooth": "none"}}
    file = tmp_path / "my.json"
    file.write_text(json.dumps(config))
    overrides = {"pyramid.smooth": "separable", "stages[3].channels": 48, "pyramid.levels": ["p3", "p4"]}
    options = ["pyramid.smooth=separable", "stages[3].channels=48", 'pyramid.levels=["p3", "p4"]']
    expected = NetworkOptions(preset="mobilenetv2-fpnlite", config=str(file), set=options).settings()
    for one in (file, str(file), config):
        assert api.settings("mobilenetv2-fpnlite", one, overrides) == expected
    assert api.settings() == NetworkSettings()
    of_numpy = api.settings(overrides={"pyramid.channels": np.int64(64), "width_mult": np.float32(0.5)})
    assert of_numpy == api.settings(overrides={"pyramid.channels": 64, "width_mult": 0.5})
    assert api.settings(config=[[1, 16, 1, 2]]) == api.settings(config={"stages": [[1, 16, 1, 2]]})
    assert api.settings(overrides={"stages": [(1, 16, 1, 2)]}) == api.settings(config={"stages": [[1, 16, 1, 2]]})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"preset": "fpn"}, "preset: must be one of fpn-classifier, "),
        ({"config": ""}, "config: must be the name of a file"),
        ({"config": "none.json"}, "none.json: no such file"),
        ({"config": {"width_mult": -1}}, "config: width_mult: must be greater than 0, got -1"),
        ({"config": {"stages": {1, 2}}}, "config: must be what JSON can say: "),
        (
            {"config": {"pyramid": {"levels": "p3-p7"}}},
            "config: pyramid.levels: must be among the levels that the stage",
        ),
        ({"overrides": {"pyramid.levels": "p6"}}, "overrides pyramid.levels: must be among the levels that the stages"),
        ({"overrides": {"pyramid.channels": 0}}, "overrides pyramid.channels: must be at least 1, got 0"),
        ({"overrides": {"pyramid.channels": "1"}}, "overrides pyramid.channels: must be a whole number, got '1'"),
        ({"overrides": {"pyramid": {"width": 1}}}, "overrides pyramid: pyramid.width: unknown key; did you mean"),
        ({"overrides": {"pyramid..channels": 1}}, "overrides: must "),
        ({"overrides": {"a=b": 1}}, "overrides: must "),
        ({"overrides": {"width_mult": {1}}}, "overrides width_mult: must be what JSON can say: "),
        (
            {"preset": {"width_mult": 1}},
            "preset: must be the name of a preset, got an object of type dict; config= takes files and settings",
        ),
        ({"preset": Path("my.json")}, "preset: must be the name of a preset, got an object of type PosixPath; config="),
        ({"config": 5}, "config: must be the name of a file, got an object of type int"),
        ({"config": b"my.json"}, "config: must be the name of a file, got an object of type bytes"),
        ({"overrides": ["a=1"]}, "overrides: must be a dictionary of dotted keys and values, got an object of type li"),
        ({"overrides": {3: 1}}, "overrides: must have dotted keys, as pyramid.smooth, got '3'"),
    ],
    ids=str,
)
def test_wrong_settings_are_described_in_pythons_names(arguments: Mapping[str, Any], message: str) -> None:
    """Place, rule and value, without options of the command line and without backquotes."""
    with pytest.raises(UsageError) as caught:
        api.settings(**arguments)
    assert str(caught.value).startswith(message)
    assert not {"--", "`"} & set(re.findall("--|`", str(caught.value)))


def test_a_caller_reads_what_is_wrong_as_data() -> None:
    """Each problem by itself: the place, the rule and the value; those of settings also the path of the key."""
    with pytest.raises(UsageError) as caught:
        api.settings(config={"width_mult": -1, "pyramid": {"channels": 0}})
    first, second = caught.value.problems
    assert (first.where, first.rule, first.got) == ("config: width_mult", "must be greater than 0", "-1")
    assert isinstance(second, SettingsProblem)
    assert second.path == ("pyramid", "channels")


def test_a_file_that_cannot_be_read_is_not_a_usage_error(tmp_path: Path) -> None:
    """The settings may be right."""
    with pytest.raises(MnfpnError, match="could not be read"):
        api.settings(config=tmp_path / "a\0b.json")


def test_a_plan_and_a_network_are_those_of_the_settings() -> None:
    """With the weights of the seed."""
    settings = api.settings("mobilenetv2-fpnlite", overrides={"width_mult": 0.35})
    assert api.plan(settings) == api.plan(settings, "64") == api.Plan(settings, plan_network(settings))
    found, expected = api.build_network(settings, seed=3).state_dict(), build.build_network(settings, 3).state_dict()
    assert all(torch.equal(found[key], expected[key]) for key in expected)


def test_weights_are_loaded_and_their_record_is_returned(tmp_path: Path) -> None:
    """As on the command line; a checkpoint of another network leaves it as it was."""
    settings, file = api.settings("mobilenetv2-fpnlite", overrides={"width_mult": 0.35}), tmp_path / "weights.pth"
    trained, network = api.build_network(settings, seed=1), api.build_network(settings)
    torch.save(trained.state_dict(), file)
    assert api.load_weights(network, settings, file).matched == len(trained.state_dict())
    assert all(torch.equal(tensor, trained.state_dict()[key]) for key, tensor in network.state_dict().items())
    other = api.settings("mobilenetv2-fpnlite")
    with pytest.raises(UsageError, match="must have this network's shapes"):
        api.load_weights(api.build_network(other), other, str(file))


def test_a_key_and_a_part_of_a_checkpoint_are_arguments(tmp_path: Path) -> None:
    """Of `load_weights`, and of every function that takes weights; messages name them as such."""
    small = {"stages": [(2, 8, 1, 2)]}
    ours, theirs = (
        api.settings(config=small | {"head": {"kind": "classifier", "classes": classes}}) for classes in (3, 5)
    )
    file = tmp_path / "nested.pth"
    torch.save({"step": 1, "ema": api.build_network(theirs, seed=3).state_dict()}, file)
    with pytest.raises(UsageError) as caught:
        api.load_weights(api.build_network(ours), ours, file, weights_key="ema")
    assert str(caught.value).endswith(
        "it has 5 classes: try set head.classes=5, or weights_partial head to load all else"
    )
    found = api.load_weights(api.build_network(ours), ours, file, weights_key="ema", weights_partial="head.dense")
    assert found.skipped == ("head.dense.weight", "head.dense.bias")
    given: dict[str, Any] = {"weights": file, "weights_key": "ema", "weights_partial": "head"}
    once: dict[str, Any] = {"size": 64, "device": "cpu", "passes": 1, "warmup": 0}
    records = [
        api.shapes(ours, 64, **given).weights,
        api.summary(ours, size=64, **given).weights,
        api.audit(ours, size=64, **given).weights,
        api.bench(ours, **once, **given).weights,
        api.export(ours, tmp_path / "a.safetensors", "safetensors", size=64, **given).weights,
    ]
    assert all(one is not None and one.skipped == found.skipped for one in records)
    api.compare(api.Side(ours, **given), ours, size=64, device="cpu", passes=2, warmup=0)


def test_a_head_on_flattened_maps_loads_for_its_size(tmp_path: Path) -> None:
    """The size that the network was built for is needed again."""
    settings, file = api.settings("fpn-classifier", {"width_mult": 0.35}), tmp_path / "weights.pth"
    network = api.build_network(settings, size="64x96")
    torch.save(network.state_dict(), file)
    assert api.load_weights(network, settings, file, size="64x96").matched == len(network.state_dict())


@pytest.mark.parametrize("size", ["64x96", (64, 96), Size(64, 96)], ids=repr)
def test_a_head_on_flattened_maps_is_made_for_a_size(size: str | tuple[int, int]) -> None:
    """As a text, or as a height and a width."""
    settings = api.settings("fpn-classifier", {"width_mult": 0.35, "pyramid": {"channels": 8}})
    assert api.plan(settings, size).layers == plan_network(settings.at(Size(64, 96)))
    with torch.inference_mode():
        assert api.build_network(settings, size=size)(torch.zeros(1, 3, 64, 96)).shape == (1, 2)
    with pytest.raises(UsageError, match=r"^head\.size: must be given"):
        api.plan(settings)


@pytest.mark.parametrize(
    ("size", "message"),
    [
        ("x", "size: must be HxW in pixels"),
        ((64,) * 3, "size: must be HxW in pixels"),
        ((64, 0), "size: each side must be 1 to"),
        ((31, 64), "size: each side must be at least 32 pixels"),
        (-600, "size: must be HxW in pixels"),
        (600.5, 'size: must be as "600x900", (600, 900), or 600 for a square, got 600.5'),
        ((600, 900.0), 'size: must be as "600x900", (600, 900), or 600 for a square, got (600, 900.0)'),
        (b"64", 'size: must be as "600x900"'),
        (True, 'size: must be as "600x900"'),
        ({600, 900}, 'size: must be as "600x900"'),
    ],
    ids=repr,
)
def test_a_size_that_the_network_cannot_take_is_refused(size: Any, message: str) -> None:
    """As on the command line, which spells the option."""
    with pytest.raises(UsageError) as caught:
        api.plan(api.settings(), size)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("size", [64, torch.tensor(64), torch.Size((64, 64))], ids=repr)
def test_one_side_is_a_square(size: Any) -> None:
    """As on the command line; whole numbers of torch and numpy are as good as Python's."""
    settings = api.settings("fpn-classifier", {"width_mult": 0.35})
    assert api.plan(settings, size) == api.plan(settings, "64x64")


@pytest.mark.parametrize("seed", [-1, 2**63, "x", 1.0, True, None])
def test_a_seed_that_is_no_whole_number_in_range_is_refused(seed: Any) -> None:
    """By the rule of the command line."""
    with pytest.raises(UsageError, match=f"^seed: must be a whole number from 0 to {2**63 - 1}, got '?{seed}"):
        api.build_network(api.settings(), seed)


def test_arguments_of_another_type_are_refused(tmp_path: Path) -> None:
    """With the name of the argument, and the function that returns a right one."""
    settings: Any = "mobilenetv2-fpn"
    network: Any = torch.nn.Identity()
    file: Any = 5
    for call in (api.plan, api.build_network):
        with pytest.raises(
            UsageError, match=r"^settings: must be what settings\(\) returns, got an object of type str"
        ):
            call(settings)
    small = api.settings(config=[[1, 8, 1, 2]], overrides={"pyramid.channels": 8})
    with pytest.raises(UsageError, match=r"^network: must be what build_network\(\) returns, got .* Identity"):
        api.load_weights(network, small, tmp_path / "none.pth")
    with pytest.raises(UsageError, match=r"^network: must be what build_network\(\) returns, got .* Identity"):
        api.detector_backbone(network)
    with pytest.raises(UsageError, match=r"^file: must be the name of a file, got an object of type int"):
        api.load_weights(api.build_network(small), small, file)


def test_a_network_with_a_head_is_no_backbone_of_a_detector() -> None:
    """It returns no levels."""
    with pytest.raises(UsageError, match=r"^head\.kind: must be 'none' for a detector"):
        api.detector_backbone(api.build_network(api.settings("mobilenetv2-classifier")))
