"""NVIDIA GPUs, through CUDA. All use of `torch.cuda` is here, except for what the runtime cuda-graph needs.

TF32 is float32 with 10 bits of fraction, which these GPUs multiply several times as fast. By default torch uses it in
float32 convolutions, and not in matrix products.
"""

import gc
import os
import subprocess
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import ClassVar

import torch

from mnfpn_cli.devices.device import UNKNOWN_CACHE, Device
from mnfpn_cli.devices.nvml import GpuReader, gpu_reader
from mnfpn_cli.devices.timers import EventMarks, EventTimer, Marks, Timer

MOST_CLOCK_HZ = 3e9
"""Higher than the clock of any GPU, so that a wait counted in cycles is at least as long as asked for."""


class Cuda(Device):
    """An NVIDIA GPU; memory in use is what torch's allocator handed out on it."""

    kind: ClassVar[str] = "cuda"

    @classmethod
    def find(cls) -> list[str]:
        """Return the GPUs. The driver also counts GPUs that it is too old to let this torch use: those are left out."""
        return [f"cuda:{index}" for index in range(torch.cuda.device_count())] if torch.cuda.is_available() else []

    def model(self) -> str | None:
        """Return the name of the product."""
        return torch.cuda.get_device_name(self.torch)

    def synchronize(self) -> None:
        """Wait until the GPU has finished all queued work."""
        torch.cuda.synchronize(self.torch)

    def current(self) -> AbstractContextManager[object]:
        """Return a context in which new events and streams belong to this GPU."""
        return torch.cuda.device(self.torch)

    def timer(self) -> Timer:
        """Return a timer by events before and after a pass."""
        return EventTimer(_event, self.synchronize)

    def marks(self) -> Marks:
        """Return marks by events within a pass."""
        return EventMarks(_event, self.synchronize, _keep_busy)

    def free_memory(self) -> int:
        """Return the bytes that can be allocated now."""
        return torch.cuda.mem_get_info(self.torch)[0]

    def release_cached(self) -> None:
        """Release the memory that torch caches, which the driver counts as used."""
        gc.collect()
        torch.cuda.empty_cache()

    def reset_peak(self) -> int | None:
        """Reset the allocator's peak; return the bytes that it has handed out."""
        torch.cuda.reset_peak_memory_stats(self.torch)
        return torch.cuda.memory_allocated(self.torch)

    def peak(self) -> int | None:
        """Return the most bytes that the allocator has handed out since the reset."""
        return torch.cuda.max_memory_allocated(self.torch)

    def driver_memory(self) -> int | None:
        """Return the bytes that this process takes on the GPU: also what torch caches, and the context."""
        return self.sensors().memory_of(os.getpid())

    def cache_bytes(self) -> int:
        """Return the size of the L2 cache in bytes; some drivers report 0 where they do not know it."""
        return int(torch.cuda.get_device_properties(self.torch).L2_cache_size) or UNKNOWN_CACHE

    def sensors(self) -> GpuReader:
        """Return a reader that asks NVML about this GPU."""
        return gpu_reader(torch.cuda.get_device_properties(self.torch))


def _event() -> torch.cuda.Event:
    return torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]


def _keep_busy(seconds: float) -> object:
    return torch.cuda._sleep(int(seconds * MOST_CLOCK_HZ))  # type: ignore[no-untyped-call]


def capability(device: torch.device) -> tuple[int, int]:
    """Return the compute capability of a GPU: major and minor version."""
    return torch.cuda.get_device_capability(device)


def driver_version() -> str | None:
    """Return the version of the NVIDIA driver by nvidia-smi, as torch does not know it; None where that fails."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip().partition("\n")[0] or None


def convolutions_use_tf32() -> bool:
    """Return whether float32 convolutions use TF32 on a GPU that has it."""
    with _quiet():
        return torch.backends.cudnn.allow_tf32


@contextmanager
def without_tf32() -> Iterator[None]:
    """Turn TF32 off for convolutions in this block."""
    with _quiet(), torch.backends.cudnn.flags(enabled=torch.backends.cudnn.enabled, allow_tf32=False):
        yield


@contextmanager
def products_as_convolutions() -> Iterator[None]:
    """Let matrix products use TF32 in this block where convolutions do."""
    with _quiet():
        before = torch.backends.cuda.matmul.allow_tf32
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32
        try:
            yield
        finally:
            torch.backends.cuda.matmul.allow_tf32 = before


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the advice of some versions of torch to set TF32 in a way that older versions do not have."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Please use the new API settings to control TF32", UserWarning)
        yield
