"""Peak rates of a device: MACs a second in a large matrix product, bytes a second in a large copy."""

from collections.abc import Callable

import torch

from mnfpn_cli.devices.choose import device_of
from mnfpn_cli.devices.cuda import products_as_convolutions
from mnfpn_cli.devices.timers import Timer
from mnfpn_cli.plan.roofline import Peaks
from mnfpn_cli.settings.input import ITEM_BYTES, DType

SIDES = (256, 512, 1024, 1536, 2048, 3072, 4096, 6144, 8192)
"""Sides of the square matrices, ascending: each product takes 2 to 8 times as long as the one before."""
ENOUGH_S = 0.1
"""A product that takes this long is large enough. A CPU without instructions for a dtype reaches it early."""
REPEATS = 3
"""Timed runs after the warm-up; the fastest counts."""
COPY_BYTES = {"cuda": 2**30}
COPY_BYTES_ELSEWHERE = 2**28
"""Bytes that a copy reads, by the type of device."""
MEMORY_PARTS = 8
"""A matrix, or a side of the copy, may take one of this many parts of the free memory."""


def measure_peaks(device: torch.device, dtype: DType, timer: Timer) -> Peaks:
    """Return the highest rates measured after a warm-up. Takes a few seconds on a CPU, a fraction of one on a GPU.

    The product uses the arithmetic of torch's convolutions: in float32 on a GPU that may be TF32. On a CPU a dtype of
    16 bits can always be computed in float32, so its peak is at least that of float32: torch's product in a dtype that
    the CPU has no instructions for measures torch rather than the CPU.
    """
    dtypes: set[DType] = {dtype, "float32"} if device.type == "cpu" else {dtype}
    with torch.inference_mode():
        macs_per_s = max(_macs_per_s(device, dtype, timer) for dtype in sorted(dtypes))
        return Peaks(macs_per_s, _bytes_per_s(device, timer))


def _macs_per_s(device: torch.device, dtype: DType, timer: Timer) -> float:
    room = device_of(device).free_memory() // MEMORY_PARTS
    best = 0.0
    with products_as_convolutions():
        for side in SIDES:
            if best and side * side * ITEM_BYTES[dtype] > room:
                break
            seconds = _fastest(_product(device, getattr(torch, dtype), side), timer, stop_at=ENOUGH_S)
            best = max(best, side**3 / seconds)
            if seconds >= ENOUGH_S:
                break
    return best


def _product(device: torch.device, dtype: torch.dtype, side: int) -> Callable[[], object]:
    """Return a function that multiplies two square matrices into memory allocated before."""
    a, b = (torch.rand(side, side, device=device).to(dtype) for _ in range(2))
    out = torch.empty_like(a)
    return lambda: torch.mm(a, b, out=out)


def _bytes_per_s(device: torch.device, timer: Timer) -> float:
    size = min(COPY_BYTES.get(device.type, COPY_BYTES_ELSEWHERE), device_of(device).free_memory() // MEMORY_PARTS)
    # Ones, not zeros: the system allocates a page of zeros only when it is written.
    source = torch.ones(max(size // 4, 1), dtype=torch.int32, device=device)
    target = torch.ones_like(source)
    return 2 * source.nbytes / _fastest(lambda: target.copy_(source), timer)


def _fastest(run: Callable[[], object], timer: Timer, stop_at: float = float("inf")) -> float:
    """Return the fewest seconds of `REPEATS` runs after a warm-up; the warm-up's where it takes 10 × ``stop_at``."""
    first = timer(run).seconds
    if first >= 10 * stop_at:
        return first
    return min(timer(run).seconds for _ in range(REPEATS))
