"""What torch's own runtimes say they executed: every MAC, in the dtype that it was computed in."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mnfpn_cli.plan.cost import network_cost
from mnfpn_cli.plan.network import plan_network
from mnfpn_cli.runtimes import eager
from mnfpn_cli.runtimes.fused.blocks import KernelBlock
from mnfpn_cli.runtimes.runtime import ExecutedGraph, Job, Prepared, load_runtime
from mnfpn_cli.settings.files import preset_names
from mnfpn_cli.settings.input import DType, Size
from mnfpn_cli.settings.network import NetworkSettings
from mnfpn_cli.trace.observe import Operation
from mnfpn_cli.trace.passes import Input
from mnfpn_cli.trace.trace import trace_network
from tests.export.networks import SMALL, shortened
from tests.runtimes.jobs import CPU, job

SIZE, BATCH = Size(64, 96), 2
TORCHS = ("eager", "channels-last", "fused")


def graph_of(prepared: Prepared) -> ExecutedGraph:
    """The graph of a run, which must have one."""
    assert prepared.graph is not None
    return prepared.graph()


def macs_of(graph: ExecutedGraph) -> int:
    """All MACs of a graph."""
    return sum(one.macs for one in graph.operators)


def planned(settings: NetworkSettings, size: Size = SIZE) -> int:
    """The MACs of a batch by the plan."""
    return BATCH * network_cost(plan_network(settings), size).total.macs


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("preset", preset_names())
@pytest.mark.parametrize("name", TORCHS)
def test_every_planned_mac_was_executed(name: str, preset: str, dtype: DType) -> None:
    """In the dtype that was asked for, with no conversion; fewer where `fused` smooths levels early.

    The kernels of `fused` convolve depthwise in float32.
    """
    settings = shortened(preset).at(SIZE)
    mine = job(settings, (BATCH, 3, *SIZE), dtype)
    graph = graph_of(load_runtime(name).prepare(mine))
    if any(one.name.startswith("pyramid.early") for one in graph.operators):
        assert name == "fused"
        assert macs_of(graph) < planned(settings)
    else:
        assert macs_of(graph) == planned(settings)
    blocks = [module for module in mine.network.modules() if isinstance(module, KernelBlock)]
    depthwise = {block.roles["depthwise"].path for block in blocks if "depthwise" in block.roles}
    others = {(one.name, one.dtype) for one in graph.operators if one.dtype != dtype}
    assert others == {(path, "float32") for path in depthwise if dtype != "float32"}
    assert graph.conversions == 0


@pytest.mark.parametrize("name", TORCHS)
def test_operators_are_named_by_their_modules_in_order(name: str) -> None:
    """A folded layer is one module."""
    settings = NetworkSettings.model_validate({"stages": [(2, 8, 1, 2)], "pyramid": {"channels": 8}})
    found = [one.name for one in graph_of(load_runtime(name).prepare(job(settings))).operators]
    layers = ["stem", "stages.0.0.expand", "stages.0.0.depthwise", "stages.0.0.project"]
    conv = "" if name == "fused" else ".conv"
    assert found == [*(f"{layer}{conv}" for layer in layers), "pyramid.lateral.p2", "pyramid.smooth.p2"]


def in_float32(conv: nn.Module) -> None:
    """Have a convolution compute in float32, and return what it got."""
    conv.float()
    conv.register_forward_pre_hook(lambda _conv, inputs: (inputs[0].float(),))
    conv.register_forward_hook(lambda _conv, _inputs, output: output.to(torch.bfloat16))


@pytest.mark.parametrize("name", ["eager", "channels-last"])
def test_layers_that_compute_in_another_dtype_are_seen(name: str) -> None:
    """Half of the layers of a network, planted in float32: each by its name, and the share to the last digit."""
    mine = job(SMALL, dtype="bfloat16")
    run = load_runtime(name).prepare(mine)
    whole = graph_of(run)
    planted = [path for path, module in mine.network.named_modules() if isinstance(module, nn.Conv2d)][::2]
    for path in planted:
        in_float32(mine.network.get_submodule(path))
    graph = graph_of(run)
    assert [one.name for one in graph.operators if one.dtype == "float32"] == planted
    assert {one.dtype for one in graph.operators} == {"float32", "bfloat16"}
    left = sum(one.macs for one in whole.operators if one.name not in planted)
    assert graph.share_in("bfloat16") == pytest.approx(left / macs_of(whole), rel=1e-9)
    assert graph.conversions == 2 * len(planted)
    assert macs_of(graph) == macs_of(whole)


def encoder() -> nn.Module:
    """An encoder layer of a transformer, which torch runs as one operation where it may."""
    return nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)


class Recurrent(nn.Module):
    """An LSTM of two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(16, 8, num_layers=2, bidirectional=True, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, length, 16) to (n, length, 16)."""
        y: Tensor = self.lstm(x)[0]
        return y


@pytest.mark.parametrize("make", [encoder, Recurrent, lambda: nn.ConvTranspose1d(16, 6, 3, groups=2)])
def test_other_networks_have_the_macs_of_their_trace(make: Callable[[], nn.Module]) -> None:
    """Attention and recurrent layers too, whichever kernel torch has for a whole layer of them."""
    network, x = make().eval(), torch.rand(2, 16, 16)
    traced = trace_network(network, [Input((2, 16, 16))], gradients=False)
    expected = sum(event.macs for event in traced.events if isinstance(event, Operation))
    graph = graph_of(eager.prepare(Job(network, False, (x,), CPU, "float32")))
    assert macs_of(graph) == expected > 0


def test_what_no_module_computes_is_named_by_its_operation() -> None:
    """A product in the forward of the network itself; whole numbers that become real are no conversion."""

    class Products(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            scale = torch.arange(4).to(x.dtype)  # from whole numbers: no layer computes in them
            return (x @ x).double().float() * scale

    graph = graph_of(eager.prepare(Job(Products(), False, (torch.rand(4, 4),), CPU, "float32")))
    assert [(one.name, one.macs) for one in graph.operators] == [("mm", 64)]
    assert graph.conversions == 2


def test_a_training_step_has_no_graph() -> None:
    """Its backward has MACs too, which are not those of the plan."""
    assert eager.prepare(job(train=True)).graph is None


def test_looking_changes_nothing() -> None:
    """Neither the outputs of a pass, nor the state of torch."""
    run: Any = load_runtime("fused").prepare(job())
    before = torch.backends.mha.get_fastpath_enabled()
    with torch.inference_mode():
        first = [one.clone() for one in run.run()]
        graph_of(run)
        assert all(torch.equal(one, other) for one, other in zip(run.run(), first, strict=True))
    assert torch.backends.mha.get_fastpath_enabled() == before
