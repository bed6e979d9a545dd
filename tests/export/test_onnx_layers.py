"""The layers of an ONNX graph: named by their paths, whatever became of the nodes."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mnfpn_cli.export import onnx as as_onnx
from mnfpn_cli.export.onnx_layers import layers_of, name_layers, onnx_macs, origins
from mnfpn_cli.trace.observe import Operation
from mnfpn_cli.trace.passes import Input
from mnfpn_cli.trace.trace import trace_network
from tests.needs import needs_onnx

pytestmark = needs_onnx


def node(kind: str, name: str, inputs: list[str], outputs: list[str], scopes: str | None = None) -> Any:
    """A node, with the modules that torch traced it in."""
    from onnx.helper import make_node, set_model_props

    made = make_node(kind, inputs, outputs, name)
    if scopes is not None:
        set_model_props(made, {"pkg.torch.onnx.name_scopes": scopes})
    return made


def model(*nodes: Any, value_info: tuple[Any, ...] = ()) -> Any:
    """A graph of nodes."""
    from onnx.helper import make_graph, make_model

    return make_model(make_graph(nodes, "graph", [], [], value_info=value_info))


class Twins(nn.Module):
    """Two convolutions, in a module."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(1, 1, 1), nn.Conv2d(1, 1, 1)


def test_a_layer_is_named_by_where_it_was_traced_before_its_weight() -> None:
    """Two modules may share a weight, which has the name of one; a folded layer was traced as its norm."""
    graph = model(
        node("Conv", "node_1", ["x", "one.weight"], ["a"], "['', 'one', 'conv2d']"),
        node("Conv", "node_2", ["a", "one.weight"], ["b"], "['', 'two', 'conv2d_1']"),
        node("Conv", "node_3", ["b", "two.weight"], ["c"], "['', 'norm', 'batch_norm']"),
        node("Conv", "node_4", ["c", "val_7"], ["d"], "['', 'conv2d_2']"),
        node("Conv", "node_5", ["d", "val_8"], ["e"]),
        node("Relu", "two:3", ["e"], ["f"]),
        node("Conv", "node_6", ["f", "two.weight"], ["g"]),
    )
    paths = name_layers(graph, Twins())
    assert paths == {"one": "one", "two": "two", "two:2": "two", "node_4": "node_4", "node_5": "node_5", "two:4": "two"}
    assert [one.name for one in graph.graph.node] == ["one", "two", "two:2", "node_4", "node_5", "two:3", "two:4"]


class Stacked(nn.Module):
    """One convolution, called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(16, 16, 3, padding=1, groups=2)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, 16, length) to the same shape."""
        y: Tensor = self.conv(self.conv(x))
        return y


OTHERS = [
    lambda: nn.TransformerEncoderLayer(16, 2, 32, batch_first=True),
    lambda: nn.Sequential(nn.ConvTranspose1d(16, 6, 3, stride=2, groups=2)),
    lambda: nn.Sequential(nn.Linear(16, 8), nn.Flatten(), nn.Linear(128, 4, bias=False)),
    Stacked,
]


@pytest.mark.parametrize("make", OTHERS, ids=["encoder", "transposed", "dense", "stacked"])
def test_macs_are_those_of_the_trace(make: Callable[[], nn.Module]) -> None:
    """Of attention, transposed and grouped convolutions and dense layers, for the whole batch."""
    network, x = make().eval(), torch.rand(2, 16, 16)
    traced = trace_network(network, [Input((2, 16, 16))], gradients=False)
    expected = sum(event.macs for event in traced.events if isinstance(event, Operation))
    layers = layers_of(*as_onnx.pass_model(network, (x,)))
    assert sum(layer.macs for layer in layers) == expected > 0
    modules = dict(network.named_modules())
    named = [layer.path for layer in layers if layer.path in modules]
    assert len(named) == sum(
        isinstance(one, nn.Conv1d | nn.ConvTranspose1d | nn.Linear) for one in modules.values()
    ) + (make is Stacked)


def test_a_layer_of_unknown_shape_has_no_macs() -> None:
    """Rather than those of a part of it."""
    assert onnx_macs(node("Conv", "conv", ["x", "w"], ["y"]), {"x": (1, 3, 8, 8), "y": (1, 4, 8, 8)}) == 0


def test_a_transposed_product_sums_over_the_first_dimension() -> None:
    """As Gemm may have its first factor."""
    made = node("Gemm", "dense", ["a", "b"], ["y"])
    shapes = {"a": (3, 5), "b": (3, 7), "y": (5, 7)}
    from onnx.helper import make_attribute

    made.attribute.append(make_attribute("transA", 1))
    assert onnx_macs(made, shapes) == 3 * 5 * 7


def test_what_a_runtime_renamed_is_led_back() -> None:
    """By its name, by the activation that was fused into it, or by the sum: then it is the layer that is left."""
    given = model(
        node("Conv", "stem", ["x", "w"], ["a"]),
        node("Clip", "act", ["a"], ["b"]),
        node("Conv", "left", ["b", "v"], ["c"]),
        node("Conv", "right", ["b", "u"], ["d"]),
        node("Add", "sum", ["c", "d"], ["e"]),
        node("Relu", "relu", ["e"], ["f"]),
        node("MatMul", "dense", ["f", "t"], ["g"]),
        node("Add", "bias", ["g", "s"], ["h"]),
    )
    layers = ["stem", "left", "right", "dense"]
    derived = [
        node("Conv", "b_nchwc", ["x", "reorder"], ["reorder_token_0"]),
        node("Conv", "f_nchwc_token_9", ["reorder_token_0", "u", "", "i"], ["reorder_token_4"]),
        node("QLinearConv", "left_token_3", ["q"], ["p"]),
        node("Gemm", "made/up", ["f"], ["h"]),
        node("Conv", "of its own", ["b"], ["z"]),
    ]
    assert origins(derived, given, layers) == ["stem", "right", "left", "dense", None]
    assert origins(derived[:2], given, layers) == ["stem", "left"]  # of two that are free, the nearest
    assert origins([], given, layers) == []
