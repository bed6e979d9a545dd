"""PyTorch's kernels in channels-last order, recorded once and replayed: the host queues one graph, not each kernel."""

import torch

from mnfpn_cli.errors import MnfpnError
from mnfpn_cli.measure.devices import first_line
from mnfpn_cli.measure.runtime import Job, Prepared
from mnfpn_cli.runtimes.eager import move
from mnfpn_cli.settings.input import DType

WARM_UP = 3
"""Passes before the recording: libraries choose kernels and allocate workspaces, which must not happen within it."""


def impossible(device: torch.device, _dtype: DType, train: bool) -> str | None:
    """It is NVIDIA's, and what is recorded here is a pass forward."""
    if train:
        return "inference only"
    return None if device.type == "cuda" else "runs on CUDA alone"


def prepare(job: Job) -> Prepared:
    """Record a pass. The images stay where they are, and so do the outputs, which every pass writes anew.

    Raises:
        MnfpnError: where a pass cannot be recorded.
    """
    network, images = move(job, torch.channels_last)
    with torch.cuda.device(job.device), torch.inference_mode():
        # Nothing can be recorded on the default stream; and torch's own for graphs is the first device's for ever.
        stream = torch.cuda.Stream(job.device)  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream(job.device))
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP):
                network(images)
        torch.cuda.current_stream(job.device).wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, stream=stream):
                outputs = network(images)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            raise MnfpnError(f"CUDA could not record the network as a graph: {first_line(error)}") from error

    def replay() -> object:
        graph.replay()
        return outputs

    return Prepared(replay)
