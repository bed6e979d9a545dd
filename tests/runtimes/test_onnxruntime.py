"""ONNX Runtime: where it runs, and how it is set up."""

import platform
from collections.abc import Callable
from pathlib import Path
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
def test_other_devices_and_dtypes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each with its own reason: int8 is for the CPU, and in half precision its kernels compute in float32 there."""
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CUDAExecutionProvider"])
    reason = onnxruntime.unavailable_reason
    assert reason(torch.device("mps"), "float32", False) == "runs on the CPU and on CUDA alone"
    assert [reason(CPU, dtype, False) for dtype in ("float32", "int8")] == [None, None]
    assert reason(CPU, "bfloat16", False) == "has no convolutions in bfloat16 on the CPU"
    assert reason(CPU, "float16", False) == "computes float16 in float32 on the CPU"
    assert reason(CUDA, "float32", False) is None
    for dtype in ("int8", "float16", "bfloat16"):
        assert reason(CUDA, dtype, False) == "float32 only on CUDA; int8 on the CPU"
    assert reason(CPU, "int8", True) == "inference only"


@needs_onnx
@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="the kernels of other processors differ")
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_is_not_computed_in_on_the_cpu(dtype: str, tmp_path: Path) -> None:
    """Or it would be worth to run: a model is refused, or its weights have become float32 in the session's graph."""
    import onnx
    from onnx.helper import make_graph, make_model, make_node, make_opsetid, make_tensor, make_tensor_value_info

    from mnfpn_cli.runtimes.onnxruntime.executed import executed_graph

    half = getattr(onnx.TensorProto, dtype.upper())
    nodes = [
        make_node("Cast", ["x"], ["half"], to=half),
        make_node("Conv", ["half", "w"], ["made"], "conv"),
        make_node("Cast", ["made"], ["y"], to=onnx.TensorProto.FLOAT),
    ]
    x, y = (make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 4, 8, 8]) for name in "xy")
    graph = make_graph(nodes, "graph", [x], [y], [make_tensor("w", half, [4, 4, 1, 1], [0.5] * 16)])
    model = make_model(graph, opset_imports=[make_opsetid("", 22)], ir_version=10)
    options = onnxruntime._options()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    if dtype == "bfloat16":
        with pytest.raises(Exception, match="NOT_IMPLEMENTED"):
            onnxruntime._started(model.SerializeToString(), CPU, options)
        return
    onnxruntime._started(model.SerializeToString(), CPU, options)
    executed = executed_graph(onnx.load(tmp_path / "optimized.onnx"), model, [])
    assert [one.dtype for one in executed.operators] == ["float32"]


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
