"""What a device can do at best: MACs a second in a large matrix product, bytes a second in a large copy."""

from collections.abc import Callable

import torch

from mnfpn_cli.devices.choose import device_of
from mnfpn_cli.devices.clocks import Timer
from mnfpn_cli.devices.cuda import products_as_convolutions
from mnfpn_cli.plan.roofline import Peaks
from mnfpn_cli.settings.input import ITEM_BYTES, DType

SIDES = (256, 512, 1024, 1536, 2048, 3072, 4096, 6144, 8192)
"""Sides of the matrices: products take 2 to 8 times as long from one to the next."""
ENOUGH_S = 0.1
"""A product that takes so long is large enough. A CPU without arithmetic of its own for a dtype gets there early."""
REPEATS = 3
COPY_BYTES = {"cuda": 2**30}
COPY_BYTES_ELSEWHERE = 2**28
SHARE_OF_MEMORY = 8
"""One over the share of the free memory that a matrix, or a side of the copy, may take."""


def measure_peaks(device: torch.device, dtype: DType, timer: Timer) -> Peaks:
    """The best rates that were seen, after a warm-up; a few seconds on a CPU, a fraction of one on a GPU.

    The product has the arithmetic that torch's convolutions use: in float32 on a GPU that may be TF32. On a CPU a dtype
    of 16 bits can always be computed in float32, so its peak is no lower than that: torch's product in a dtype that the
    CPU has no instructions for says more about torch.
    """
    dtypes: set[DType] = {dtype, "float32"} if device.type == "cpu" else {dtype}
    with torch.inference_mode():
        macs_per_s = max(_macs_per_s(device, one, timer) for one in sorted(dtypes))
        return Peaks(macs_per_s, _bytes_per_s(device, timer))


def _macs_per_s(device: torch.device, dtype: DType, timer: Timer) -> float:
    room = device_of(device).free_memory() // SHARE_OF_MEMORY
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
    """A product of square matrices that writes to a place that is there already."""
    a, b = (torch.rand(side, side, device=device).to(dtype) for _ in range(2))
    out = torch.empty_like(a)
    return lambda: torch.mm(a, b, out=out)


def _bytes_per_s(device: torch.device, timer: Timer) -> float:
    size = min(COPY_BYTES.get(device.type, COPY_BYTES_ELSEWHERE), device_of(device).free_memory() // SHARE_OF_MEMORY)
    # Ones, not zeros: memory that is only promised to hold zeros is not there until it is written.
    source = torch.ones(max(size // 4, 1), dtype=torch.int32, device=device)
    target = torch.ones_like(source)
    return 2 * source.nbytes / _fastest(lambda: target.copy_(source), timer)


def _fastest(run: Callable[[], object], timer: Timer, stop_at: float = float("inf")) -> float:
    """The fewest seconds of some runs after one that warms up; that one alone where it takes so long."""
    first = timer(run).seconds
    if first >= 10 * stop_at:
        return first
    return min(timer(run).seconds for _ in range(REPEATS))
