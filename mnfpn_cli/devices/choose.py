"""Find the devices of this machine, choose some by name, and wrap a torch device in the class of its kind."""

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
    """Wrap a torch device in the class of its kind."""
    cls = next((cls for cls in KINDS if cls.kind == device.type), Device)
    return cls(device)


def find_devices() -> list[str]:
    """Return the names of this machine's devices, the best first: ``cuda:0``, …, ``mps``, ``cpu``."""
    return [name for cls in KINDS for name in cls.find()]


def choose_devices(names: Sequence[str]) -> list[torch.device]:
    """Return the devices of these names, each once; ``auto`` is the best device of this machine.

    Raises:
        MnfpnError: where this machine has no device of such a name, or the device does not start.
    """
    available = find_devices()
    for name in names:
        if name not in (*available, "auto") and f"{name}:0" not in available:
            found = ", ".join(device_of(torch.device(device)).describe() for device in available)
            raise MnfpnError(Problem("`device`", "must be a device of this machine", f"'{name}'", f"; found: {found}"))
    # Always with an index: some functions of torch take no CUDA device without one.
    full_names = {"auto": available[0], "cuda": "cuda:0"}
    devices = [torch.device(name) for name in dict.fromkeys(full_names.get(name, name) for name in names)]
    for device in devices:
        _start(device)
    return devices


def _start(device: torch.device) -> None:
    """Start a device by allocating one number on it.

    Raises:
        MnfpnError: where the device cannot be used: the driver is too old, or another process has it for itself.
    """
    try:
        torch.zeros(1, device=device)
    except RuntimeError as error:
        rule = f"{device} was found, but could not be started: {first_line(error)}"
        raise MnfpnError(Problem("`device`", rule)) from error
