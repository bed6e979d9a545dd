"""OpenVINO: where it runs, how it is set up, and that its telemetry is off."""

import subprocess
import sys

import pytest
import torch

from mnfpn_cli.runtimes import openvino
from mnfpn_cli.settings.input import DType
from tests.needs import needs
from tests.runtimes.jobs import CPU, job

needs_openvino = needs("openvino")


def test_it_is_installed_with_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it is not."""
    monkeypatch.setattr(openvino, "find_spec", lambda _name: None)
    assert openvino.unavailable_reason(CPU, "float32", False) == "not installed: pip install 'mnfpn[openvino]'"


@needs_openvino
def test_it_runs_on_the_cpu_alone() -> None:
    """Intel's GPUs are not supported here."""
    assert openvino.unavailable_reason(torch.device("cuda:0"), "float32", False) == "runs on the CPU alone"


@needs_openvino
@pytest.mark.parametrize(("dtype", "capability"), [("bfloat16", "BF16"), ("float16", "FP16")])
def test_a_dtype_needs_the_cpus_instructions(dtype: DType, capability: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without them it computes in float32, and the figures would be another dtype's."""
    found = ["FP32", "INT8"]
    monkeypatch.setattr(openvino, "_capabilities", lambda: found)
    assert openvino.unavailable_reason(CPU, dtype, False) == f"this CPU has no instructions for {dtype}"
    found.append(capability)
    assert openvino.unavailable_reason(CPU, dtype, False) is None


@needs_openvino
def test_capabilities_are_the_cpus() -> None:
    """Every CPU has float32."""
    assert "FP32" in openvino._capabilities()


@needs_openvino
def test_it_is_set_up_for_one_pass_at_a_time_on_torchs_threads() -> None:
    """In float32: where a CPU has bfloat16, it would take that by itself."""
    assert torch.get_num_threads() == 1  # by tests/conftest.py; it would take all cores by itself
    model = openvino._compiled(job())
    names = ("PERFORMANCE_HINT", "NUM_STREAMS", "INFERENCE_NUM_THREADS")
    assert [model.get_property(name) for name in names] == ["LATENCY", 1, 1]
    assert model.get_property("INFERENCE_PRECISION_HINT").to_string() == "f32"
    assert list(model.inputs[0].partial_shape.to_shape()) == [2, 3, 32, 48]


@needs_openvino
def test_the_telemetry_of_openvino_is_not_imported() -> None:
    """No test has imported the package that reports to Google Analytics; other code still can."""
    openvino._compiled(job())
    assert not [name for name in sys.modules if name.partition(".")[0] == "openvino_telemetry"]


def test_the_reason_of_a_failure_is_the_line_with_the_cause() -> None:
    """Not a position in OpenVINO's source."""
    error = RuntimeError("Exception from src/core.cpp:7:\nCheck 'a' failed at src/b.cpp:8:\nno such kernel\nmore\n")
    assert openvino._reason(error) == "no such kernel"
    assert openvino._reason(RuntimeError("plain")) == "plain"
    assert openvino._reason(RuntimeError("Exception from src/core.cpp:7:")) == "Exception from src/core.cpp:7:"


AFTER_TWO = """
import faulthandler, gc, signal
from mnfpn_cli.runtimes.runtime import load_runtime
from tests.runtimes.jobs import job

faulthandler.enable()
first, second = (load_runtime("openvino").prepare(job()) for _ in range(2))
del first
gc.collect()
del second
gc.collect()
signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    print("interrupted")
"""


@needs_openvino
@pytest.mark.slow
def test_ctrl_c_after_two_networks_is_no_crash() -> None:
    """Whichever of them goes first."""
    done = subprocess.run([sys.executable, "-c", AFTER_TWO], capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stdout) == (0, "interrupted\n"), done.stderr
