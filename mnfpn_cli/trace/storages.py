"""The storages behind tensors: the memory that is alive together, and a network left as it was found."""

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


CONTAINERS = (dict, list, set, deque)


@contextmanager
def left_as_it_was(modules: Iterable[nn.Module], values: bool) -> Iterator[None]:
    """Put back all attributes of modules: mode, hooks, parameters, buffers, and what lists and dictionaries hold.

    ``values``: whether the numbers in parameters and buffers are put back too, which takes a copy of them. On the meta
    device nothing can change them.
    """
    seen = list(modules)
    attributes = [(module, dict(vars(module)), list(_contents(module))) for module in seen]
    tensors = {id(one): one for module in seen for one in (*module._parameters.values(), *module._buffers.values())}
    states = [
        (one, one.data, one.requires_grad, one.detach().clone() if values else None)
        for one in tensors.values()
        if one is not None
    ]
    try:
        yield
    finally:
        for module, before, contents in attributes:
            vars(module).clear()
            vars(module).update(before)
            for container, held in contents:
                _put_back(container, held)
        for tensor, data, gradient, value in states:
            _restore(tensor, data, gradient, value)


def _contents(module: nn.Module) -> Iterator[tuple[Any, Any]]:
    for value in vars(module).values():
        if isinstance(value, CONTAINERS):
            yield value, copy(value)


def _put_back(container: Any, held: Any) -> None:
    container.clear()
    (container.extend if isinstance(container, list | deque) else container.update)(held)


@torch.no_grad()
def _restore(tensor: Tensor, data: Tensor, gradient: bool, value: Tensor | None) -> None:
    if storage_key(tensor) != storage_key(data):  # tensor.data was assigned
        tensor.data = data
    if value is not None:
        tensor.copy_(value)
    if tensor.is_leaf and tensor.requires_grad != gradient:
        tensor.requires_grad_(gradient)
