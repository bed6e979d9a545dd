"""The memory of activations that are alive together, followed operation by operation."""

import weakref
from functools import cache
from typing import Any

from torch import Tensor


def storage_key(tensor: Tensor) -> int:
    """What tells storages apart, on every device: views of one tensor have the same."""
    return int(tensor.untyped_storage()._cdata)


class LiveStorages:
    """The bytes of what a pass has made and still holds, and the most that it ever did.

    What eager execution holds, storage by storage; the scratch space of kernels is not in it. ``learned``: the storages
    that depend on parameters.
    """

    def __init__(self) -> None:
        self.bytes = 0
        self.peak = 0
        self.learned: set[int] = set()
        self._alive: set[int] = set()

    def __contains__(self, key: int) -> bool:
        return key in self._alive

    def made(self, tensor: Tensor) -> None:
        """A tensor was made; its storage counts until nothing refers to it."""
        storage = tensor.untyped_storage()
        key = int(storage._cdata)
        if key in self._alive:
            return
        self._alive.add(key)
        size = storage.nbytes()
        self.bytes += size
        self.peak = max(self.peak, self.bytes)
        weakref.finalize(storage, self._gone, key, size).atexit = False

    def _gone(self, key: int, size: int) -> None:
        self._alive.discard(key)
        self.learned.discard(key)  # the next storage may be at the same place
        self.bytes -= size


@cache
def is_alias(func: Any) -> bool:
    """Whether an operation returns its own argument, or a view of it: nothing new is made."""
    return any(output.alias_info is not None for output in func._schema.returns)
