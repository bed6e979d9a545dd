"""Count the bytes of storages that are alive during a pass."""

import weakref
from functools import cache
from typing import Any

from torch import Tensor


def storage_key(tensor: Tensor) -> int:
    """Return the identity of a tensor's storage, on any device; all views of a tensor have the same one.

    A tensor without a storage, as a sparse one, has its own identity.
    """
    try:
        return int(tensor.untyped_storage()._cdata)
    except NotImplementedError:
        return id(tensor)


class LiveStorages:
    """The storages that a pass made and that are still alive, without the scratch space of kernels.

    Attributes:
        bytes: the bytes that are alive now.
        peak: the most bytes that were alive at the same time.
        learned: the keys of storages that depend on parameters.
    """

    def __init__(self) -> None:
        self.bytes = 0
        self.peak = 0
        self.learned: set[int] = set()
        self._alive: set[int] = set()

    def __contains__(self, key: int) -> bool:
        return key in self._alive

    def add(self, tensor: Tensor) -> None:
        """Count the storage of a new tensor until nothing refers to it."""
        storage = tensor.untyped_storage()
        key = int(storage._cdata)
        if key in self._alive:
            return
        self._alive.add(key)
        size = storage.nbytes()
        self.bytes += size
        self.peak = max(self.peak, self.bytes)
        weakref.finalize(storage, self._remove, key, size).atexit = False

    def _remove(self, key: int, size: int) -> None:
        self._alive.discard(key)
        self.learned.discard(key)  # a later storage may get the same key
        self.bytes -= size


@cache
def is_alias(func: Any) -> bool:
    """Return whether an operation returns an argument or a view of it, and so makes no storage."""
    return any(output.alias_info is not None for output in func._schema.returns)
