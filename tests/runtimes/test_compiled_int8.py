"""The compiler in int8 and bfloat16: what it needs, what it computes, and what it says that it executed."""

import os
import platform
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import PackageNotFoundError
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mnfpn_cli.errors import MnfpnError
from mnfpn_cli.plan.cost import network_cost
from mnfpn_cli.plan.network import plan_network
from mnfpn_cli.quantization import pt2e
from mnfpn_cli.quantization.quantization import Quantization
from mnfpn_cli.runtimes import compiled
from mnfpn_cli.runtimes.runtime import ExecutedGraph, Job, Prepared, as_tensors
from mnfpn_cli.settings.input import Size
from tests.bench.others import Levels
from tests.runtimes.jobs import CPU, TINY, expected, job

SIZE, BATCH = Size(32, 48), 2
LAYERS = [
    "stem.conv",
    "stages.0.0.depthwise.conv",
    "stages.0.0.project.conv",
    "pyramid.lateral.p2",
    "pyramid.smooth.p2",
]
here = {dtype: compiled.unavailable_reason(CPU, dtype, False) for dtype in ("float32", "int8")}
compiles = pytest.mark.skipif(here["float32"] is not None, reason=str(here["float32"]))
quantizes = pytest.mark.skipif(here["int8"] is not None, reason=str(here["int8"]))


def int8_job(*keep_float: str) -> Job:
    """A job in int8 that is calibrated with its own inputs."""
    mine = job(dtype="int8")
    return replace(mine, quantization=Quantization([mine.inputs], frozenset(keep_float)))


def graph_of(prepared: Prepared) -> ExecutedGraph:
    """The graph of a run, which must have one."""
    assert prepared.graph is not None
    return prepared.graph()


def decibels(found: Tensor, exact: Tensor) -> float:
    """Signal to noise."""
    return float(10 * torch.log10(exact.square().sum() / (found.float() - exact).square().sum()))


def check_planned(graph: ExecutedGraph) -> None:
    """Every layer by its name, and every planned MAC."""
    assert sorted(one.name for one in graph.operators) == sorted(LAYERS)
    assert sum(one.macs for one in graph.operators) == BATCH * network_cost(plan_network(TINY), SIZE).total.macs


@quantizes
@pytest.mark.slow
@torch.inference_mode()
def test_int8_computes_every_layer_in_int8(capfd: pytest.CaptureFixture[str]) -> None:
    """Near eager float32, silently; other images that are written into its inputs give other outputs."""
    prepared = compiled.prepare(int8_job())
    (found,), (exact,) = prepared.outputs(prepared.run()), expected()
    assert decibels(found, exact) > 20
    graph = graph_of(prepared)
    check_planned(graph)
    assert graph.share_in("int8") == 1
    assert graph.conversions >= 1
    prepared.inputs[0].zero_()
    assert decibels(prepared.outputs(prepared.run())[0], exact) < 20
    assert capfd.readouterr() == ("", "")


@quantizes
@pytest.mark.slow
def test_layers_that_are_to_stay_in_float32_do() -> None:
    """They alone, whether an activation follows or not; the share is theirs to the last digit."""
    floats = ["stem.conv", "pyramid.smooth.p2"]
    graph = graph_of(compiled.prepare(int8_job(*floats)))
    check_planned(graph)
    assert [one.name for one in graph.operators if one.dtype == "float32"] == floats
    rest = sum(one.macs for one in graph.operators if one.name not in floats)
    assert graph.share_in("int8") == pytest.approx(rest / sum(one.macs for one in graph.operators), rel=1e-9)


@compiles
@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@torch.inference_mode()
def test_the_graph_of_floating_point_has_every_layer(dtype: str) -> None:
    """Each with its name, behind the compiler's folding and packing."""
    mine = job(dtype="bfloat16" if dtype == "bfloat16" else "float32")
    prepared = compiled.prepare(mine)
    graph = graph_of(prepared)
    check_planned(graph)
    assert graph.share_in(dtype) == 1
    assert graph.conversions == 0  # those of activations are fused into convolutions
    assert decibels(as_tensors(prepared.run())[0], expected()[0]) > 20


INSTALL = "pip install 'mnfpn[int8]'"
OTHERS = {other: f"needs torchao 0.18, and {other} is installed: {INSTALL}" for other in ("0.17", "0.19.0", "0.180.0")}
FOUND: dict[str, str | None] = {"": f"not installed: {INSTALL}", "0.18.0": None, "0.18.1+cpu": None, **OTHERS}


@pytest.mark.parametrize(("installed", "reason"), FOUND.items())
def test_int8_needs_one_release_of_torchao(installed: str, reason: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its quantisers move and change with each; it is not imported for the answer."""

    def version(_name: str) -> str:
        if not installed:
            raise PackageNotFoundError
        return installed

    monkeypatch.setattr(pt2e, "version", version)
    assert pt2e.torchao_missing() == reason


def test_int8_is_for_inference_on_x86(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each reason in words, before what could be installed: that would not help."""
    monkeypatch.setattr(compiled, "torchao_missing", lambda: "torchao")
    monkeypatch.setattr(platform, "machine", lambda: "AMD64")
    monkeypatch.setattr(compiled, "has_onednn", lambda: True)
    cuda = torch.device("cuda")
    assert compiled.unavailable_reason(CPU, "int8", True) == "inference only in int8"
    assert compiled.unavailable_reason(cuda, "int8", False) == "runs int8 on the CPU alone"
    assert compiled.unavailable_reason(CPU, "int8", False) == "torchao"
    monkeypatch.setattr(compiled, "has_onednn", lambda: False)
    assert compiled.unavailable_reason(CPU, "int8", False) == "this torch has no quantised layers of oneDNN"
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    assert compiled.unavailable_reason(CPU, "int8", False) == "runs int8 on x86 processors alone, and this one is arm64"


@quantizes
@pytest.mark.parametrize("saturates", [False, True])
def test_activations_have_seven_bits_where_products_saturate(saturates: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a processor without VNNI would lose what int8 keeps."""
    from mnfpn_cli.export.program import trace_pass

    monkeypatch.setattr(pt2e, "products_saturate", lambda: saturates)
    mine = int8_job()
    assert mine.quantization
    graph = pt2e.quantize_for_x86(trace_pass(mine.network, mine.inputs), mine.quantization).graph
    largest = {node.args[4] for node in graph.nodes if "quantize_per_tensor" in str(node.target)}
    assert largest == {127 if saturates else 255}


@quantizes
@pytest.mark.slow
def test_saturation_is_found_by_computing() -> None:
    """Instructions before VNNI saturate, which oneDNN takes on a newer processor too where a variable says so."""
    program = "from mnfpn_cli.quantization.pt2e import products_saturate; print(products_saturate())"
    environment = os.environ | {"ONEDNN_MAX_CPU_ISA": "AVX2"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"


class Shared(nn.Module):
    """One convolution for two levels, with a batch norm of its own for each."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.act = nn.Conv2d(3, 8, 3, padding=1), nn.ReLU()
        norms = nn.BatchNorm2d(8), nn.BatchNorm2d(8)
        nn.init.constant_(norms[1].weight, 3)
        self.norms = nn.ModuleList(norms)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Map images to levels."""
        levels = (x, x[:, :, ::2, ::2])
        return [self.act(norm(self.conv(one))) for one, norm in zip(levels, self.norms, strict=True)]


@quantizes
@pytest.mark.slow
@pytest.mark.parametrize("keep_float", [[], ["conv"]])
@torch.inference_mode()
def test_a_layer_that_levels_share_is_quantised_for_each(keep_float: list[str]) -> None:
    """Each call has weights with the batch norm behind it, and stays in float32 where the layer does."""
    network, images = Shared().eval(), (torch.rand(1, 3, 16, 32),)
    exact = network(*images)
    how = Quantization([images], frozenset(keep_float))
    prepared = compiled.prepare(Job(network, True, images, CPU, "int8", quantization=how))
    dtype = "float32" if keep_float else "int8"
    assert [(one.name, one.dtype) for one in graph_of(prepared).operators] == [("conv", dtype)] * 2
    assert all(decibels(one, other) > 20 for one, other in zip(prepared.run(), exact, strict=True))


class Deciding(Levels):
    """A network that decides by the values of its input."""

    def forward(self, x: Tensor) -> Any:
        """Map images to levels."""
        return super().forward(x if x.sum() > 0 else -x)


@quantizes
def test_a_network_that_cannot_be_traced_is_an_error_in_words() -> None:
    """The reason is torch's."""
    images = (torch.rand(1, 3, 16, 32),)
    mine = Job(Deciding().eval(), False, images, CPU, "int8", quantization=Quantization([images]))
    with pytest.raises(MnfpnError, match=r"^torchao could not quantise the network: "):
        compiled.prepare(mine)


def test_asking_for_int8_imports_nothing_slow() -> None:
    """The list of runtimes asks for every dtype."""
    program = """
import sys, torch
from mnfpn_cli.runtimes import compiled
compiled.unavailable_reason(torch.device("cpu"), "int8", False)
print(sorted({"torchao", "torch._dynamo", "torch._inductor"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
