"""ONNX Runtime: where it runs, and how it is set up."""

from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from mnfpn_cli.errors import MnfpnError
from mnfpn_cli.export import onnx as as_onnx
from mnfpn_cli.runtimes import onnxruntime
from mnfpn_cli.runtimes.runtime import Job
from tests.needs import needs_onnx
from tests.runtimes.jobs import CPU, job

CUDA = torch.device("cuda:1")


@pytest.mark.parametrize("missing", onnxruntime.PACKAGES)
def test_a_package_that_is_missing_is_installed_with_the_extra(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever of them it is."""
    monkeypatch.setattr(onnxruntime, "find_spec", lambda name: None if name == missing else "found")
    assert onnxruntime.unavailable_reason(CPU, "float32", False) == "not installed: pip install 'mnfpn[onnx]'"


@needs_onnx
def test_a_gpu_needs_another_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """The usual one has the CPU alone."""
    providers = ["CPUExecutionProvider"]
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: providers)
    assert (
        onnxruntime.unavailable_reason(CUDA, "float32", False) == "installed for CPUs only: pip install onnxruntime-gpu"
    )
    providers.insert(0, "CUDAExecutionProvider")
    assert onnxruntime.unavailable_reason(CUDA, "float32", False) is None


@needs_onnx
def test_other_devices_and_dtypes_are_refused() -> None:
    """The graph is in float32."""
    assert onnxruntime.unavailable_reason(torch.device("mps"), "float32", False) == "runs on the CPU and on CUDA alone"
    assert onnxruntime.unavailable_reason(CPU, "bfloat16", False) == "float32 only"
    assert onnxruntime.unavailable_reason(CUDA, "float16", False) == "float32 only"


@needs_onnx
def test_threads_are_torchs_and_stop_after_a_pass() -> None:
    """Else they would take the cores from what is timed next."""
    torch.set_num_threads(2)
    try:
        options = onnxruntime.prepare(job()).run.session.get_session_options()  # type: ignore[attr-defined]
    finally:
        torch.set_num_threads(1)
    assert options.intra_op_num_threads == 2
    assert options.get_session_config_entry("session.force_spinning_stop") == "1"


@needs_onnx
def test_a_provider_that_does_not_start_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime would fall back to the CPU, and the times would be another device's."""
    asked = list[object]()

    def session(*_: object, providers: object, enable_fallback: int) -> object:
        asked.extend((providers, enable_fallback))
        return SimpleNamespace(get_providers=lambda: ["CPUExecutionProvider"])

    monkeypatch.setattr("onnxruntime.InferenceSession", session)
    with pytest.raises(MnfpnError, match=r"^ONNX Runtime's CUDAExecutionProvider does not start on this machine$"):
        onnxruntime._session(b"", CUDA)
    assert asked == [[("CUDAExecutionProvider", {"device_id": 1})], 0]


@needs_onnx
@pytest.mark.parametrize("choose", [lambda x: x[x > 0.5], lambda x: 2 * x.flatten()[:0]], ids=["mask", "empty"])
def test_outputs_without_a_fixed_shape_are_an_error(choose: Callable[[Tensor], Tensor]) -> None:
    """As those of a detector, whose number depends on the image."""

    class Chooses(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return choose(x)

    made = Job(Chooses(), False, (torch.rand(1, 3, 4, 4),), torch.device("cpu"), "float32")
    with pytest.raises(MnfpnError, match=r"must be fixed and not empty, got"):
        onnxruntime.prepare(made)


@needs_onnx
def test_the_error_of_a_network_that_cannot_be_converted_names_no_option(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody said `format`."""
    monkeypatch.setattr(as_onnx, "MAX_BYTES", 0)
    with pytest.raises(MnfpnError, match=r"^must hold less than 2 GiB of weights"):
        onnxruntime.prepare(job())
