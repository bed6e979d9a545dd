"""ONNX Runtime in int8, and what it says that it executed."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mnfpn_cli.plan.cost import network_cost
from mnfpn_cli.plan.network import plan_network
from mnfpn_cli.quantization.quantization import Quantization
from mnfpn_cli.runtimes import onnxruntime
from mnfpn_cli.runtimes.onnxruntime.executed import executed_graph
from mnfpn_cli.runtimes.runtime import ExecutedGraph, Job, Prepared
from mnfpn_cli.settings.files import preset_names
from mnfpn_cli.settings.input import DType, Size
from mnfpn_cli.settings.network import NetworkSettings
from tests.export.networks import SMALL, shortened
from tests.export.onnx_files import snr_db
from tests.needs import needs_onnx
from tests.runtimes.jobs import CPU, TINY, expected, job
from tests.tiers import slow_but

pytestmark = needs_onnx

SIZE, SMALL_SIZE, BATCH = Size(64, 96), Size(32, 48), 2
LEAST_DB = 15
"""Of the shortened presets with random weights: 22.7 to 46 dB. One that clips half of an output has 3."""


def in_int8(settings: NetworkSettings = SMALL, *keep_float: str, size: Size = SMALL_SIZE) -> Job:
    """A job in int8, calibrated on its own images and on others."""
    made = job(settings, (BATCH, 3, *size), "int8")
    others = torch.rand((BATCH, 3, *size), generator=torch.Generator().manual_seed(1))
    return replace(made, quantization=Quantization([made.inputs, (others,)], frozenset(keep_float)))


def graph_of(prepared: Prepared) -> ExecutedGraph:
    """The graph of a run, which must have one."""
    assert prepared.graph is not None
    return prepared.graph()


def macs_of(graph: ExecutedGraph) -> int:
    """All MACs of a graph."""
    return sum(one.macs for one in graph.operators)


@pytest.mark.parametrize("preset", slow_but("mobilenetv2-fpn", preset_names()))
@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_every_planned_mac_was_executed(dtype: DType, preset: str, capfd: pytest.CaptureFixture[str]) -> None:
    """In the dtype that was asked for, each layer by its path, silently; the outputs are near to eager's in float32."""
    settings = shortened(preset).at(SIZE)
    mine = in_int8(settings, size=SIZE) if dtype == "int8" else job(settings, (BATCH, 3, *SIZE))
    paths = {path for path, one in mine.network.named_modules() if isinstance(one, nn.Conv2d | nn.Linear)}
    prepared = onnxruntime.prepare(mine)
    graph = graph_of(prepared)
    assert macs_of(graph) == BATCH * network_cost(plan_network(settings), SIZE).total.macs
    assert {one.name for one in graph.operators} == paths
    assert graph.share_in(dtype) == 1
    assert bool(graph.conversions) == (dtype == "int8")
    found = prepared.outputs(prepared.run())
    for reference, output in zip(expected(settings, (BATCH, 3, *SIZE)), found, strict=True):
        assert snr_db(reference, output) > (LEAST_DB if dtype == "int8" else 100)
    assert capfd.readouterr() == ("", "")


def test_layers_that_are_left_in_float32_are_seen() -> None:
    """Half of the layers, planted: each by its name, and the share to the last digit.

    A session would quantise them after all, with one scale for all channels, were it not kept from that.
    """
    whole = graph_of(onnxruntime.prepare(in_int8()))
    planted = {one.name for one in whole.operators[::2]}
    prepared = onnxruntime.prepare(in_int8(SMALL, *planted))
    graph = graph_of(prepared)
    assert {one.name for one in graph.operators if one.dtype == "float32"} == planted
    assert {one.dtype for one in graph.operators} == {"float32", "int8"}
    left = sum(one.macs for one in whole.operators if one.name not in planted)
    assert graph.share_in("int8") == pytest.approx(left / macs_of(whole), rel=1e-9)
    assert macs_of(graph) == macs_of(whole)
    assert graph.conversions > whole.conversions


def test_all_layers_left_in_float32_are_as_good_as_float32() -> None:
    """Only sums and resized maps are rounded then; the graph says that nothing ran in int8."""
    paths = [path for path, one in job(TINY).network.named_modules() if isinstance(one, nn.Conv2d)]
    prepared = onnxruntime.prepare(in_int8(TINY, *paths))
    graph = graph_of(prepared)
    assert graph.share_in("int8") == 0
    assert graph.share_in("float32") == 1
    (output,) = prepared.run()
    assert snr_db(expected(TINY)[0], output) > 30


def test_the_same_job_has_the_same_outputs() -> None:
    """To the last bit: whoever compares two runs compares what differs between them."""
    first, second = (onnxruntime.prepare(in_int8(TINY)) for _ in range(2))
    assert all(torch.equal(one, other) for one, other in zip(first.run(), second.run(), strict=True))
    assert first.file_bytes == second.file_bytes
    assert first.graph is not None
    assert first.graph() == graph_of(second)


def test_a_file_in_int8_is_smaller() -> None:
    """A byte a weight, and what a graph needs besides."""
    in_bytes = onnxruntime.prepare(in_int8()).file_bytes
    in_floats = onnxruntime.prepare(job(SMALL)).file_bytes
    assert in_bytes is not None
    assert in_floats is not None
    weights = sum(one.numel() for one in job(SMALL).network.parameters() if one.dim() > 1)
    assert weights < in_bytes < in_floats


def test_other_images_are_run_in_place() -> None:
    """A pass reads the inputs as they are then, and looking at the graph changes nothing."""
    prepared = onnxruntime.prepare(in_int8(TINY))
    before = prepared.outputs(prepared.run())[0].clone()
    graph_of(prepared)
    assert torch.equal(prepared.run()[0], before)
    prepared.inputs[0].zero_()
    assert not torch.equal(prepared.run()[0], before)


class Summed(nn.Module):
    """Two convolutions, a sum and an activation: ONNX Runtime fuses the last two into one of the convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Conv2d(3, 5, 3), nn.Conv2d(3, 5, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, 3, h, w) to (n, 5, h - 2, w - 2)."""
        summed: Tensor = self.left(x) + self.right(x)
        return summed.relu()


OTHERS: list[tuple[Callable[[], nn.Module], dict[str, int]]] = [
    (Summed, {"left": 2 * 5 * 27 * 14 * 14, "right": 2 * 5 * 27 * 14 * 14}),
    (lambda: nn.Sequential(nn.Flatten(), nn.Linear(768, 7), nn.ReLU()), {"1": 2 * 768 * 7}),
    (lambda: nn.Sequential(nn.Linear(16, 7)), {"0": 2 * 3 * 16 * 16 * 7}),
]


@pytest.mark.parametrize("dtype", ["float32", "int8"])
@pytest.mark.parametrize(("make", "macs"), OTHERS, ids=["summed", "dense", "dense on maps"])
def test_layers_of_others_have_their_paths_and_macs(
    dtype: DType, make: Callable[[], nn.Module], macs: dict[str, int]
) -> None:
    """Also where channels are no multiple of the blocks that ONNX Runtime computes in."""
    torch.manual_seed(0)
    inputs = (torch.rand(2, 3, 16, 16),)
    quantization = Quantization([inputs]) if dtype == "int8" else None
    graph = graph_of(onnxruntime.prepare(Job(make().eval(), False, inputs, CPU, dtype, False, quantization)))
    assert {one.name: one.macs for one in graph.operators} == macs
    assert {one.dtype for one in graph.operators} == {dtype}


def test_a_layer_that_the_runtime_made_has_its_own_name_and_shapes() -> None:
    """In the types of its weights; conversions are counted, and what has no MACs is not."""
    from onnx import TensorProto
    from onnx.helper import make_graph, make_model, make_node, make_tensor, make_tensor_value_info

    def made(*nodes: Any) -> Any:
        sides: list[tuple[str, list[int]]] = [("x", [1, 4, 8, 8]), ("y", [1, 6, 8, 8])]
        first, last = (make_tensor_value_info(name, TensorProto.FLOAT, side) for name, side in sides)
        weights = [make_tensor(f"w{type}", type, [6, 4, 1, 1], [0] * 24) for type in (1, TensorProto.FLOAT16)]
        values = [make_tensor_value_info(name, TensorProto.FLOAT, [1, 6, 8, 8]) for name in "abc"]
        return make_model(make_graph(nodes, "graph", [first], [last], weights, value_info=values))

    optimized = made(
        make_node("Conv", ["x", "w1"], ["a"], "fused/1", domain="com.microsoft.nchwc"),
        make_node("Conv", ["x", "w10"], ["b"], "fused/2", domain="com.microsoft.nchwc"),
        make_node("QLinearConv", ["x", "", "", "w1", "", "", "", ""], ["c"], "fused/3", domain="com.microsoft"),
        make_node("QuantizeLinear", ["a", "scale"], ["q"]),
        make_node("DequantizeLinear", ["q", "scale"], ["d"]),
        make_node("Add", ["d", "c"], ["y"]),
    )
    graph = executed_graph(optimized, made(), [])
    macs = 6 * 8 * 8 * 4
    assert [(one.name, one.dtype, one.macs) for one in graph.operators] == [
        *(("fused/1", "float32", macs), ("fused/2", "float16", macs), ("fused/3", "int8", macs)),
    ]
    assert graph.conversions == 2
