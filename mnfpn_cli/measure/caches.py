"""Clearing the caches between passes, so that each finds its data in memory."""

from collections.abc import Callable
from pathlib import Path

import torch

UNKNOWN_CACHE = 64 * 2**20
"""Bytes to assume where the system does not say how large its caches are: more than most have."""

TIMES = 2
"""How much more than the cache is written: replacement is not exactly by age."""


def cache_clearer(device: torch.device) -> Callable[[], object]:
    """What pushes everything out of the device's last cache: writing more than it holds."""
    buffer = torch.empty(TIMES * cache_bytes(device), dtype=torch.uint8, device=device)
    return buffer.zero_


def cache_bytes(device: torch.device, caches: Path = Path("/sys/devices/system/cpu/cpu0/cache")) -> int:
    """The size of the device's last cache: L2 on a GPU, the largest level on a CPU."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).L2_cache_size) or UNKNOWN_CACHE
    sizes = [_bytes(file.read_text()) for file in caches.glob("index*/size")] if device.type == "cpu" else []
    return max(sizes, default=UNKNOWN_CACHE)


def _bytes(text: str) -> int:
    """Read ``32768K``."""
    units = {"K": 2**10, "M": 2**20, "G": 2**30}
    number = text.strip()
    return int(number.rstrip("KMG")) * units.get(number[-1:], 1)
