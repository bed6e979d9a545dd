"""Memory: refuse a run that cannot fit, measure the peak of one that does, and explain out-of-memory errors."""

import ctypes
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from mnfpn_cli.devices.choose import device_of
from mnfpn_cli.devices.device import Device
from mnfpn_cli.errors import MnfpnError, Problem, UsageError
from mnfpn_cli.external.origin import Inputs
from mnfpn_cli.plan.cost import activation_bytes, memory_needed
from mnfpn_cli.plan.network import NetworkPlan
from mnfpn_cli.settings.input import DType, NetworkInput

SIGNS = ("DefaultCPUAllocator", "Failed to allocate", "bad_alloc")
"""Texts in the out-of-memory errors of torch, of OpenVINO and ONNX Runtime, and of C++."""


@dataclass(frozen=True, slots=True)
class Needed:
    """Lower bounds of the memory of an inference pass, in bytes: its weights, and the maps alive at its peak."""

    weights: int
    activations: int


def check_fits(plan: NetworkPlan, input: NetworkInput, dtype: DType, device: torch.device) -> None:
    """Refuse a network from settings whose weights and activations alone need more memory than a device has free.

    Raises:
        UsageError: where they do.
    """
    check_needed(needed_by(plan, input, dtype), input, dtype, device)


def needed_by(plan: NetworkPlan, input: NetworkInput, dtype: DType) -> Needed:
    """Return what a network from settings needs."""
    activations = activation_bytes(plan, input, dtype)
    return Needed(memory_needed(plan, input, dtype) - activations, activations)


def check_needed(needed: Needed, input: Inputs, dtype: DType, device: torch.device) -> None:
    """Refuse any network that needs more memory than a device has free.

    Raises:
        UsageError: where it does.
    """
    memory = device_of(device)
    memory.release_cached()
    total, free = needed.weights + needed.activations, memory.free_memory()
    if total > free:
        where, what = "`input`", str(input.size)
        if isinstance(input, NetworkInput):
            where, what = "`size`, `batch`", f"{input.batch} × {input.channels} × {input.size}"
        rule = (
            f"must fit the memory that {device} has free, {_gib(free)}; "
            f"in {dtype} {what} needs at least {_gib(total)}, {_gib(needed.weights)} of them weights"
        )
        raise UsageError(Problem(where, rule))


def _gib(number: int) -> str:
    return f"{number / 2**30:.1f} GiB"


class PeakMemory:
    """The peak of memory in use since this object was created, and by how much it exceeds the memory in use then.

    On CUDA this is what torch's allocator handed out on the device; on the CPU the resident set of the whole process
    (Python and torch included); on other devices it is not known.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device_of(device)
        _release_freed(self._device)
        self._before = self._device.reset_peak()

    def bytes(self) -> int | None:
        """Return the peak in bytes; None where it is not known."""
        return self._device.peak()

    def added(self) -> int | None:
        """Return the bytes by which the peak exceeds the memory in use before; None where it is not known."""
        peak = self.bytes()
        return None if peak is None or self._before is None else max(0, peak - self._before)


def _release_freed(device: Device) -> None:
    """Return freed memory to the device and to the system: else its reuse would not show in a peak. Takes 0.1 s."""
    gc.collect()
    device.release_cached()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim:
        trim(0)


def ran_out_of_memory(error: Exception) -> bool:
    """Return whether an error means out of memory; CPU allocators and other runtimes have no class of error for it."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(sign in str(error) for sign in SIGNS)


@contextmanager
def out_of_memory_explained(doing: str) -> Iterator[None]:
    """Turn the out-of-memory errors of torch and of other runtimes into one error.

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
