"""Peak rates of a device: MACs a second in a large product or convolution, bytes a second in a large copy."""

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it

from mnfpn_cli.devices.choose import device_of
from mnfpn_cli.devices.cuda import products_as_convolutions
from mnfpn_cli.devices.timers import Timer
from mnfpn_cli.plan.roofline import Peaks
from mnfpn_cli.settings.input import ITEM_BYTES, DType

SIDES = (256, 512, 1024, 1536, 2048, 3072, 4096, 6144, 8192)
"""Sides of the square matrices, ascending: each product takes 2 to 8 times as long as the one before."""
CHANNELS, KERNEL, ROWS = 256, 2, 16
"""Of a convolution's map, its kernel, and the rows of its output; its columns follow from the MACs of the product.

Algorithms that multiply less, as Winograd's, are used for 3×3 and larger, not for 2×2.
"""
ENOUGH_S = 0.1
"""Work that takes this long is large enough. A CPU without instructions for a dtype reaches it early."""
REPEATS = 3
"""Timed runs after the warm-up; the fastest counts."""
COPY_BYTES = {"cuda": 2**30}
COPY_BYTES_ELSEWHERE = 2**28
"""Bytes that a copy reads, by the type of device."""
MEMORY_PARTS = 8
"""A matrix, a map, or a side of the copy may take one of this many parts of the free memory."""


def measure_peaks(device: torch.device, dtype: DType, timer: Timer) -> Peaks:
    """Return the highest rates measured after a warm-up. Takes a few seconds on a CPU, a fraction of one on a GPU.

    The product uses the arithmetic of torch's convolutions: in float32 on a GPU that may be TF32. On a CPU, products
    and convolutions are computed by different libraries, and either may be the faster: on an AMD EPYC of Zen 5, torch's
    product in float32 reaches 55 GMAC/s a core, its convolution 126. There a dtype of 16 bits can always be computed in
    float32, so its peak is at least that of float32: torch's product in a dtype that the CPU has no instructions for
    measures torch rather than the CPU.
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
            values = side**2 if device.type != "cpu" else max(side**2, CHANNELS * ROWS * _columns(side))
            if best and values * ITEM_BYTES[dtype] > room:
                break
            works = _works(device, getattr(torch, dtype), side)
            seconds = [_fastest(work, timer, stop_at=ENOUGH_S) for work in works]
            best = max(best, side**3 / min(seconds))
            if max(seconds) >= ENOUGH_S:
                break
    return best


def _works(device: torch.device, dtype: torch.dtype, side: int) -> Iterator[Callable[[], object]]:
    """Yield functions that take side³ MACs: a product of square matrices, and on a CPU a convolution."""
    a, b = (torch.rand(side, side, device=device).to(dtype) for _ in range(2))
    out = torch.empty_like(a)
    yield lambda: torch.mm(a, b, out=out)
    if device.type == "cpu":
        weight = torch.rand(CHANNELS, CHANNELS, KERNEL, KERNEL).to(dtype, memory_format=torch.channels_last)
        x = torch.rand(1, CHANNELS, ROWS + KERNEL - 1, _columns(side) + KERNEL - 1)
        x = x.to(dtype, memory_format=torch.channels_last)
        yield lambda: F.conv2d(x, weight)


def _columns(side: int) -> int:
    """Return the columns of the output of a convolution that takes side³ MACs."""
    return side**3 // ((CHANNELS * KERNEL) ** 2 * ROWS)


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
