"""The devices of this machine: which there are, what they are called, how much memory they have free."""

from collections.abc import Sequence
from pathlib import Path

import psutil
import torch

from mnfpn_cli.errors import MnfpnError


def find_devices() -> list[str]:
    """The devices of this machine, the best first: ``cuda:0``, …, ``mps``, ``cpu``."""
    cuda = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    mps = ["mps"] if torch.backends.mps.is_available() else []
    return [*cuda, *mps, "cpu"]


def choose_devices(names: Sequence[str]) -> list[torch.device]:
    """The devices of these names, each once; ``auto`` is the best there is.

    Raises:
        MnfpnError: where this machine has no such device.
    """
    found = find_devices()
    for name in names:
        if name not in (*found, "auto") and f"{name}:0" not in found:
            there = ", ".join(describe(torch.device(device)) for device in found)
            raise MnfpnError(f"--device: must be a device of this machine, got '{name}'; found: {there}")
    return [torch.device(name) for name in dict.fromkeys(found[0] if name == "auto" else name for name in names)]


def describe(device: torch.device) -> str:
    """A device's name, with the model where it is a GPU: ``cuda:0 (NVIDIA H100)``."""
    return f"{device} ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else str(device)


def free_memory(device: torch.device) -> int:
    """Bytes that can be allocated on a device now, within the limits of the container that this runs in."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return min(psutil.virtual_memory().available, _left_in_cgroup())


def _left_in_cgroup(folder: Path = Path("/sys/fs/cgroup")) -> int:
    """What the control group of a Linux container leaves; psutil reports the whole machine."""
    try:
        limit = int((folder / "memory.max").read_text())
        return max(0, limit - int((folder / "memory.current").read_text()))
    except (OSError, ValueError):  # not Linux, not in a group, or "max": no limit
        return 2**63
