"""GPUs of Apple's, by torch's Metal Performance Shaders."""

from typing import ClassVar

import torch

from mnfpn_cli.devices.device import Device


class Mps(Device):
    """The GPU of an Apple computer: it has a queue of its own, and its memory is the system's."""

    kind: ClassVar[str] = "mps"
    synchronize = staticmethod(torch.mps.synchronize)

    @classmethod
    def find(cls) -> list[str]:
        """Name the GPU, where torch can use it."""
        return ["mps"] if torch.backends.mps.is_available() else []
