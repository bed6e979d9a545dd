"""Memory: refusing what cannot fit, the peak of a measurement, and out-of-memory errors in words."""

import ctypes
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

from mnfpn_cli.errors import MnfpnError, UsageError
from mnfpn_cli.external.inputs import Inputs
from mnfpn_cli.measure.devices import free_memory
from mnfpn_cli.plan.memory import activation_bytes, memory_needed
from mnfpn_cli.plan.network import NetworkPlan
from mnfpn_cli.settings.input import DType, NetworkInput

SIGNS = ("DefaultCPUAllocator", "Failed to allocate", "bad_alloc")
"""What torch, OpenVINO and ONNX Runtime say, and C++."""


@dataclass(frozen=True, slots=True)
class Needed:
    """Bytes that an inference pass certainly takes: of the weights, and of what is alive at its fullest moment."""

    weights: int
    activations: int


def check_fits(plan: NetworkPlan, input: NetworkInput, dtype: DType, device: torch.device) -> None:
    """Refuse a run whose weights and activations alone are more than a device has free.

    Raises:
        UsageError: where they are.
    """
    check_needed(needed_by(plan, input, dtype), input, dtype, device)


def needed_by(plan: NetworkPlan, input: NetworkInput, dtype: DType) -> Needed:
    """What a network from settings needs."""
    activations = activation_bytes(plan, input, dtype)
    return Needed(memory_needed(plan, input, dtype) - activations, activations)


def check_needed(needed: Needed, input: Inputs, dtype: DType, device: torch.device) -> None:
    """The same of any network.

    Raises:
        UsageError: where it is more than the device has free.
    """
    if device.type == "cuda":
        give_back_freed(device)  # torch keeps what is free, and it seems in use
    total, free = needed.weights + needed.activations, free_memory(device)
    if total > free:
        options, what = "--input", str(input.size)
        if isinstance(input, NetworkInput):
            options, what = "--size, --batch", f"{input.batch} × {input.channels} × {input.size}"
        raise UsageError(
            f"{options}: must fit the memory that {device} has free, {_gib(free)}; "
            f"in {dtype} {what} needs at least {_gib(total)}, {_gib(needed.weights)} of them weights"
        )


def _gib(number: int) -> str:
    return f"{number / 2**30:.1f} GiB"


def ran_out_of_memory(error: Exception) -> bool:
    """Whether that is what happened. CPU allocators, and those of other runtimes, raise no class of their own."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(sign in str(error) for sign in SIGNS)


@contextmanager
def out_of_memory_explained(doing: str) -> Iterator[None]:
    """Turn the ways in which torch and other runtimes run out of memory into one error.

    Raises:
        MnfpnError: where the block runs out of memory.
    """
    try:
        yield
    except MnfpnError:
        raise
    except Exception as error:
        if not ran_out_of_memory(error):
            raise
        raise MnfpnError(f"out of memory {doing}") from error


class PeakMemory:
    """The peak of memory in use since it was made, and how much of it came since then.

    On CUDA the bytes that torch's allocator handed out on the device; on the CPU the resident set of the whole process
    (Python and torch included); on other devices not known.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._before: int | None = None
        give_back_freed(device)
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            self._before = torch.cuda.memory_allocated(device)
        elif device.type == "cpu":
            _reset_resident_peak()
            self._before = psutil.Process().memory_info().rss

    def bytes(self) -> int | None:
        """The peak in bytes; None where it cannot be known."""
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device)
        return _resident_peak() if self._device.type == "cpu" else None

    def added(self) -> int | None:
        """The peak less what was in use when this was made; None where it cannot be known."""
        peak = self.bytes()
        return None if peak is None or self._before is None else max(0, peak - self._before)


def give_back_freed(device: torch.device) -> None:
    """Return what is free to the device or the system: else taking it again would not show. Takes 0.1 s."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim:
        trim(0)


def _reset_resident_peak() -> None:
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return  # not Linux, or not allowed: the peak is then that of the process's life


def _resident_peak() -> int | None:
    try:
        fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
        return int(fields["VmHWM"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return _peak_of_life()


def _peak_of_life() -> int | None:
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    import resource  # Unix only

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
