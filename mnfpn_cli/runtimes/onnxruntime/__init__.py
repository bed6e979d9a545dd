"""ONNX Runtime, on the network as `mnfpn export` writes it, for one size; external networks are written likewise."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mnfpn_cli.devices.choose import device_of
from mnfpn_cli.errors import MnfpnError, UnavailableError
from mnfpn_cli.export.formats import import_onnxruntime
from mnfpn_cli.measure.layer_times import LayerCall, LayerTimes
from mnfpn_cli.measure.libraries import failure_in_words
from mnfpn_cli.measure.operator_times import OperatorTime, Profiler, time_operators
from mnfpn_cli.plan.roofline import LayerWork
from mnfpn_cli.runtimes.onnxruntime.layers import read_profile
from mnfpn_cli.runtimes.runtime import ExecutedGraph, Job, Prepared, ReportShare
from mnfpn_cli.settings.input import DType

if TYPE_CHECKING:
    from onnx import ModelProto
    from onnxruntime import InferenceSession, IOBinding, SessionOptions

    from mnfpn_cli.export.onnx_layers import OnnxLayer

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
"""Packages that write the model and run it."""

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
"""ONNX Runtime's execution providers, by type of device."""

TYPES = {
    "tensor(float)": torch.float32,
    "tensor(double)": torch.float64,
    "tensor(int64)": torch.int64,
    "tensor(int32)": torch.int32,
    "tensor(uint8)": torch.uint8,
    "tensor(bool)": torch.bool,
}
"""torch's dtypes, by ONNX Runtime's names."""

NOT_ON_CPU: dict[DType, str] = {
    "bfloat16": "has no convolutions in bfloat16 on the CPU",
    "float16": "computes float16 in float32 on the CPU",
}
"""Dtypes without kernels for CPUs: it refuses a model, or converts its weights to float32 when it loads it (1.31)."""

ANY_NETWORK = True


def unavailable_reason(device: torch.device, dtype: DType, train: bool) -> str | None:
    """Return why it cannot run here: for inference, in float32 on the CPU or CUDA, in int8 on the CPU."""
    if train:
        return "inference only"
    if any(find_spec(name) is None for name in PACKAGES):
        return "not installed: pip install 'mnfpn[onnx]'"
    if device.type not in PROVIDERS:
        return "runs on the CPU and on CUDA alone"
    if device.type == "cuda" and dtype != "float32":
        return "float32 only on CUDA; int8 on the CPU"
    if dtype in NOT_ON_CPU:
        return NOT_ON_CPU[dtype]
    return _missing_for_cuda() if device.type == "cuda" else None


def _missing_for_cuda() -> str | None:
    onnxruntime = import_onnxruntime()
    supported = PROVIDERS["cuda"] in onnxruntime.get_available_providers()
    return None if supported else "installed for CPUs only: pip install onnxruntime-gpu"


def prepare(job: Job) -> Prepared:
    """Convert the network to ONNX, quantise it where the job says so, and load it.

    Inputs and outputs are torch tensors, which a pass does not copy.

    Raises:
        MnfpnError: where the network cannot be converted, or ONNX Runtime cannot run it.
    """
    inputs = tuple(tensor.to(job.device).contiguous() for tensor in job.inputs)
    with failure_in_words("ONNX Runtime cannot run the network"):
        model, layers, _ = _onnx(job)
        content = model.SerializeToString()
        run = _bound(_session(content, job.device), inputs)
        run()

    def graph() -> ExecutedGraph:
        return _executed(content, job.device, layers)

    cuda = job.device.type == "cuda"
    return Prepared(run, inputs, outside_torch=cuda, graph=graph, file_bytes=len(content))


def time_layers(job: Job, works: Sequence[LayerWork], passes: int, progress: ReportShare) -> LayerTimes:
    """Time each layer by ONNX Runtime's own profile, in a second session that takes it.

    Raises:
        UnavailableError: on CUDA, where its profile has the time to queue an operator.
        MnfpnError: as `prepare`.
    """
    if job.device.type == "cuda":
        raise UnavailableError("its profile has the time to queue an operator, not that of the GPU")
    inputs = tuple(tensor.contiguous() for tensor in job.inputs)
    with failure_in_words("ONNX Runtime cannot run the network"), tempfile.TemporaryDirectory() as folder:
        model, layers, sources = _onnx(job)
        content, options, optimized = model.SerializeToString(), _options(), Path(folder, "optimized.onnx")
        options.optimized_model_filepath = str(optimized)
        options.enable_profiling, options.profile_file_prefix = True, str(Path(folder, "profile"))
        session = _started(content, job.device, options)
        plain, profiled = _bound(_session(content, job.device), inputs), _bound(session, inputs)

        def read() -> Sequence[Sequence[OperatorTime]]:
            return read_profile(Path(session.end_profiling()), _sources_in(optimized, content, layers, sources))

        profiler = Profiler(plain, profiled, read)
        return time_operators(profiler, works, device_of(job.device).timer(), passes, progress)


def _sources_in(
    optimized: Path, content: bytes, layers: "Sequence[OnnxLayer]", sources: Mapping[str, LayerCall]
) -> dict[str, tuple[LayerCall, ...]]:
    """Return the modules that each node of an optimised graph executes, by the names of the nodes."""
    import onnx

    from mnfpn_cli.export.onnx_layers import operator_sources

    made = onnx.load(optimized)
    found = operator_sources(made, onnx.load_from_string(content), [layer.node for layer in layers], sources)
    return {node.name: modules for node, modules in zip(made.graph.node, found, strict=True)}


@dataclass(frozen=True)
class BoundPass:
    """A pass on fixed inputs and outputs. The binding has only their addresses: this object keeps the tensors alive."""

    session: "InferenceSession"
    binding: "IOBinding"
    inputs: Sequence[Tensor]
    outputs: Sequence[Tensor]

    def __call__(self) -> Sequence[Tensor]:
        """Run one pass; return the same output tensors every time, with new values."""
        self.session.run_with_iobinding(self.binding)
        return self.outputs


def _onnx(job: Job) -> "tuple[ModelProto, tuple[OnnxLayer, ...], dict[str, LayerCall]]":
    """Return the model of a job; its layers, and the modules of all its nodes, as they are before it is quantised."""
    from mnfpn_cli.export import onnx as as_onnx  # takes two seconds, which only a run should cost
    from mnfpn_cli.export.onnx_dtypes import to_int8
    from mnfpn_cli.export.onnx_layers import layers_of

    model, paths, sources = as_onnx.sourced_pass_model(job.network, job.inputs)
    layers = layers_of(model, paths)
    return to_int8(model, paths, job.quantization) if job.quantization else model, layers, sources


def _executed(content: bytes, device: torch.device, layers: "tuple[OnnxLayer, ...]") -> ExecutedGraph:
    import onnx

    from mnfpn_cli.runtimes.onnxruntime.executed import executed_graph

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "optimized.onnx")
        options = _options()
        options.optimized_model_filepath = str(path)
        _started(content, device, options)
        return executed_graph(onnx.load(path), onnx.load_from_string(content), layers)


def _session(content: bytes, device: torch.device) -> "InferenceSession":
    return _started(content, device, _options())


def _options() -> "SessionOptions":
    options = import_onnxruntime().SessionOptions()
    options.log_severity_level = 3  # errors only
    options.intra_op_num_threads = torch.get_num_threads()
    # Otherwise its threads spin after a pass, and take cores from the runtime that is timed next: eager PyTorch took
    # twice as long.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return options


def _started(content: bytes, device: torch.device, options: "SessionOptions") -> "InferenceSession":
    provider = PROVIDERS[device.type]
    settings: dict[str, Any] = {"device_id": device.index or 0} if device.type == "cuda" else {}
    # The fallback to the CPU would print to standard output, which is for results.
    session = import_onnxruntime().InferenceSession(
        content, options, providers=[(provider, settings)], enable_fallback=0
    )
    if session.get_providers()[0] != provider:  # it falls back to the CPU, and reports it only in its log
        raise MnfpnError(f"ONNX Runtime's {provider} does not start on this machine")
    return session


def _bound(session: "InferenceSession", inputs: Sequence[Tensor]) -> BoundPass:
    device = inputs[0].device
    for output in session.get_outputs():
        if not all(isinstance(side, int) and side for side in output.shape):
            shape = "×".join(map(str, output.shape))
            raise MnfpnError(f"the shape of output {output.name} must be fixed and not empty, got {shape}")
    outputs = [torch.empty(y.shape, dtype=TYPES[y.type], device=device) for y in session.get_outputs()]
    binding = session.io_binding()
    for x, tensor in zip(session.get_inputs(), inputs, strict=True):
        binding.bind_input(x.name, *_memory(tensor))
    for y, tensor in zip(session.get_outputs(), outputs, strict=True):
        binding.bind_output(y.name, *_memory(tensor))
    device_of(device).synchronize()  # ONNX Runtime has its own stream
    return BoundPass(session, binding, inputs, outputs)


def _memory(tensor: Tensor) -> tuple[str, int, str, tuple[int, ...], int]:
    """Return a tensor's device, index, element type, shape and address."""
    dtype = str(tensor.dtype).removeprefix("torch.")
    return tensor.device.type, tensor.device.index or 0, dtype, tuple(tensor.shape), tensor.data_ptr()
