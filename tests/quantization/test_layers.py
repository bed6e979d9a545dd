"""The paths of layers: what stays in float32, and what a table names."""

import pytest
from torch import nn

from mnfpn_cli import api
from mnfpn_cli.errors import UsageError
from mnfpn_cli.network.network import Network
from mnfpn_cli.quantization.layers import expand_keep_float, quantised_layers, short_paths


@pytest.fixture(scope="module")
def network() -> Network:
    """A small network with a pyramid."""
    return api.build_network(api.settings(overrides={"width_mult": 0.25, "pyramid.channels": 8}))


def test_a_path_is_that_of_a_layer_or_of_a_module_that_has_layers(network: Network) -> None:
    """A block stands for its convolutions, a part of the network for all of its own."""
    block = {f"stages.1.0.{name}.conv" for name in ("expand", "depthwise", "project")}
    assert expand_keep_float(network, ["stages.1.0"]) == block
    assert expand_keep_float(network, ["stem.conv"]) == expand_keep_float(network, ["stem"]) == {"stem.conv"}
    assert expand_keep_float(network, ["stem", "stages", "pyramid"]) == set(quantised_layers(network))
    assert expand_keep_float(network, []) == frozenset()


def test_an_unknown_path_is_a_wrong_usage_that_names_the_nearest(network: Network) -> None:
    """All wrong ones are named at once; a module without layers is wrong as well."""
    with pytest.raises(UsageError) as raised:
        expand_keep_float(network, ["stages.1.0.depthwize", "stem.norm", "", "stem"])
    first, second, third = str(raised.value).splitlines()
    rule = "keep_float: must be the path of a layer, or of a module that has layers, got"
    assert first == f"{rule} 'stages.1.0.depthwize'; did you mean 'stages.1.0.depthwise'?"
    assert second == (
        "keep_float: must have a convolution or dense layer, which alone are quantised, "
        "got 'stem.norm', of class BatchNorm2d"
    )
    assert third == f"{rule} ''"


def test_a_layer_of_two_paths_has_the_first_and_either_names_it() -> None:
    """As of one convolution that smooths all levels."""
    shared = nn.Conv2d(4, 4, 1)
    network = nn.Sequential(nn.ModuleDict({"a": shared}), nn.ModuleDict({"b": shared}))
    assert expand_keep_float(network, ["1.b"]) == expand_keep_float(network, ["1"]) == {"0.a"}


def test_a_table_names_the_outermost_module_that_has_this_layer_alone(network: Network) -> None:
    """Which names the layer again where it is left in float32."""
    names = short_paths(network)
    assert names["stages.1.0.depthwise.conv"] == "stages.1.0.depthwise"
    assert names["stem.conv"] == "stem"
    assert names["pyramid.lateral.p3"] == "pyramid.lateral.p3"
    assert len(set(names.values())) == len(names)
    for path, name in names.items():
        assert expand_keep_float(network, [name]) == {path}
