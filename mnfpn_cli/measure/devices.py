"""The devices of this machine: which there are, what they are called, how much memory they have free."""

from collections.abc import Sequence
from pathlib import Path

import psutil
import torch

from mnfpn_cli.errors import MnfpnError
from mnfpn_cli.text import first_line

UNLIMITED = 2**63


def find_devices() -> list[str]:
    """The devices of this machine, the best first: ``cuda:0``, …, ``mps``, ``cpu``."""
    # The driver counts GPUs even where it is too old for this torch to use them.
    cuda = [f"cuda:{index}" for index in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
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
    # Always with an index: some of torch's functions take no CUDA device without one.
    full_names = {"auto": found[0], "cuda": "cuda:0"}
    devices = [torch.device(name) for name in dict.fromkeys(full_names.get(name, name) for name in names)]
    for device in devices:
        _start(device)
    return devices


def describe(device: torch.device) -> str:
    """A device's name, with the model where it is a GPU: ``cuda:0 (NVIDIA H100)``."""
    return f"{device} ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else str(device)


def free_memory(device: torch.device) -> int:
    """Bytes that can be allocated on a device now, within the limits of the container that this runs in."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return min(psutil.virtual_memory().available, _left_in_cgroup())


def _start(device: torch.device) -> None:
    """Allocate one number on a device.

    Raises:
        MnfpnError: where the device is there and cannot be used: an old driver, another process's exclusive use.
    """
    try:
        torch.zeros(1, device=device)
    except RuntimeError as error:
        raise MnfpnError(f"--device: {device} is there, but could not be started: {first_line(error)}") from error


def _left_in_cgroup(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> int:
    """What the Linux control groups (version 2) above this process leave; psutil reports the whole machine."""
    try:
        line = next(line for line in own.read_text().splitlines() if line.startswith("0::"))
    except (OSError, StopIteration):
        return UNLIMITED
    group = root / line.removeprefix("0::").lstrip("/")
    return min(_left_in(folder) for folder in (group, *group.parents) if folder.is_relative_to(root))


def _left_in(group: Path) -> int:
    try:
        limit, used = (int((group / f"memory.{name}").read_text()) for name in ("max", "current"))
        fields = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):  # no such group, no control of memory, or "max": no limit
        return UNLIMITED
    # Cached files count as used until the memory is wanted.
    return max(0, limit - used + int(fields.get("inactive_file", 0)))
