"""Memory: refuse what cannot fit, and put out-of-memory errors in words."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from mnfpn_cli.devices.choose import device_of
from mnfpn_cli.errors import MnfpnError, Problem, UsageError
from mnfpn_cli.external.origin import Inputs
from mnfpn_cli.plan.cost import activation_bytes, memory_needed
from mnfpn_cli.plan.network import NetworkPlan
from mnfpn_cli.settings.input import DType, NetworkInput

SIGNS = ("DefaultCPUAllocator", "Failed to allocate", "bad_alloc")
"""What torch, OpenVINO and ONNX Runtime say, and C++."""


@dataclass(frozen=True, slots=True)
class Needed:
    """Bytes that an inference pass certainly takes: of the weights, and of what is alive at its peak."""

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
    here = device_of(device)
    here.give_back_freed()
    total, free = needed.weights + needed.activations, here.free_memory()
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
