"""The kernels that torch's compiler generated: the modules that each computes, and their times in torch's profiler."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import fx

from mnfpn_cli.errors import MnfpnError, UnavailableError
from mnfpn_cli.measure.layer_times import LayerCall
from mnfpn_cli.measure.libraries import loggers_silenced, native_stderr_silenced
from mnfpn_cli.measure.operator_times import OperatorTime

if TYPE_CHECKING:
    from torch.autograd.profiler_util import FunctionEvent

NODES = re.compile(r"# Topologically Sorted Source Nodes: \[(.*?)\], Original ATen")
KERNEL = re.compile(r"# \[Provenance debug handles\] (\S+):[0-9]+")
"""The comments before each kernel's call in generated code: the nodes of the traced graph, and the kernel."""

CALLED = "CompiledFxGraph"
"""Part of the name of the event in a profile that has all kernels of a pass."""

MICRO = 1e-6
"""Seconds of the unit of a profile's times."""


def module_of(node: fx.Node) -> LayerCall | None:
    """Return which call of which module an operation that torch's compiler traced was in; None where it does not say.

    Paths begin with the variable of the function that has the network.
    """
    stack = node.meta.get("nn_module_stack")
    if not stack:
        return None
    key, (path, _) = next(reversed(stack.items()))
    _, _, call = str(key).partition("@")  # it counts the calls of a module there, without the first
    return LayerCall(re.sub(r"^L\[[^]]*\]\.?", "", path), int(call) if call.isdigit() else 0)


@dataclass(frozen=True, slots=True)
class Kernel:
    """A call in generated code: of a kernel that was generated, or of one of torch's own."""

    name: str
    sources: tuple[LayerCall, ...]

    def is_called(self, event: str) -> bool:
        """Return whether an event of a profile, by its name, is this call: ``mkldnn::_convolution_pointwise``."""
        return event.endswith(self.name) or event.rpartition("::")[2] in self.name.split(".")


class KernelRecorder:
    """Records the code that torch's compiler generates, and the modules of the operations that it traced."""

    def __init__(self) -> None:
        """Start with no records."""
        self._sources = dict[str, LayerCall]()
        self._codes = list[str]()

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Record what is compiled in this block, with kernels that a profile has by name.

        Raises:
            UnavailableError: where this torch has no such switches.
        """
        import torch._inductor.config as inductor
        from torch._inductor.graph import GraphLowering

        if not hasattr(inductor.trace, "provenance_tracking_level") or not hasattr(GraphLowering, "save_output_code"):
            raise UnavailableError(f"torch {torch.__version__} does not say what its kernels compute")
        options = {
            "pre_grad_custom_pass": self._traced,
            "trace.provenance_tracking_level": 2,  # the modest one of its levels
            "cpp.enable_kernel_profile": True,
            "fx_graph_cache": False,  # what it finds there is not generated
        }
        before = vars(GraphLowering)["save_output_code"]
        GraphLowering.save_output_code = staticmethod(self._codes.append)
        try:
            with inductor.patch(options), loggers_silenced(["torch._inductor.codecache"]):
                yield  # of a pass that it cannot cache, that logger warns
        finally:
            GraphLowering.save_output_code = before

    def _traced(self, graph: fx.Graph) -> None:
        self._sources |= {node.name: source for node in graph.nodes if (source := module_of(node))}

    def kernels(self, constants: Mapping[str, Sequence[LayerCall]]) -> list[Kernel]:
        """Return the kernels of a pass in the order of their calls.

        The comments on a call name the last operations of what was fused. A convolution is known by its weights.

        Args:
            constants: by the name of each constant that layers read, the modules of these layers in order.

        Raises:
            UnavailableError: where not one graph was compiled, or its code has no such comments.
        """
        if len(self._codes) != 1:
            raise UnavailableError(f"it was compiled in {len(self._codes)} parts")
        kernels, used = list[Kernel](), dict[str, int]()
        nodes, kernel = list[str](), ""
        for line in self._codes[0].splitlines():
            if found := NODES.search(line):
                nodes = found[1].split(", ")
            elif found := KERNEL.search(line):
                kernel = found[1]
            elif kernel:
                sources = [self._sources[name] for name in nodes if name in self._sources]
                for name in re.findall(r"\w+", line):
                    if name in constants:
                        layer = constants[name][used.get(name, 0) % len(constants[name])]
                        used[name] = used.get(name, 0) + 1
                        sources += [] if any(_module(one) == _module(layer) for one in sources) else [layer]
                kernels.append(Kernel(kernel, tuple(dict.fromkeys(sources))))
                nodes, kernel = [], ""
        if not kernels:
            raise UnavailableError(f"the code that torch {torch.__version__} generates does not name what it computes")
        return kernels


def _module(source: LayerCall) -> str:
    """Return the path of the module above: a convolution and its activation have the same."""
    return source.path.rpartition(".")[0]


class KernelProfile:
    """Times kernels by torch's profiler, a pass at a time.

    Attributes:
        passes: the kernels of each pass so far.
    """

    def __init__(self, kernels: Sequence[Kernel]) -> None:
        """Start with no passes of these kernels."""
        self.passes = list[tuple[OperatorTime, ...]]()
        self._kernels = kernels
        self._profiler: Any = None

    def start(self) -> None:
        """Profile the pass that follows."""
        self._profiler = torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU])
        with native_stderr_silenced():  # its library logs that it starts, and that it stops
            self._profiler.__enter__()

    def stop(self) -> None:
        """Record the pass.

        Raises:
            MnfpnError: where the profile has not the kernels of the code.
        """
        with native_stderr_silenced():
            self._profiler.__exit__(None, None, None)
        self.passes.append(tuple(self._operators(self._profiler.events())))

    def _operators(self, events: "Sequence[FunctionEvent]") -> Iterator[OperatorTime]:
        """Yield the kernels of a pass. Each lasts until the next one begins: what is between frees what it read."""
        calls = [one for one in events if CALLED in one.name]
        inside = [one for one in events if one.cpu_parent is not None and one.cpu_parent in calls]
        inside.sort(key=lambda one: one.time_range.start)
        begin = min((one.time_range.start for one in events), default=0.0)
        starts = [one.time_range.start for one in inside]
        ends = [*starts[1:], max((one.time_range.end for one in calls), default=0.0)]
        kernels, found = iter(self._kernels), 0
        kernel = next(kernels, None)
        sources: tuple[LayerCall, ...] = ()  # what is no kernel, as a copy of an input, belongs to the one before
        for one, start, end in zip(inside, starts, ends, strict=True):
            if kernel and kernel.is_called(one.name):
                sources, kernel, found = kernel.sources or sources, next(kernels, None), found + 1
            yield OperatorTime(one.name, "kernel", (start - begin) * MICRO, (end - start) * MICRO, sources)
        if kernel:
            raise MnfpnError(f"its profile has {found} of {len(self._kernels)} kernels")
