"""OpenVINO, Intel's runtime for CPUs, on the graph that `torch.export` traces; in int8 as nncf quantises it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from mnfpn_cli.devices.choose import device_of
from mnfpn_cli.devices.instructions import this_processor
from mnfpn_cli.export.openvino_model import (
    convert_program,
    import_openvino,
    mac_nodes,
    node_macs,
    node_path,
    openvino_core,
    openvino_modules,
    openvino_reason,
    quantize_model,
)
from mnfpn_cli.measure.layer_times import LayerCall, LayerTimes
from mnfpn_cli.measure.libraries import failure_in_words
from mnfpn_cli.measure.operator_times import OperatorTime, Profiler, time_operators
from mnfpn_cli.plan.roofline import LayerWork
from mnfpn_cli.runtimes.runtime import ExecutedGraph, Job, Operator, Prepared, ReportShare
from mnfpn_cli.settings.input import DType

if TYPE_CHECKING:
    from openvino import CompiledModel, InferRequest, Model, Node, Type

# What int8 leaves in floating point computes in float32, as layers that are to stay there must. With bfloat16 for it,
# medians were 2 % longer at 600×900 and 4 % at 320×320 on a CPU with AVX512-BF16 and no AMX, conversions twice as many.
PRECISIONS: dict[DType, str] = {"float32": "f32", "bfloat16": "bf16", "float16": "f16", "int8": "f32"}
CAPABILITIES: dict[DType, str] = {"float32": "FP32", "bfloat16": "BF16", "float16": "FP16", "int8": "INT8"}
"""OpenVINO's names of dtypes: as the precision of a model, and as a capability of a CPU."""

ANY_NETWORK = True


def unavailable_reason(device: torch.device, dtype: DType, train: bool) -> str | None:
    """Return why it cannot run here: it is for inference on CPUs, in dtypes that the CPU has instructions for.

    Every CPU that OpenVINO supports computes in int8, with instructions for it or, slower, without.
    """
    if train:
        return "inference only"
    if find_spec("openvino") is None:
        return f"not installed: pip install 'mnfpn[openvino{'-int8' if dtype == 'int8' else ''}]'"
    if device.type != "cpu":
        return "runs on the CPU alone"
    if dtype == "int8" and find_spec("nncf") is None:
        return "int8 needs nncf: pip install 'mnfpn[openvino-int8]'"
    return _missing_instructions(dtype) if dtype in ("bfloat16", "float16") else None


def _missing_instructions(dtype: DType) -> str | None:
    """Return why the CPU cannot compute in a dtype; OpenVINO's own capabilities ignore the cap of oneDNN."""
    why = this_processor().why_emulated(dtype)
    if why is None and CAPABILITIES[dtype] not in _capabilities():
        return f"this processor has no {dtype} instructions"
    return why


def _capabilities() -> list[str]:
    capabilities: list[str] = openvino_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return capabilities


def prepare(job: Job) -> Prepared:
    """Convert, quantise and compile the network. Every pass reads the same inputs and overwrites the same outputs.

    Raises:
        MnfpnError: where OpenVINO cannot convert or run the network.
    """
    inputs = tuple(tensor.contiguous() for tensor in job.inputs)
    with failure_in_words("OpenVINO cannot run the network", openvino_reason):
        model = _model(job)
        layers, file_bytes = _layers(model), _file_bytes(model)
        channels_last = _put_channels_last(model)
        compiled = _compiled(model, job.dtype)
        run = _request(compiled, inputs, channels_last)
        run()
    return Prepared(run, inputs, graph=partial(_executed, compiled, layers), file_bytes=file_bytes)


def time_layers(job: Job, works: Sequence[LayerWork], passes: int, progress: ReportShare) -> LayerTimes:
    """Time each layer by OpenVINO's own counters of its operators, in a second model that is compiled with them."""
    inputs = tuple(tensor.contiguous() for tensor in job.inputs)
    with failure_in_words("OpenVINO cannot run the network", openvino_reason):
        model = _model(job)
        sources, channels_last = openvino_modules(model), _put_channels_last(model)
        undisturbed, counted = (_compiled(model, job.dtype, counted) for counted in (False, True))
        pass_, profiled = (_request(one, inputs, channels_last) for one in (undisturbed, counted))
        counters = _Counters(profiled.request, list[dict[str, float]]())

        def read() -> Sequence[Sequence[OperatorTime]]:
            return [tuple(counters.operators(_sources(counted, sources)))] * (passes + 1)

        profiler = Profiler(pass_, profiled, read, after=counters.take, averaged=True)
        return time_operators(profiler, works, device_of(job.device).timer(), passes, progress)


@dataclass(frozen=True)
class _Counters:
    """The counters of a request, which have the mean of all its passes; ``means`` has what they were after each."""

    request: "InferRequest"
    means: list[dict[str, float]]

    def take(self) -> None:
        """Read the counters after a pass."""
        executed = (one for one in self.request.get_profiling_info() if one.status.name == "EXECUTED")
        self.means.append({one.node_name: one.real_time.total_seconds() for one in executed})

    def operators(self, sources: Mapping[str, Sequence[LayerCall]]) -> Iterator[OperatorTime]:
        """Yield the operators with their mean time of all passes but the first.

        Their beginnings are not known: one follows the other.
        """
        start, passes = 0.0, len(self.means)
        kinds = {one.node_name: one.node_type for one in self.request.get_profiling_info()}
        for name, mean in self.means[-1].items():
            seconds = max(0.0, (passes * mean - self.means[0].get(name, 0.0)) / (passes - 1))
            yield OperatorTime(name, kinds[name], start, seconds, tuple(sources.get(name, ())))
            start += seconds


def _sources(compiled: "CompiledModel", known: Mapping[str, LayerCall]) -> dict[str, Sequence[LayerCall]]:
    """Return the modules that each operator of a compiled model executes, by the names of the operators.

    One that executes nothing of the model, such as a change of the layout, belongs to the operator that reads it, or
    else to the one before it.
    """
    executed = {one.node.get_friendly_name(): one for one in _executed_operators(compiled)}
    found: dict[str, Sequence[LayerCall]] = {name: _known_sources(one.sources, known) for name, one in executed.items()}
    for name in reversed(executed):  # readers come later
        if not found[name]:
            readers = (x.get_node().get_friendly_name() for x in executed[name].node.output(0).get_target_inputs())
            found[name] = next((found[reader] for reader in readers if found.get(reader)), [])
    for name, one in executed.items():
        if not found[name]:
            before = (x.get_node().get_friendly_name() for x in one.node.input_values())
            found[name] = next((found[other] for other in before if found.get(other)), [])
    return found


def _known_sources(names: Sequence[str], known: Mapping[str, LayerCall]) -> list[LayerCall]:
    """Return the modules of the nodes of these names; what quantising adds has the name of its node as a beginning."""
    found = list[LayerCall]()
    for name in names:
        while name not in known and "/" in name:
            name = name.rpartition("/")[0]
        found += [known[name]] if name in known else []
    return found


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


def _model(job: Job) -> "Model":
    from mnfpn_cli.export.program import trace_pass  # takes two seconds, which only a run should cost

    program = trace_pass(job.network, job.inputs)
    model = convert_program(program, [tuple(tensor.shape) for tensor in job.inputs])
    return quantize_model(model, job.quantization) if job.quantization else model


def _file_bytes(model: "Model") -> int | None:
    """Return the bytes of a model's files; None where a temporary folder has no room for them."""
    try:
        with TemporaryDirectory() as folder:
            import_openvino().serialize(model, Path(folder, "model.xml"))
            return sum(file.stat().st_size for file in Path(folder).iterdir())
    except (OSError, RuntimeError):
        return None


CHANNELS_LAST = {"AvgPool", "Convolution", "GroupConvolution", "Interpolate", "MaxPool"}
"""Operations that OpenVINO executes on maps whose channels are last in memory."""

ELEMENTWISE = {"Add", "Clamp", "FakeQuantize", "HSwish", "Multiply", "PRelu", "Relu", "Sigmoid", "Subtract", "Swish"}
"""Operations that it executes in the layout of what is before them."""


def _put_channels_last(model: "Model") -> frozenset[int]:
    """Let the maps that a model returns have their channels last in memory; return their places among the outputs.

    Convolutions compute in that layout: otherwise each of these outputs would be copied to another.
    """
    openvino = import_openvino()
    maps = frozenset(i for i, result in enumerate(model.get_results()) if _is_map(result.input_value(0).get_node()))
    steps = openvino.preprocess.PrePostProcessor(model)
    for index in maps:
        steps.output(index).model().set_layout(openvino.Layout("NCHW"))
        steps.output(index).tensor().set_layout(openvino.Layout("NHWC"))
    if maps:
        steps.build()
    return maps


def _is_map(node: "Node") -> bool:
    """Return whether the output of a node is a map (n, channels, h, w) with channels last in memory."""
    is_4d = node.get_output_partial_shape(0).rank == len("nchw")
    while node.get_type_name() in ELEMENTWISE:
        node = node.input_value(0).get_node()
    return is_4d and node.get_type_name() in CHANNELS_LAST


def _compiled(model: "Model", dtype: DType, counted: bool = False) -> "CompiledModel":
    """Compile a model; with ``counted`` it takes the time of each operator."""
    settings = {
        "PERF_COUNT": counted,
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "INFERENCE_PRECISION_HINT": PRECISIONS[dtype],
    }
    return openvino_core().compile_model(model, "CPU", settings)


def _request(compiled: "CompiledModel", inputs: Sequence[Tensor], channels_last: frozenset[int]) -> RequestedPass:
    openvino = import_openvino()
    outputs = [torch.empty(tuple(y.shape), dtype=_torch_dtype(y.element_type)) for y in compiled.outputs]
    request = compiled.create_infer_request()
    for index, tensor in enumerate(inputs):
        request.set_input_tensor(index, openvino.Tensor(tensor.numpy(), shared_memory=True))
    for index, tensor in enumerate(outputs):
        request.set_output_tensor(index, openvino.Tensor(tensor.numpy(), shared_memory=True))
    # (n, h, w, channels) in memory, (n, channels, h, w) for those who read them
    views = [tensor.permute(0, 3, 1, 2) if i in channels_last else tensor for i, tensor in enumerate(outputs)]
    return RequestedPass(request, inputs, views)


def _torch_dtype(type: "Type") -> torch.dtype:
    return torch.from_numpy(np.empty(0, type.to_dtype())).dtype


DTYPES = {"f32": "float32", "bf16": "bfloat16", "f16": "float16", "i8": "int8", "u8": "int8"}
"""Our names of the precisions that OpenVINO's operators compute in; unsigned activations are of int8 as well."""

SUBGRAPH = "Subgraph"
"""The type of an operator that is made for a chain of operations; on one thread, small matrix products are in some."""

MULTIPLIES = {"Convolution", "Deconvolution", "FullyConnected", "MatMul", SUBGRAPH}
CONVERTS = {"Convert", "FakeQuantize", "Quantize", "Reorder"}
"""Types of executed operators: those with MACs, and those that may convert between element types."""

DEQUANTIZED = "/DequantizationMultiply"
"""The end of the name of what follows a layer in int8, and turns its sums into values."""


class _Layer(NamedTuple):
    """A layer of a model: the name of its node, its path where that is known, and its MACs."""

    node: str
    path: str
    macs: int


def _layers(model: "Model") -> dict[str, _Layer]:
    """Return the layers of a model whose MACs are known, by the names that operators have which execute them."""
    layers = dict[str, _Layer]()
    for node in mac_nodes(model):
        name, macs = node.get_friendly_name(), node_macs(node)
        if macs is not None:
            layer = _Layer(name, node_path(node) or name, macs)
            # A dense layer has the name of its bias where the kernel adds it, or of what follows it in int8.
            names = [name, name + DEQUANTIZED, *_names_of_biases(node)]
            layers.update(dict.fromkeys(names, layer))
    return layers


def _names_of_biases(node: "Node") -> Iterator[str]:
    """Yield the names of the sums with constants that follow a node."""
    for target in node.output(0).get_target_inputs():
        follower = target.get_node()
        types = {value.get_node().get_type_name() for value in follower.input_values()}
        if follower.get_type_name() == "Add" and "Constant" in types:
            yield follower.get_friendly_name()


class _Executed(NamedTuple):
    """An operator of a compiled model.

    Attributes:
        node: the node of it.
        type: the type of operator, as ``Convolution``.
        sources: the names of the nodes that it executes, of the model that was compiled.
        precision: what it computes in, as ``u8``.
    """

    node: "Node"
    type: str
    sources: tuple[str, ...]
    precision: str


def _executed(compiled: "CompiledModel", layers: Mapping[str, _Layer]) -> ExecutedGraph:
    """Return what a compiled model executes; one operator may execute several layers."""
    executed = _executed_operators(compiled)
    operators = dict[str, Operator]()
    for one in executed:
        for name in one.sources if one.type in MULTIPLIES else ():
            if (layer := layers.get(name)) and (one.type != SUBGRAPH or name == layer.node):
                operators.setdefault(layer.node, Operator(layer.path, _dtype(one, layer), layer.macs))
    return ExecutedGraph(tuple(operators.values()), _conversions(executed))


def _dtype(one: _Executed, layer: _Layer) -> str:
    """Return what a layer computes in; of a chain, OpenVINO gives the precision of what goes in."""
    in_int8 = one.type == SUBGRAPH and layer.node + DEQUANTIZED in one.sources
    return "int8" if in_int8 else DTYPES.get(one.precision, one.precision)


def _executed_operators(compiled: "CompiledModel") -> list[_Executed]:
    return [_executed_operator(node) for node in compiled.get_runtime_model().get_ordered_ops()]


def _executed_operator(node: "Node") -> _Executed:
    information = node.get_rt_info()
    texts = (str(information[key].value) for key in ("layerType", "originalLayersNames", "runtimePrecision"))
    type, names, precision = texts
    return _Executed(node, type, tuple(names.split(",")), precision)


def _conversions(executed: Sequence[_Executed]) -> int:
    """Return how many operators of a pass only convert; what depends on constants alone has run before it."""
    constant, conversions = set[str](), 0
    for one in executed:
        values = one.node.input_values()
        if one.type == "Const" or (values and all(x.get_node().get_friendly_name() in constant for x in values)):
            constant.add(one.node.get_friendly_name())
        elif _only_converts(one):
            conversions += values[0].get_element_type() != one.node.get_output_element_type(0)
    return conversions


def _only_converts(one: _Executed) -> bool:
    if one.type == SUBGRAPH:
        return all("/fq_" in name or "Dequantization" in name for name in one.sources)
    return one.type in CONVERTS
