"""PyTorch's kernels in channels-last order, recorded once and replayed: the host queues one graph, not each kernel."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mnfpn_cli.errors import MnfpnError
from mnfpn_cli.runtimes.eager import move
from mnfpn_cli.runtimes.runtime import Job, Prepared
from mnfpn_cli.settings.input import DType
from mnfpn_cli.text import first_line

WARM_UP = 3
"""Passes before the recording: libraries choose kernels and allocate workspaces, which must not happen within it."""


ANY_NETWORK = True


def impossible(device: torch.device, _dtype: DType, train: bool) -> str | None:
    """It is NVIDIA's, and what is recorded here is a pass forward."""
    if train:
        return "inference only"
    return None if device.type == "cuda" else "runs on CUDA alone"


@dataclass(frozen=True)
class RecordedPass:
    """A recorded pass. The graph knows the addresses alone of what it reads and writes: this keeps it."""

    graph: torch.cuda.CUDAGraph
    network: nn.Module
    inputs: tuple[Tensor, ...]
    outputs: Any

    def __call__(self) -> Any:
        """Run once; the outputs are where they were."""
        self.graph.replay()
        return self.outputs


def prepare(job: Job) -> Prepared:
    """Record a pass. The inputs stay where they are, and so do the outputs, which every pass writes anew.

    Raises:
        MnfpnError: where a pass cannot be recorded.
    """
    network, inputs = move(job, torch.channels_last)
    with torch.cuda.device(job.device), torch.inference_mode():
        # Nothing can be recorded on the default stream; and torch's own for graphs is the first device's for ever.
        stream = torch.cuda.Stream(job.device)  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream(job.device))
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP):
                network(*inputs)
        torch.cuda.current_stream(job.device).wait_stream(stream)
        with _workspaces_of_its_own(), torch.cuda.stream(stream):  # which a recording that fails would not leave
            return Prepared(_recorded(network, inputs, stream))


def _recorded(network: nn.Module, inputs: tuple[Tensor, ...], stream: torch.cuda.Stream) -> RecordedPass:
    graph, broken = torch.cuda.CUDAGraph(), list[BaseException]()
    try:
        with torch.cuda.graph(graph, stream=stream):
            try:
                outputs = network(*inputs)
            except BaseException as error:
                broken.append(error)  # the error that ends the recording will take its place
                raise
    except RuntimeError as error:
        raise _explained(broken[0] if broken else error) from error
    return RecordedPass(graph, network, inputs, outputs)


@contextmanager
def _workspaces_of_its_own() -> Iterator[None]:
    """Have cuBLAS allocate its workspaces within the recording: others may be freed while the graph still uses them.

    Garbage is collected before: to free another graph is not allowed during the recording.
    """
    gc.collect()
    torch._C._cuda_clearCublasWorkspaces()
    try:
        yield
    finally:
        torch._C._cuda_clearCublasWorkspaces()


def _explained(cause: BaseException) -> BaseException:
    """The error in words, but for those that others have words for: Ctrl-C, and memory that runs out."""
    if isinstance(cause, torch.OutOfMemoryError) or not isinstance(cause, Exception):
        return cause
    return MnfpnError(f"CUDA could not record the network as a graph: {first_line(cause)}")
