"""Apple GPUs, through torch's Metal Performance Shaders."""

from typing import ClassVar

import torch

from mnfpn_cli.devices.device import Device


class Mps(Device):
    """The GPU of an Apple computer: it works asynchronously, and shares the system's memory."""

    kind: ClassVar[str] = "mps"
    synchronize = staticmethod(torch.mps.synchronize)

    @classmethod
    def find(cls) -> list[str]:
        """Return the GPU, where torch can use it."""
        return ["mps"] if torch.backends.mps.is_available() else []
