"""Count the bytes of storages that are alive during a pass, and restore modules after it."""

import weakref
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from copy import copy
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn


def storage_key(tensor: Tensor) -> int:
    """Return the identity of a tensor's storage, on any device; all views of a tensor have the same one."""
    return int(tensor.untyped_storage()._cdata)


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


CONTAINERS = (dict, list, set, deque)
"""The types of attributes whose contents are restored."""


@contextmanager
def restore_modules(modules: Iterable[nn.Module], values: bool) -> Iterator[None]:
    """Restore the attributes of modules after the block: mode, hooks, parameters, buffers, lists and dictionaries.

    ``values``: whether to restore the values of parameters and buffers too, which takes a copy of them. On the meta
    device this is not needed, as a pass cannot change values there.
    """
    listed = list(modules)
    attributes = [(module, dict(vars(module)), list(_contents(module))) for module in listed]
    state = [tensor for module in listed for tensor in (*module._parameters.values(), *module._buffers.values())]
    states = [
        (tensor, tensor.data, tensor.requires_grad, tensor.detach().clone() if values else None)
        for tensor in {id(tensor): tensor for tensor in state}.values()
        if tensor is not None
    ]
    try:
        yield
    finally:
        for module, before, contents in attributes:
            vars(module).clear()
            vars(module).update(before)
            for container, items in contents:
                _refill(container, items)
        for tensor, data, gradient, value in states:
            _restore(tensor, data, gradient, value)


def _contents(module: nn.Module) -> Iterator[tuple[Any, Any]]:
    """Yield each container among a module's attributes, with a copy of it."""
    for value in vars(module).values():
        if isinstance(value, CONTAINERS):
            yield value, copy(value)


def _refill(container: Any, items: Any) -> None:
    container.clear()
    (container.extend if isinstance(container, list | deque) else container.update)(items)


@torch.no_grad()
def _restore(tensor: Tensor, data: Tensor, gradient: bool, value: Tensor | None) -> None:
    if storage_key(tensor) != storage_key(data):  # tensor.data was assigned
        tensor.data = data
    if value is not None:
        tensor.copy_(value)
    if tensor.is_leaf and tensor.requires_grad != gradient:
        tensor.requires_grad_(gradient)
