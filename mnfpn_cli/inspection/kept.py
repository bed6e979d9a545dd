"""Leaving a network as it was found, whatever its forward does to it."""

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from copy import copy
from typing import Any

import torch
from torch import Tensor, nn

from mnfpn_cli.inspection.memory import storage_key

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
