"""CUDA graph: record PyTorch's kernels once and replay them, so that the host queues one graph, not each kernel."""

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from mnfpn_cli.errors import MnfpnError, UnavailableError
from mnfpn_cli.measure.layer_times import LayerTimes
from mnfpn_cli.plan.roofline import LayerWork
from mnfpn_cli.runtimes.eager import executed, move
from mnfpn_cli.runtimes.runtime import NO_INT8, Job, Prepared, ReportShare
from mnfpn_cli.settings.input import DType
from mnfpn_cli.text import first_line

WARM_UP = 3
"""Passes before the recording: libraries choose kernels and allocate workspaces in them, not during the recording."""

ANY_NETWORK = True


def unavailable_reason(device: torch.device, dtype: DType, train: bool) -> str | None:
    """Return why it cannot run here: it needs CUDA, and records a forward pass."""
    if train:
        return "inference only"
    if dtype == "int8":
        return NO_INT8
    return None if device.type == "cuda" else "runs on CUDA alone"


@dataclass(frozen=True)
class RecordedPass:
    """A recorded pass. The graph has only the addresses of its tensors: this object keeps the tensors alive."""

    graph: torch.cuda.CUDAGraph
    network: nn.Module
    inputs: tuple[Tensor, ...]
    outputs: Any

    def __call__(self) -> Any:
        """Replay the pass; return the same output tensors every time, with new values."""
        self.graph.replay()
        return self.outputs


def prepare(job: Job) -> Prepared:
    """Record a pass in channels-last memory format. Every pass reads the same inputs and overwrites the same outputs.

    Raises:
        MnfpnError: where a pass cannot be recorded.
    """
    network, inputs = move(job, torch.channels_last)
    with torch.cuda.device(job.device), torch.inference_mode():
        # The default stream cannot be recorded, and torch's own stream for graphs stays on the first device.
        stream = torch.cuda.Stream(job.device)  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream(job.device))
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP):
                network(*inputs)
        torch.cuda.current_stream(job.device).wait_stream(stream)
        with _workspaces_of_its_own(), torch.cuda.stream(stream):  # a failed recording would not leave this context
            graph = partial(executed, network, inputs)  # a recorded pass has kernels, but no layers
            return Prepared(_recorded(network, inputs, stream), inputs, graph=graph)


def time_layers(_job: Job, _works: Sequence[LayerWork], _passes: int, _progress: ReportShare) -> LayerTimes:
    """Refuse.

    Raises:
        UnavailableError: always.
    """
    raise UnavailableError("a recorded pass has kernels, but no layers: those of channels-last are the same")


def _recorded(network: nn.Module, inputs: tuple[Tensor, ...], stream: torch.cuda.Stream) -> RecordedPass:
    graph, broken = torch.cuda.CUDAGraph(), list[BaseException]()
    try:
        with torch.cuda.graph(graph, stream=stream):
            try:
                outputs = network(*inputs)
            except BaseException as error:
                broken.append(error)  # the error that ends the recording replaces it
                raise
    except RuntimeError as error:
        raise _explained(broken[0] if broken else error) from error
    return RecordedPass(graph, network, inputs, outputs)


@contextmanager
def _workspaces_of_its_own() -> Iterator[None]:
    """Let cuBLAS allocate workspaces during the recording: earlier ones may be freed while the graph still uses them.

    Garbage is collected first: another graph must not be freed during the recording.
    """
    gc.collect()
    torch._C._cuda_clearCublasWorkspaces()
    try:
        yield
    finally:
        torch._C._cuda_clearCublasWorkspaces()


def _explained(cause: BaseException) -> BaseException:
    """Return an `MnfpnError` for the cause; Ctrl-C and out-of-memory errors, which callers handle, stay."""
    if isinstance(cause, torch.OutOfMemoryError) or not isinstance(cause, Exception):
        return cause
    return MnfpnError(f"CUDA could not record the network as a graph: {first_line(cause)}")
