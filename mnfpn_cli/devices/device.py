"""The base class of devices. A new kind of device is a new file, and an entry in `mnfpn_cli.devices.choose.KINDS`."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import ClassVar

import psutil
import torch

from mnfpn_cli.devices.nvml import GpuReader, NoGpuReader
from mnfpn_cli.devices.timers import HostMarks, HostTimer, Marks, Timer

UNKNOWN_CACHE = 64 * 2**20
"""Assumed size in bytes of caches whose size is unknown: larger than most."""

CLEARING_FACTOR = 2
"""To clear a cache, this many times its size is written: replacement is not exactly by age."""


class Device:
    """A device that works synchronously, with nothing else known. Subclasses override what their kind of device has."""

    kind: ClassVar[str] = ""

    def __init__(self, device: torch.device) -> None:
        self.torch = device

    @classmethod
    def find(cls) -> list[str]:
        """Return the names of this machine's devices of this kind, the best first."""
        return []

    def model(self) -> str | None:
        """Return the name of the product; None for a CPU, whose name takes a second to read, and other devices."""
        return None

    def describe(self) -> str:
        """Return the device's name, with the product where it is known: ``cuda:0 (NVIDIA H100)``."""
        model = self.model()
        return f"{self.torch} ({model})" if model else str(self.torch)

    def synchronize(self) -> object:
        """Wait until the device has finished all queued work."""
        return None

    def current(self) -> AbstractContextManager[object]:
        """Return a context in which new events and streams belong to this device."""
        return nullcontext()

    def timer(self) -> Timer:
        """Return a timer of passes."""
        return HostTimer(synchronize=self.synchronize)

    def marks(self) -> Marks:
        """Return marks for points within a pass."""
        return HostMarks(synchronize=self.synchronize)

    def free_memory(self) -> int:
        """Return the bytes that can be allocated now."""
        return int(psutil.virtual_memory().available)

    def release_cached(self) -> None:
        """Release the memory that torch caches."""

    def reset_peak(self) -> int | None:
        """Reset the peak of memory in use; return the bytes in use now, None where they are not known."""
        return None

    def peak(self) -> int | None:
        """Return the peak of memory in use in bytes; None where it is not known."""
        return None

    def driver_memory(self) -> int | None:
        """Return the bytes that this process takes on the device, by the driver; None where it does not say."""
        return None

    def cache_bytes(self) -> int:
        """Return the size of the last-level cache in bytes."""
        return UNKNOWN_CACHE

    def cache_clearer(self) -> Callable[[], object]:
        """Return a function that clears the last-level cache by writing more than it holds."""
        buffer = torch.empty(CLEARING_FACTOR * self.cache_bytes(), dtype=torch.uint8, device=self.torch)
        return buffer.zero_

    def sensors(self) -> GpuReader:
        """Return a reader of clocks, temperature and power."""
        return NoGpuReader()
