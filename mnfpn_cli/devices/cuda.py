"""GPUs of NVIDIA's, by CUDA: all that mnfpn asks of `torch.cuda`, but for what runtimes need to run on it.

TF32 is float32 with 10 bits of fraction, which these GPUs multiply several times as fast. By torch's default its
convolutions use it where they are in float32, and its matrix products do not.
"""

import gc
import subprocess
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import ClassVar

import torch

from mnfpn_cli.devices.clocks import EventMarks, EventTimer, Marks, Timer
from mnfpn_cli.devices.device import UNKNOWN_CACHE, Device
from mnfpn_cli.devices.nvml import GpuReader, gpu_reader

MOST_CLOCK_HZ = 3e9
"""More than the clock of any GPU: what is waited for in its cycles lasts no less than was asked for."""


class Cuda(Device):
    """A GPU with a queue; its memory in use is what torch's allocator handed out on it."""

    kind: ClassVar[str] = "cuda"

    @classmethod
    def find(cls) -> list[str]:
        """Name the GPUs. The driver counts them even where it is too old for this torch to use them."""
        return [f"cuda:{index}" for index in range(torch.cuda.device_count())] if torch.cuda.is_available() else []

    def model(self) -> str | None:
        """Name the product."""
        return torch.cuda.get_device_name(self.torch)

    def synchronize(self) -> None:
        """Wait until the GPU has done all that was queued."""
        torch.cuda.synchronize(self.torch)

    def current(self) -> AbstractContextManager[object]:
        """Make it the GPU whose stream new events are put on."""
        return torch.cuda.device(self.torch)

    def timer(self) -> Timer:
        """Give events around a pass."""
        return EventTimer(_event, self.synchronize)

    def marks(self) -> Marks:
        """Give events within a pass."""
        return EventMarks(_event, self.synchronize, _keep_busy)

    def free_memory(self) -> int:
        """Count the bytes that can be allocated now."""
        return torch.cuda.mem_get_info(self.torch)[0]

    def release_cached(self) -> None:
        """Return memory that torch keeps for itself, and that seems in use."""
        gc.collect()
        torch.cuda.empty_cache()

    def reset_peak(self) -> int | None:
        """Let the allocator's peak start anew; return the bytes that it has handed out."""
        torch.cuda.reset_peak_memory_stats(self.torch)
        return torch.cuda.memory_allocated(self.torch)

    def peak(self) -> int | None:
        """Return the most bytes that the allocator had handed out."""
        return torch.cuda.max_memory_allocated(self.torch)

    def cache_bytes(self) -> int:
        """Return the size of the L2 cache; some drivers say 0, which means that they do not know."""
        return int(torch.cuda.get_device_properties(self.torch).L2_cache_size) or UNKNOWN_CACHE

    def sensors(self) -> GpuReader:
        """Give what asks NVML about this GPU. Not by torch's index, which CUDA_VISIBLE_DEVICES gives anew."""
        return gpu_reader(torch.cuda.get_device_properties(self.torch))


def _event() -> torch.cuda.Event:
    return torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]


def _keep_busy(seconds: float) -> object:
    return torch.cuda._sleep(int(seconds * MOST_CLOCK_HZ))  # type: ignore[no-untyped-call]


def capability(device: torch.device) -> tuple[int, int]:
    """Give the compute capability of a GPU."""
    return torch.cuda.get_device_capability(device)


def driver_version() -> str | None:
    """The version of the NVIDIA driver, which torch does not know."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip().partition("\n")[0] or None


def convolutions_use_tf32() -> bool:
    """Whether they do, on a GPU that has it."""
    with _quiet():
        return torch.backends.cudnn.allow_tf32


@contextmanager
def without_tf32() -> Iterator[None]:
    """Have convolutions compute in float32 to its last bit."""
    with _quiet(), torch.backends.cudnn.flags(enabled=torch.backends.cudnn.enabled, allow_tf32=False):
        yield


@contextmanager
def products_as_convolutions() -> Iterator[None]:
    """Let matrix products use TF32 where convolutions do."""
    with _quiet():
        before = torch.backends.cuda.matmul.allow_tf32
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32
        try:
            yield
        finally:
            torch.backends.cuda.matmul.allow_tf32 = before


@contextmanager
def _quiet() -> Iterator[None]:
    """Some versions of torch advise a newer way to set this, which older ones do not have."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Please use the new API settings to control TF32", UserWarning)
        yield
