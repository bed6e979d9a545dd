"""Lower a network to XNNPACK, ExecuTorch's kernels for the CPUs of phones, in float32 or int8, and load it here."""

import gc
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.fx import GraphModule, Node

from mnfpn_cli.errors import MnfpnError, UnavailableError
from mnfpn_cli.export.program import trace_pass
from mnfpn_cli.export.xnnpack_int8 import annotate_clamped, calibrated, traced_path
from mnfpn_cli.measure.libraries import loggers_silenced, native_stderr_silenced, warnings_silenced
from mnfpn_cli.quantization.quantization import Quantization
from mnfpn_cli.text import first_line

LOGGERS = ("torchao", "torch.utils._pytree")
"""Loggers that report at import: libraries of torchao for GPUs that do not load, and a deprecated call of it."""

WARNINGS: tuple[tuple[str, type[Warning]], ...] = (
    (r"`isinstance\(treespec, LeafSpec\)` is deprecated", FutureWarning),  # torch itself copies such an object
    (r"This API is experimental", Warning),  # whatever runs a program
    ("", DeprecationWarning),  # of Python and torch, by executorch and torchao
)


@dataclass(frozen=True)
class LoweredNetwork:
    """A network for ExecuTorch.

    Attributes:
        graph: its operators; those of XNNPACK are in the graphs of delegates.
        content: the bytes of a .pte file.
    """

    graph: ExportedProgram
    content: bytes


def lower(
    network: nn.Module,
    inputs: tuple[Tensor, ...],
    quantization: Quantization | None = None,
    texts: Mapping[str, str] | None = None,
) -> LoweredNetwork:
    """Return a network in eval mode for the shapes of these inputs, in float32 or, with ``quantization``, in int8.

    Args:
        network: any network.
        inputs: the inputs of a pass.
        quantization: how it is quantised.
        texts: texts that methods of the program return, by the names of the methods.

    Raises:
        Exception: any error of torch, torchao and ExecuTorch, where they cannot convert the network.
    """
    with executorch_silenced():
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
        from executorch.exir import to_edge_transform_and_lower

        traced = trace_pass(network, inputs)
        if quantization:
            traced = _quantised(traced.module(), quantization, inputs)
        lowered = to_edge_transform_and_lower(
            traced, partitioner=[XnnpackPartitioner()], constant_methods=dict(texts or {})
        )
        return LoweredNetwork(lowered.exported_program(), lowered.to_executorch().buffer)


def _quantised(traced: GraphModule, quantization: Quantization, inputs: tuple[Tensor, ...]) -> ExportedProgram:
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
        XNNPACKQuantizer,
        get_symmetric_quantization_config,
    )

    config = get_symmetric_quantization_config(is_per_channel=True)

    def quantised(node: Node) -> bool:
        return traced_path(node) not in quantization.keep_float

    class ClampedQuantizer(XNNPACKQuantizer):  # type: ignore[misc]  # it has no types
        """Its own knows no convolution with ReLU6: it would round to int8 before the activation, and after it."""

        def annotate(self, model: GraphModule) -> Any:
            annotate_clamped(model, config, quantised)
            return super().annotate(model)

    quantizer = ClampedQuantizer().set_global(config).set_filter_function(quantised)
    return calibrated(traced, quantizer, quantization.passes, inputs)


@dataclass(frozen=True, eq=False)
class LoadedProgram:
    """A program in this process. It reads its content when it runs: this object keeps it alive."""

    module: Any
    content: bytes

    def __call__(self, *inputs: Tensor) -> Sequence[Any]:
        """Run one pass; return the same output tensors every time, in memory of the program, with new values."""
        outputs: Sequence[Any] = self.module.forward(inputs, clone_outputs=False)
        return outputs

    def write_trace(self, path: Path) -> None:
        """Write what was recorded of all passes so far.

        Raises:
            UnavailableError: where ExecuTorch was built without its event tracer.
        """
        if not self.module.has_etdump():
            raise UnavailableError("the installed ExecuTorch was built without its event tracer")
        self.module.write_etdump_result_to_file(str(path))

    def texts(self) -> dict[str, str]:
        """Return the texts that `lower` was given."""
        names = [name for name in self.module.method_names() if name != "forward"]
        return {name: text for name in names if isinstance(text := self.module.run_method(name)[0], str)}


_loaded: WeakSet[LoadedProgram] = WeakSet()


def load(content: bytes, traced: bool = False) -> LoadedProgram:
    """Load a program, to run on as many threads as torch; with ``traced`` it records the time of each operator.

    Raises:
        MnfpnError: where the content is no program, or programs that are loaded use another number of threads.
    """
    with executorch_silenced(), native_stderr_silenced():  # it logs to standard error how it counts the cores
        from executorch.extension.pybindings import portable_lib

        _use_threads(portable_lib, torch.get_num_threads())
        try:
            program = LoadedProgram(
                portable_lib._load_for_executorch_from_buffer(content, enable_etdump=traced), content
            )
            program.module.method_meta("forward")  # it reads the content no earlier
        except RuntimeError as error:
            raise MnfpnError(f"ExecuTorch cannot load the program: {first_line(error)}") from error
    _loaded.add(program)
    return program


def _use_threads(library: Any, threads: int) -> None:
    """Set the number of threads, which a process has one of. A program that is loaded would wait for the old ones."""
    if (before := library._threadpool_get_thread_count()) == threads:
        return
    gc.collect()
    if _loaded:
        raise MnfpnError(
            f"ExecuTorch has the same number of threads for all networks of a process: {before} now, got {threads}"
        )
    library._unsafe_reset_threadpool(threads)


@contextmanager
def executorch_silenced() -> Iterator[None]:
    """Silence what ExecuTorch and torchao report at import, and torch when they call it."""
    with loggers_silenced(LOGGERS), warnings_silenced(*WARNINGS):
        yield
