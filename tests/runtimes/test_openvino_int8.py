"""OpenVINO in int8, as nncf quantises: how near to float32, what stays in float32, and that nothing is sent."""

import os
import platform
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from mnfpn_cli.export import openvino_model
from mnfpn_cli.plan.cost import network_cost
from mnfpn_cli.plan.network import plan_network
from mnfpn_cli.quantization.quantization import Quantization
from mnfpn_cli.runtimes import openvino
from mnfpn_cli.runtimes.runtime import ExecutedGraph, Job, Prepared
from mnfpn_cli.settings.input import Size
from mnfpn_cli.settings.network import NetworkSettings
from tests.export.networks import SMALL, shortened
from tests.needs import needs
from tests.runtimes.jobs import CPU, check_interrupted, expected, job

needs_nncf = needs("openvino", "nncf")
SHAPE = (2, 3, 32, 48)


def quantised(settings: NetworkSettings = SMALL, keep_float: frozenset[str] = frozenset()) -> Job:
    """A job in int8, calibrated on the images that it runs and on others."""
    mine = job(settings, SHAPE)
    others = torch.rand(SHAPE, generator=torch.Generator().manual_seed(1))
    return replace(mine, dtype="int8", quantization=Quantization([mine.inputs, (others,)], keep_float))


def graph_of(prepared: Prepared) -> ExecutedGraph:
    """What a prepared pass executes."""
    assert prepared.graph is not None
    return prepared.graph()


def decibels(expected: Tensor, actual: Tensor) -> float:
    """The power of an output over that of its difference from another."""
    return float(10 * (expected.square().sum() / (actual - expected).square().sum()).log10())


@pytest.fixture(scope="module")
def prepared() -> Prepared:
    """A network in int8 that several tests run; none changes it."""
    return openvino.prepare(quantised())


def test_int8_needs_another_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which the extra for it brings; float32 does without."""
    monkeypatch.setattr(openvino, "find_spec", lambda name: None if name == "nncf" else "found")
    assert openvino.unavailable_reason(CPU, "int8", False) == "int8 needs nncf: pip install 'mnfpn[openvino-int8]'"
    assert openvino.unavailable_reason(CPU, "float32", False) is None


@needs_nncf
def test_int8_runs_wherever_openvino_does() -> None:
    """Every CPU that it supports can compute in it."""
    assert openvino.unavailable_reason(CPU, "int8", False) is None


@needs_nncf
def test_outputs_are_near_those_of_float32(prepared: Prepared) -> None:
    """But not equal: 31 dB, or 29 on a CPU whose sums saturate, where weights have a bit less."""
    for found, float32 in zip(prepared.run(), expected(SMALL, SHAPE), strict=True):
        assert (found.dtype, found.shape) == (float32.dtype, float32.shape)
        assert 25 < decibels(float32, found) < 60


@needs_nncf
def test_weights_have_a_bit_less_where_sums_saturate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the first layer always, and never those of depthwise layers, which add nine products."""
    layers = [module for module in job(SMALL).network.modules() if isinstance(module, nn.Conv2d)]
    narrow = list[int]()
    for saturates in (False, True):
        monkeypatch.setattr(openvino_model, "sums_saturate", lambda saturates=saturates: saturates)
        nodes = [node for node in openvino._model(quantised()).get_ordered_ops() if node.get_type_name() == "Constant"]
        weights = [node.data for node in nodes if node.get_element_type().get_type_name() == "i8"]
        assert len(weights) == len(layers)
        narrow.append(sum(abs(one.astype(int)).max() <= 64 for one in weights))
    assert narrow == [1, sum(one.groups == 1 for one in layers)]


@needs_nncf
@pytest.mark.slow
@pytest.mark.parametrize(("limit", "saturates"), [("AVX2", True), ("AVX512_CORE", True), ("ALL", None)])
def test_sums_saturate_where_instructions_are_hidden(limit: str, saturates: bool | None) -> None:
    """One convolution shows it; with all of its instructions it depends on the processor."""
    if platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip("only x86 has such instructions")
    code = "from mnfpn_cli.export.openvino_model import sums_saturate; print(sums_saturate())"
    environment = os.environ | {"ONEDNN_MAX_CPU_ISA": limit}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout in ([f"{saturates}\n"] if saturates is not None else ["True\n", "False\n"])


@needs_nncf
def test_the_same_calibration_gives_the_same_network(prepared: Prepared) -> None:
    """To the last bit of its outputs."""
    for first, second in zip(prepared.run(), openvino.prepare(quantised()).run(), strict=True):
        assert torch.equal(first, second)


@needs_nncf
def test_all_macs_are_in_int8(prepared: Prepared) -> None:
    """Those of the plan; what quantises the images is a conversion."""
    graph = graph_of(prepared)
    macs = network_cost(plan_network(SMALL), Size(*SHAPE[2:])).total.macs
    assert sum(one.macs for one in graph.operators) == SHAPE[0] * macs
    assert graph.share_in("int8") == 1
    assert graph.conversions >= 1


@needs_nncf
def test_layers_that_stay_in_float32_are_executed_in_it(prepared: Prepared) -> None:
    """The share of int8 says so by their MACs, and there are conversions around them."""
    names = {name for name, module in job(SMALL).network.named_modules() if isinstance(module, nn.Conv2d)}
    floating = frozenset(name for name in names if name.startswith("stages.1.0."))
    graph = graph_of(openvino.prepare(quantised(keep_float=floating)))
    assert {one.name: one.dtype for one in graph.operators} == {
        name: "float32" if name in floating else "int8" for name in names
    }
    macs = sum(one.macs for one in graph.operators if one.name in floating)
    assert graph.share_in("float32") == macs / sum(one.macs for one in graph.operators)
    assert graph.conversions > graph_of(prepared).conversions


class Repeats(nn.Module):
    """Runs a convolution and a dense layer several times."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.again = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.dense = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        """Turn images (n, 3, h, w) into values (n, 8)."""
        y = self.again(self.again(self.stem(x)).relu()).relu()
        values: Tensor = self.dense(self.dense(y.mean((2, 3))).relu())
        return values


@needs_nncf
@pytest.mark.parametrize("path", ["again", "dense"])
def test_a_layer_that_runs_twice_stays_in_float32_twice(path: str) -> None:
    """Its calls are nodes with names of their own, but one layer."""
    torch.manual_seed(0)
    images = torch.rand(1, 3, 8, 8)
    made = Job(Repeats().eval(), True, (images,), CPU, "int8", False, Quantization([(images,)], frozenset({path})))
    dtypes = [(one.name, one.dtype) for one in graph_of(openvino.prepare(made)).operators]
    names = ["stem", "again", "again", "dense", "dense"]
    assert dtypes == [(name, "float32" if name == path else "int8") for name in names]


@needs_nncf
def test_the_file_has_weights_of_one_byte() -> None:
    """So it is about a quarter as large; the graph has the rest."""
    settings = shortened("mobilenetv2-classifier")
    whole, quarter = openvino.prepare(job(settings)).file_bytes, openvino.prepare(quantised(settings)).file_bytes
    assert whole is not None
    assert quarter is not None
    assert 0.25 * whole < quarter < 0.35 * whole


@needs_nncf
def test_nothing_is_written_to_the_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    """By nncf neither: it logs, and draws bars of progress."""
    openvino.prepare(quantised(keep_float=frozenset({"stem.conv"})))
    assert capfd.readouterr() == ("", "")


ALONE = """
import logging, socket, sys

def refuse(*_, **__):
    raise AssertionError("nothing may be sent")

loggers = logging.getLoggerClass()
socket.socket.connect = socket.getaddrinfo = refuse
from tests.runtimes.test_openvino_int8 import decibels, expected, graph_of, openvino, quantised, SHAPE, SMALL
prepared = openvino.prepare(quantised())
assert sys.modules.get("openvino_telemetry") is None
assert type(sys.modules["nncf.telemetry.wrapper"].telemetry).__name__ == "MagicMock"
assert "nncf" in sys.modules and logging.getLoggerClass() is loggers
assert all(decibels(one, two) > 25 for one, two in zip(expected(SMALL, SHAPE), prepared.run(), strict=True))
print(graph_of(prepared).share_in("int8"))
"""


@needs_nncf
@pytest.mark.slow
@pytest.mark.parametrize("limit", ["ALL", "AVX2"])
def test_a_process_of_its_own_sends_nothing_and_needs_no_instructions_for_int8(limit: str) -> None:
    """It imports nncf without its telemetry, which pytest's own process does anyway.

    Without VNNI sums would saturate, and 9 dB were lost: weights have 7 bits there.
    """
    environment = os.environ | {"ONEDNN_MAX_CPU_ISA": limit}
    done = subprocess.run(
        [sys.executable, "-c", ALONE], capture_output=True, text=True, check=False, timeout=120, env=environment
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "1.0\n", "")


CALIBRATED = """
from tests.runtimes.test_openvino_int8 import openvino, quantised

openvino.prepare(quantised())
"""


@needs_nncf
@pytest.mark.slow
def test_ctrl_c_after_a_calibration_is_no_crash() -> None:
    """Nncf makes cores of its own, each with a stack for signals."""
    check_interrupted(CALIBRATED)
