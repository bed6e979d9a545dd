"""OpenVINO, Intel's runtime for CPUs, on the network's graph as `torch.export` sees it."""

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
from mnfpn_cli.runtimes.runtime import Job, Prepared
from mnfpn_cli.settings.input import DType
from mnfpn_cli.text import first_line, strip_colours

if TYPE_CHECKING:
    from openvino import CompiledModel, InferRequest, Type

PRECISIONS: dict[DType, str] = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}
CAPABILITIES: dict[DType, str] = {"float32": "FP32", "bfloat16": "BF16", "float16": "FP16"}


ANY_NETWORK = True


def impossible(device: torch.device, dtype: DType, train: bool) -> str | None:
    """It runs forward, on CPUs, in the dtypes for which the CPU has instructions."""
    if train:
        return "inference only"
    if find_spec("openvino") is None:
        return "not installed: pip install 'mnfpn[openvino]'"
    if device.type != "cpu":
        return "runs on the CPU alone"
    if dtype == "float32" or CAPABILITIES[dtype] in _capabilities():
        return None
    return f"this CPU has no instructions for {dtype}"


def prepare(job: Job) -> Prepared:
    """Convert the network and compile it; inputs stay where they are, and so do outputs, which each pass writes anew.

    Raises:
        MnfpnError: where OpenVINO cannot convert or run the network.
    """
    try:
        run = _request(_compiled(job), [one.contiguous() for one in job.inputs])
        run()
    except MnfpnError:
        raise
    except Exception as error:  # whatever it raises is its own
        if ran_out_of_memory(error):
            raise
        raise MnfpnError(f"OpenVINO cannot run the network: {_reason(error)}") from error
    return Prepared(run)


@dataclass(frozen=True)
class RequestedPass:
    """A pass from inputs to outputs, both where they are. The request knows their addresses alone: this keeps them."""

    request: "InferRequest"
    inputs: Sequence[Tensor]
    outputs: Sequence[Tensor]

    def __call__(self) -> Sequence[Tensor]:
        """Run once."""
        self.request.infer(share_outputs=True)
        return self.outputs


def _request(compiled: "CompiledModel", inputs: Sequence[Tensor]) -> RequestedPass:
    openvino = _openvino()
    outputs = [torch.empty(tuple(one.shape), dtype=_torch_dtype(one.element_type)) for one in compiled.outputs]
    request = compiled.create_infer_request()
    for index, one in enumerate(inputs):
        request.set_input_tensor(index, openvino.Tensor(one.numpy(), shared_memory=True))
    for index, one in enumerate(outputs):
        request.set_output_tensor(index, openvino.Tensor(one.numpy(), shared_memory=True))
    return RequestedPass(request, inputs, outputs)


def _torch_dtype(type: "Type") -> torch.dtype:
    return torch.from_numpy(np.empty(0, type.to_dtype())).dtype


def _compiled(job: Job) -> "CompiledModel":
    from mnfpn_cli.export.program import trace_pass  # takes two seconds, which only a run should pay

    openvino = _openvino()
    program = trace_pass(job.network, job.inputs)
    shapes = [tuple(one.shape) for one in job.inputs]
    with _deprecations_ignored():
        model = openvino.convert_model(program, input=shapes)  # without them batch, height and width are left free
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
        # torch copies its own description of a tuple, whose class warns of being used.
        warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)` is deprecated", FutureWarning)
        yield


def _capabilities() -> list[str]:
    found: list[str] = _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return found


@cache
def _core() -> Any:
    """The one core of this process.

    Each core gives the process another stack for signals, and takes it back when it goes. Two that go in the order in
    which they came leave one behind that is no memory any more, and the next Ctrl-C ends in a segmentation fault.
    """
    return _openvino().Core()


def _openvino() -> Any:
    """The package, without the one that tells Google Analytics of each import and conversion, unless people opt out."""
    there = "openvino_telemetry" in sys.modules
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # Python's way to say: not installed
    try:
        import openvino
    finally:
        if not there:
            del sys.modules["openvino_telemetry"]
    return openvino


def _reason(error: Exception) -> str:
    """OpenVINO's messages begin with places in its source, a line each."""
    lines = [line.strip() for line in strip_colours(str(error)).replace("`", "'").splitlines() if line.strip()]
    return next((line for line in lines if not line.startswith(("Exception from", "Check '"))), first_line(error))
