"""What this machine runs networks by."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnfpn_cli.api.arguments import words
from mnfpn_cli.settings.measuring import check_device_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnfpn_cli.documents.runtimes import RuntimesDocument


def runtimes(device: str | Sequence[str] | None = None) -> RuntimesDocument:
    """Return which runtimes and dtypes this machine has, and what is missing.

    A dtype is native where the CPU has instructions for it, and emulated where it has none: it is slow then. Nothing is
    run, and packages are looked for without importing them where that is possible.

    Args:
        device: of this machine, or a list of them; all that it has where it is not given.

    Raises:
        UsageError: where the name of a device is not well formed.
        MnfpnError: where this machine does not have the device, or it does not start.

    Examples:
        >>> import mnfpn_cli.api as mnfpn
        >>> document = mnfpn.runtimes("cpu")
        >>> document.runtimes[0].name, document.runtimes[0].package
        ('eager', 'torch')
        >>> [one.dtype for one in document.runtimes[0].abilities if one.no_training is None]
        ['float32', 'bfloat16', 'float16']
    """
    names = None if device is None else [check_device_name(name) for name in words("device", device)]

    import torch

    from mnfpn_cli.bench.inventory import runtimes_document
    from mnfpn_cli.devices.choose import choose_devices, find_devices

    return runtimes_document(map(torch.device, find_devices()) if names is None else choose_devices(names))
