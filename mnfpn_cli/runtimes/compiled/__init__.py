"""PyTorch compiled by `torch.compile`, which fuses layers, for one size and one number of threads."""

import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, fx, nn

from mnfpn_cli.devices.choose import device_of
from mnfpn_cli.devices.cuda import capability
from mnfpn_cli.errors import MnfpnError, UnavailableError
from mnfpn_cli.measure.layer_times import LayerCall, LayerTimes
from mnfpn_cli.measure.libraries import CUDA_TOOLKIT, TORCH_JIT, failure_in_words, loggers_silenced, warnings_silenced
from mnfpn_cli.measure.operator_times import Profiler, time_operators
from mnfpn_cli.plan.roofline import LayerWork
from mnfpn_cli.quantization.pt2e import has_onednn, key_of, paths_by_scales, quantize_for_x86, torchao_missing
from mnfpn_cli.quantization.quantization import Quantization
from mnfpn_cli.runtimes.compiled.kernels import KernelProfile, KernelRecorder, module_of
from mnfpn_cli.runtimes.eager import move
from mnfpn_cli.runtimes.runtime import ExecutedGraph, Job, Operator, Prepared, ReportShare, training_step
from mnfpn_cli.settings.input import DType
from mnfpn_cli.text import first_line, strip_colours
from mnfpn_cli.trace.products import is_conversion, named_arguments, product_of

LEAST_CAPABILITY = (7, 0)
"""The lowest compute capability that Triton, torch's compiler for GPUs, supports."""

X86 = ("x86_64", "amd64")
"""The names that systems have for x86 processors of 64 bits."""

ANY_NETWORK = True


def unavailable_reason(device: torch.device, dtype: DType, train: bool) -> str | None:
    """Return why it cannot run here: it needs a Python that torch can compile, and a compiler on this machine."""
    if dtype == "int8" and (missing := _missing_for_int8(device, train)):
        return missing
    try:
        torch.compile(backend="inductor")  # raises at once where this Python is not supported
    except RuntimeError as error:
        return first_line(error)
    return _missing_for_cuda(device) if device.type == "cuda" else _missing_compiler("CXX", _cxx_compilers())


def _missing_for_int8(device: torch.device, train: bool) -> str | None:
    if train:
        return "inference only in int8"
    if device.type != "cpu":
        return "runs int8 on the CPU alone"
    if platform.machine().lower() not in X86:
        return f"runs int8 on x86 processors alone, and this one is {platform.machine()}"
    if not has_onednn():
        return "this torch has no quantised layers of oneDNN"
    return torchao_missing()


def _missing_for_cuda(device: torch.device) -> str | None:
    if find_spec("triton") is None:
        return "not installed: pip install triton"
    if (found := capability(device)) < LEAST_CAPABILITY:
        least, own = (".".join(map(str, version)) for version in (LEAST_CAPABILITY, found))
        return f"needs a GPU of compute capability {least} or more, and this one has {own}"
    return None if sys.platform == "win32" else _missing_compiler("CC", ("gcc", "clang"))


def _cxx_compilers() -> tuple[str, ...]:
    """Return the C++ compiler that torch looks for on this system."""
    return ({"win32": "cl", "darwin": "clang++"}.get(sys.platform, "g++"),)


def _missing_compiler(variable: str, usual: tuple[str, ...]) -> str | None:
    named = os.environ.get(variable)
    if any(map(shutil.which, (named,) if named else usual)):
        return None
    language = "C++" if variable == "CXX" else "C"
    if named:
        return f"needs a {language} compiler, and there is no {named}, which {variable} names"
    return f"needs a {language} compiler: {' or '.join(usual)}, or one that the environment variable {variable} names"


def prepare(job: Job) -> Prepared:
    """Compile the network in channels-last memory format, by running it once; quantise it before, for int8.

    Raises:
        MnfpnError: where torch cannot quantise or compile the network.
    """
    return _recorded(job)[0]


def time_layers(job: Job, works: Sequence[LayerWork], passes: int, progress: ReportShare) -> LayerTimes:
    """Time each layer by torch's profiler, which sees the kernels of code that is generated for it.

    Raises:
        UnavailableError: elsewhere than on the CPU, or where this torch does not say what its kernels compute.
        MnfpnError: as `prepare`.
    """
    if job.device.type != "cpu":
        raise UnavailableError("its kernels are led back to layers on the CPU alone")
    kernels = KernelRecorder()
    with kernels.recording():
        prepared, graph = _recorded(job)
    profile = KernelProfile(kernels.kernels(graph.constants))
    profiler = Profiler(prepared.run, prepared.run, lambda: profile.passes, profile.start, profile.stop)
    return time_operators(profiler, works, device_of(job.device).timer(), passes, progress)


def _recorded(job: Job) -> "tuple[Prepared, GraphRecorder]":
    if job.quantization:
        quantized = _quantized(job, job.quantization)
        return _compiled(
            replace(job, network=quantized, dtype="float32", quantization=None), paths_by_scales(quantized)
        )
    return _compiled(job, {})


def _quantized(job: Job, quantization: Quantization) -> fx.GraphModule:
    """Return the graph of the network with quantised layers."""
    from mnfpn_cli.export.program import trace_pass  # takes two seconds, which only such a run should cost

    with failure_in_words("torchao could not quantise the network", _reason):
        return quantize_for_x86(trace_pass(job.network, job.inputs), quantization)


def _compiled(job: Job, paths: Mapping[bytes, str]) -> "tuple[Prepared, GraphRecorder]":
    network, inputs = move(job, torch.channels_last)
    recorder = GraphRecorder(paths)
    frozen = job.device.type == "cpu" and not job.train
    with _compiler_failure_explained(), _inductor(frozen, None if job.train else recorder):
        # The mode "reduce-overhead" is this option alone.
        options: dict[str, Any] = {"triton.cudagraphs": True} if job.device.type == "cuda" else {}
        # Parts of an external network may run in Python, as they do for people who compile it.
        compiled = torch.compile(own_pass(network), fullgraph=job.one_graph, dynamic=False, options=options)
        forward = partial(_marked, compiled) if options else compiled
        run = training_step(network, inputs, forward) if job.train else partial(forward, *inputs)
        with torch.inference_mode(not job.train):  # a pass in another mode would compile again
            run()
    return Prepared(run, inputs, graph=None if job.train else recorder.executed), recorder


@contextmanager
def _inductor(frozen: bool, recorder: "GraphRecorder | None") -> Iterator[None]:
    """Have the compiler record its graphs and, with ``frozen``, take weights for constants.

    It folds batch norms into convolutions then, and stores weights in the order of a CPU's convolutions. As options
    of `torch.compile` these settings reach only half of the compiler, and have no effect.
    """
    import torch._inductor.config as inductor

    options: dict[str, Any] = {"freezing": frozen}
    if recorder is not None:
        options["post_grad_custom_pre_pass"] = recorder.before_patterns
        options["post_grad_custom_post_pass"] = recorder.after_patterns
    with inductor.patch(options):
        yield


class GraphRecorder:
    """Records the graphs that torch's compiler is about to turn into code, of each part of the network one.

    It has chosen the dtypes of layers before its last patterns, which replace their operations by functions of its own,
    and fuse conversions into them.

    Attributes:
        constants: by the name of each constant that layers read, such as weights: the modules of these layers.
    """

    def __init__(self, paths: Mapping[bytes, str]):
        """Start with no records. ``paths``: those of quantised layers, which lose their names, by their scales."""
        self._paths = paths
        self._operators: list[Operator] = []
        self._conversions = 0
        self.constants: dict[str, list[LayerCall]] = {}

    def before_patterns(self, graph: fx.Graph) -> None:
        """Record the operators of a graph that have MACs."""
        for node, target, args, kwargs in _calls(graph):
            if product := product_of(target, args, kwargs, _value(node)):
                name = self._path(graph, node, target) or target.overloadpacket.__name__
                self._operators.append(Operator(name, product.dtype, product.macs))
                source = module_of(node) or LayerCall(name)
                for constant in node.all_input_nodes:
                    if constant.op == "get_attr":
                        self.constants.setdefault(str(constant.target), []).append(source)

    def after_patterns(self, graph: fx.Graph) -> None:
        """Count the conversions that are left in a graph."""
        self._conversions += sum(is_conversion(target, args, _value(node)) for node, target, args, _ in _calls(graph))

    def executed(self) -> ExecutedGraph:
        """Return what was recorded."""
        return ExecutedGraph(tuple(self._operators), self._conversions)

    def _path(self, graph: fx.Graph, node: fx.Node, target: torch._ops.OpOverload[..., Any]) -> str:
        scales = named_arguments(target, node.args).get("w_scale")
        if isinstance(scales, fx.Node) and graph.owning_module is not None:
            constant = getattr(graph.owning_module, str(scales.target), None)
            return self._paths.get(key_of(constant), "") if isinstance(constant, Tensor) else ""
        source = module_of(node)
        return source.path if source else ""


def _calls(graph: fx.Graph) -> Iterator[tuple[fx.Node, Any, tuple[Any, ...], dict[str, Any]]]:
    """Yield the nodes that call operations of torch: the operation, and its arguments with tensors for nodes."""
    for node in graph.nodes:
        target = node.target.default if isinstance(node.target, torch._ops.OpOverloadPacket) else node.target
        if isinstance(target, torch._ops.OpOverload):
            yield node, target, fx.node.map_arg(node.args, _value), fx.node.map_arg(node.kwargs, _value)


def _value(node: fx.Node) -> Any:
    """Return the tensor of a node: one that has a shape and a dtype, and no values."""
    return node.meta.get("val")


def own_pass(network: nn.Module) -> Callable[..., Any]:
    """Return a function that calls the network and has its own code object.

    torch caches compiled code by code object, at most eight times each, and all networks of a class share that of
    `forward`. `torch._dynamo.reset` would make room, but discard networks that are still to be timed.
    """

    def call(*inputs: Tensor) -> Any:
        return network(*inputs)

    call.__code__ = call.__code__.replace()
    return call


def _marked(compiled: Callable[..., Any], *inputs: Tensor) -> Any:
    """Run one pass; it may overwrite the outputs of the pass before."""
    torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
    return compiled(*inputs)


@contextmanager
def _compiler_failure_explained() -> Iterator[None]:
    """Turn the compiler's exceptions into an `MnfpnError`, and silence the warnings of its import."""
    from torch._dynamo.exc import TorchDynamoException

    # Advice to use TF32 in matrix products, which would change the results.
    tf32 = ("TensorFloat32 tensor cores|Please use the new API settings", UserWarning)
    with warnings_silenced(TORCH_JIT, tf32), loggers_silenced([CUDA_TOOLKIT]):
        try:
            yield
        except TorchDynamoException as error:
            raise MnfpnError(f"torch could not compile the network: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """Return a C++ compiler's first error, or the first line of the exception that torch wraps."""
    cause = getattr(error, "inner_exception", error)
    errors = (line.strip() for line in strip_colours(str(cause)).replace("`", "'").splitlines() if "error: " in line)
    return next(errors, first_line(cause) or type(cause).__name__)
