"""ExecuTorch, the runtime of phones: the program of a .pte file, whose operators are XNNPACK's, in float32 or int8."""

from collections.abc import Iterator, Sequence
from functools import partial
from importlib.util import find_spec
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.fx import Graph, Node

from mnfpn_cli.devices.choose import device_of
from mnfpn_cli.measure.layer_times import LayerCall, LayerTimes
from mnfpn_cli.measure.libraries import failure_in_words
from mnfpn_cli.measure.operator_times import OperatorTime, Profiler, time_operators
from mnfpn_cli.plan.roofline import LayerWork
from mnfpn_cli.runtimes.executorch.trace import ProgramOperator, read_trace
from mnfpn_cli.runtimes.runtime import ExecutedGraph, Job, Operator, Prepared, ReportShare, as_tensors
from mnfpn_cli.settings.input import DType

if TYPE_CHECKING:
    from torch.export import ExportedProgram

ANY_NETWORK = True

CONVERSIONS = ("quantize_per_tensor", "dequantize_per_tensor")
"""Operators that convert between float32 and int8. Weights are dequantised per channel, in no pass."""


def unavailable_reason(device: torch.device, dtype: DType, train: bool) -> str | None:
    """Return why it cannot run here: it is for inference on CPUs, in float32 and int8."""
    if train:
        return "inference only"
    if any(find_spec(name) is None for name in ("executorch", "torchao")):
        return "not installed: pip install 'mnfpn[executorch]'"
    if device.type != "cpu":
        return "runs on the CPU alone"
    return None if dtype in ("float32", "int8") else "float32 and int8 only"


def prepare(job: Job) -> Prepared:
    """Lower and load the network. Every pass reads the same inputs and overwrites the same outputs.

    Raises:
        MnfpnError: where the network cannot be lowered, or ExecuTorch cannot run it.
    """
    from mnfpn_cli.export.xnnpack import load, lower  # takes two seconds, which only a run should cost

    inputs = tuple(tensor.contiguous() for tensor in job.inputs)
    with failure_in_words("ExecuTorch cannot run the network"):
        lowered = lower(job.network, inputs, job.quantization)
        program = load(lowered.content)
        program(*inputs)
    return Prepared(
        partial(program, *inputs),
        inputs,
        outputs=_copies,
        graph=partial(graph_of_program, lowered.graph),
        file_bytes=len(lowered.content),
    )


def time_layers(job: Job, works: Sequence[LayerWork], passes: int, progress: ReportShare) -> LayerTimes:
    """Time each layer by ExecuTorch's event tracer, in a second copy of the program that records.

    Raises:
        UnavailableError: where ExecuTorch was built without it.
        MnfpnError: as `prepare`.
    """
    from mnfpn_cli.export.xnnpack import load, lower

    inputs = tuple(tensor.contiguous() for tensor in job.inputs)
    with failure_in_words("ExecuTorch cannot run the network"), TemporaryDirectory() as folder:
        lowered, trace = lower(job.network, inputs, job.quantization), Path(folder, "trace.etdp")
        plain, traced = load(lowered.content), load(lowered.content, traced=True)

        def read() -> Sequence[Sequence[OperatorTime]]:
            traced.write_trace(trace)
            return read_trace(trace, _operators(lowered.graph))

        profiler = Profiler(partial(plain, *inputs), partial(traced, *inputs), read)
        return time_operators(profiler, works, device_of(job.device).timer(), passes, progress)


def _operators(program: "ExportedProgram") -> list[ProgramOperator]:
    """Return the operators of a program, in order."""
    from mnfpn_cli.export.program import source_of

    places, made = dict[Node, int](), list[ProgramOperator]()
    for node, _ in _executed(program):
        inputs = tuple(places[one] for one in node.all_input_nodes if one in places)
        places[node] = len(made)
        made.append(ProgramOperator(_name(node), source_of(node) or LayerCall(_path(node)), inputs))
    return made


def _copies(outputs: Any) -> tuple[Tensor, ...]:
    """Return copies of the outputs, whose memory is the program's, and goes with it."""
    return tuple(tensor.clone() for tensor in as_tensors(outputs))


def graph_of_program(program: "ExportedProgram") -> ExecutedGraph:
    """Return the operators of a program that have MACs, with the paths of their layers, and its conversions.

    XNNPACK computes in int8 what reads a weight in int8: nothing else was taken into its graph. What is left out of
    its graphs runs in portable kernels of ExecuTorch, in float32, and has that in its name.
    """
    operators, conversions = list[Operator](), 0
    for node, in_xnnpack in _executed(program):
        name = _name(node)
        if any(f".{conversion}." in f".{name}" for conversion in CONVERSIONS):
            conversions += not (in_xnnpack and node.meta.get(_FUSED))
        elif (macs := _macs(name, node)) is not None:
            path = _path(node) or name
            dtype = "int8" if in_xnnpack and _reads_int8(node) else "float32"
            operators.append(Operator(path if in_xnnpack else f"{path} (portable kernel)", dtype, macs))
    return ExecutedGraph(tuple(operators), conversions)


_FUSED = "IS_IMPLICIT_Q_DQ_TAG"
"""Key of ExecuTorch's mark of conversions that are only the types of a kernel's inputs and outputs."""


def _executed(program: "ExportedProgram") -> Iterator[tuple[Node, bool]]:
    """Yield the operators, and whether XNNPACK executes them, in the order of the program."""
    for node in program.graph.nodes:
        if node.op == "get_attr":
            delegate = getattr(program.graph_module, str(node.target))
            inside: Graph = delegate.original_module.graph
            yield from ((one, True) for one in inside.nodes if one.op == "call_function")
        elif node.op == "call_function":
            yield node, False


def _name(node: Node) -> str:
    """Return the name of an operator, such as ``aten.convolution.default``."""
    return str(getattr(node.target, "__name__", node.target))


def _path(node: Node) -> str:
    from mnfpn_cli.export.xnnpack_int8 import traced_path

    return traced_path(node)


def _macs(name: str, node: Node) -> int | None:
    """Return the MACs of a convolution or a matrix product; None for other operators."""
    if name == "aten.convolution.default":
        transposed = bool(node.args[6])
        return _shape(node.args[0] if transposed else node).numel() * prod(_shape(node.args[1])[1:])
    first = {"aten.linear.default": 0, "aten.mm.default": 0, "aten.bmm.default": 0, "aten.addmm.default": 1}.get(name)
    return None if first is None else _shape(node).numel() * _shape(node.args[first])[-1]


def _shape(node: Any) -> torch.Size:
    shape: torch.Size = node.meta["val"].shape
    return shape


def _reads_int8(node: Node) -> bool:
    """Return whether the weight of an operator is dequantised, directly or behind a transposition."""
    weight = node.args[2 if _name(node) == "aten.addmm.default" else 1]
    while isinstance(weight, Node) and _name(weight).startswith(("aten.permute", "aten.t.", "aten.transpose")):
        weight = weight.args[0]
    return isinstance(weight, Node) and ".dequantize_" in f".{_name(weight).rpartition('quantized_decomposed')[2]}"
