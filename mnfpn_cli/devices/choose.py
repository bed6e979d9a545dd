"""The devices of this machine: which there are, and what each kind of them gives."""

import ctypes
import gc
import sys
from collections.abc import Sequence

import torch

from mnfpn_cli.devices.cpu import Cpu
from mnfpn_cli.devices.cuda import Cuda
from mnfpn_cli.devices.device import Device
from mnfpn_cli.devices.mps import Mps
from mnfpn_cli.errors import MnfpnError, Problem
from mnfpn_cli.text import first_line

KINDS: tuple[type[Device], ...] = (Cuda, Mps, Cpu)
"""The kinds of devices, the best first."""


def device_of(device: torch.device) -> Device:
    """Give what is known of a device of torch's."""
    kind = next((one for one in KINDS if one.kind == device.type), Device)
    return kind(device)


def find_devices() -> list[str]:
    """The devices of this machine, the best first: ``cuda:0``, …, ``mps``, ``cpu``."""
    return [name for kind in KINDS for name in kind.find()]


def choose_devices(names: Sequence[str]) -> list[torch.device]:
    """The devices of these names, each once; ``auto`` is the best there is.

    Raises:
        MnfpnError: where this machine has no such device.
    """
    found = find_devices()
    for name in names:
        if name not in (*found, "auto") and f"{name}:0" not in found:
            there = ", ".join(device_of(torch.device(device)).describe() for device in found)
            raise MnfpnError(Problem("`device`", "must be a device of this machine", f"'{name}'", f"; found: {there}"))
    # Always with an index: some of torch's functions take no CUDA device without one.
    full_names = {"auto": found[0], "cuda": "cuda:0"}
    devices = [torch.device(name) for name in dict.fromkeys(full_names.get(name, name) for name in names)]
    for device in devices:
        _start(device)
    return devices


def _start(device: torch.device) -> None:
    """Allocate one number on a device.

    Raises:
        MnfpnError: where the device is there and cannot be used: an old driver, another process's exclusive use.
    """
    try:
        torch.zeros(1, device=device)
    except RuntimeError as error:
        rule = f"{device} is there, but could not be started: {first_line(error)}"
        raise MnfpnError(Problem("`device`", rule)) from error


class PeakMemory:
    """The peak of memory in use since it was made, and how much of it came since then.

    On CUDA the bytes that torch's allocator handed out on the device; on the CPU the resident set of the whole process
    (Python and torch included); on other devices not known.
    """

    def __init__(self, device: torch.device) -> None:
        give_back_freed(device)
        self._device = device_of(device)
        self._before = self._device.reset_peak()

    def bytes(self) -> int | None:
        """The peak in bytes; None where it cannot be known."""
        return self._device.peak()

    def added(self) -> int | None:
        """The peak less what was in use when this was made; None where it cannot be known."""
        peak = self.bytes()
        return None if peak is None or self._before is None else max(0, peak - self._before)


def give_back_freed(device: torch.device) -> None:
    """Return what is free to the device and to the system: else taking it again would not show. Takes 0.1 s."""
    gc.collect()
    device_of(device).give_back_freed()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim:
        trim(0)
