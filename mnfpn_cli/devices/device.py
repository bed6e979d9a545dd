"""What a kind of device gives to measurements. A new kind is a new file, and a line in `mnfpn_cli.devices.choose`."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import ClassVar

import psutil
import torch

from mnfpn_cli.devices.clocks import HostMarks, HostTimer, Marks, Timer
from mnfpn_cli.devices.nvml import GpuReader, NoGpuReader

UNKNOWN_CACHE = 64 * 2**20
"""Bytes to assume where nothing says how large a device's caches are: more than most have."""

TIMES = 2
"""How much more than the cache is written to clear it: replacement is not exactly by age."""


class Device:
    """A device that works as the host does, and of which nothing else is known. Kinds override what they have."""

    kind: ClassVar[str] = ""

    def __init__(self, device: torch.device) -> None:
        self.torch = device

    @classmethod
    def find(cls) -> list[str]:
        """Name the devices of this kind that this machine has, the best first."""
        return []

    def model(self) -> str | None:
        """Name the product; None where that is not asked for, as of a CPU, whose name takes a second."""
        return None

    def describe(self) -> str:
        """Name the device, with the product where it has a name: ``cuda:0 (NVIDIA H100)``."""
        model = self.model()
        return f"{self.torch} ({model})" if model else str(self.torch)

    def synchronize(self) -> object:
        """Wait until the device has done all that was queued."""
        return None

    def current(self) -> AbstractContextManager[object]:
        """Make it the device that new events and streams belong to."""
        return nullcontext()

    def timer(self) -> Timer:
        """Give what takes the time of a pass."""
        return HostTimer(synchronize=self.synchronize)

    def marks(self) -> Marks:
        """Give what marks points within a pass."""
        return HostMarks(synchronize=self.synchronize)

    def free_memory(self) -> int:
        """Count the bytes that can be allocated now."""
        return int(psutil.virtual_memory().available)

    def release_cached(self) -> None:
        """Return memory that torch keeps for itself."""

    def reset_peak(self) -> int | None:
        """Let the peak of memory in use start anew; return the bytes in use, None where they cannot be known."""
        return None

    def peak(self) -> int | None:
        """Return the peak of memory in use, in bytes; None where it cannot be known."""
        return None

    def cache_bytes(self) -> int:
        """Return the size of the last cache."""
        return UNKNOWN_CACHE

    def cache_clearer(self) -> Callable[[], object]:
        """Give what pushes everything out of the last cache: a write of more than it holds."""
        buffer = torch.empty(TIMES * self.cache_bytes(), dtype=torch.uint8, device=self.torch)
        return buffer.zero_

    def sensors(self) -> GpuReader:
        """Give what reads clocks, temperature and power."""
        return NoGpuReader()
