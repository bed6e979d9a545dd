"""OpenVINO, Intel's runtime for CPUs, on the graph that `torch.export` traces."""

import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from mnfpn_cli.errors import MnfpnError
from mnfpn_cli.measure.memory import ran_out_of_memory
from mnfpn_cli.runtimes.runtime import NO_INT8, Job, Prepared
from mnfpn_cli.settings.input import DType
from mnfpn_cli.text import first_line, strip_colours

if TYPE_CHECKING:
    from openvino import CompiledModel, InferRequest, Type

PRECISIONS: dict[DType, str] = {"float32": "f32", "bfloat16": "bf16", "float16": "f16", "int8": "f32"}
CAPABILITIES: dict[DType, str] = {"float32": "FP32", "bfloat16": "BF16", "float16": "FP16", "int8": "INT8"}
"""OpenVINO's names of dtypes: as the precision of a model, and as a capability of a CPU."""

ANY_NETWORK = True


def unavailable_reason(device: torch.device, dtype: DType, train: bool) -> str | None:
    """Return why it cannot run here: it is for inference on CPUs, in dtypes that the CPU has instructions for."""
    if train:
        return "inference only"
    if find_spec("openvino") is None:
        return "not installed: pip install 'mnfpn[openvino]'"
    if device.type != "cpu":
        return "runs on the CPU alone"
    if dtype == "int8":
        return NO_INT8
    if dtype == "float32" or CAPABILITIES[dtype] in _capabilities():
        return None
    return f"this CPU has no instructions for {dtype}"


def prepare(job: Job) -> Prepared:
    """Convert and compile the network. Every pass reads the same inputs and overwrites the same outputs.

    Raises:
        MnfpnError: where OpenVINO cannot convert or run the network.
    """
    try:
        inputs = tuple(tensor.contiguous() for tensor in job.inputs)
        run = _request(_compiled(job), inputs)
        run()
    except MnfpnError:
        raise
    except Exception as error:  # its errors have no common class
        if ran_out_of_memory(error):
            raise
        raise MnfpnError(f"OpenVINO cannot run the network: {_reason(error)}") from error
    return Prepared(run, inputs)


@dataclass(frozen=True)
class RequestedPass:
    """A pass on fixed inputs and outputs. The request has only their addresses: this object keeps the tensors alive."""

    request: "InferRequest"
    inputs: Sequence[Tensor]
    outputs: Sequence[Tensor]

    def __call__(self) -> Sequence[Tensor]:
        """Run one pass; return the same output tensors every time, with new values."""
        self.request.infer(share_outputs=True)
        return self.outputs


def _request(compiled: "CompiledModel", inputs: Sequence[Tensor]) -> RequestedPass:
    openvino = _openvino()
    outputs = [torch.empty(tuple(y.shape), dtype=_torch_dtype(y.element_type)) for y in compiled.outputs]
    request = compiled.create_infer_request()
    for index, tensor in enumerate(inputs):
        request.set_input_tensor(index, openvino.Tensor(tensor.numpy(), shared_memory=True))
    for index, tensor in enumerate(outputs):
        request.set_output_tensor(index, openvino.Tensor(tensor.numpy(), shared_memory=True))
    return RequestedPass(request, inputs, outputs)


def _torch_dtype(type: "Type") -> torch.dtype:
    return torch.from_numpy(np.empty(0, type.to_dtype())).dtype


def _compiled(job: Job) -> "CompiledModel":
    from mnfpn_cli.export.program import trace_pass  # takes two seconds, which only a run should cost

    openvino = _openvino()
    program = trace_pass(job.network, job.inputs)
    shapes = [tuple(tensor.shape) for tensor in job.inputs]
    with _deprecations_ignored():
        model = openvino.convert_model(program, input=shapes)  # without shapes, batch, height and width stay dynamic
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "INFERENCE_PRECISION_HINT": PRECISIONS[job.dtype],
    }
    return _core().compile_model(model, "CPU", settings)


@contextmanager
def _deprecations_ignored() -> Iterator[None]:
    with warnings.catch_warnings():
        # torch itself copies an object of a class that it has deprecated.
        warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)` is deprecated", FutureWarning)
        yield


def _capabilities() -> list[str]:
    capabilities: list[str] = _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return capabilities


@cache
def _core() -> Any:
    """Return the only core of this process.

    Each core installs an alternate signal stack, and restores the previous one when it is destroyed. Two cores that are
    destroyed in the order of creation leave a stack in freed memory, and the next Ctrl-C is a segmentation fault.
    """
    return _openvino().Core()


def _openvino() -> Any:
    """Import openvino without openvino_telemetry, which reports each import and conversion to Google Analytics."""
    imported = "openvino_telemetry" in sys.modules
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # Python's way to say: not installed
    try:
        import openvino
    finally:
        if not imported:
            del sys.modules["openvino_telemetry"]
    return openvino


def _reason(error: Exception) -> str:
    """Return the first line of OpenVINO's message that is not a position in its source."""
    lines = [line.strip() for line in strip_colours(str(error)).replace("`", "'").splitlines() if line.strip()]
    return next((line for line in lines if not line.startswith(("Exception from", "Check '"))), first_line(error))
