"""Restore modules after a pass: their attributes, and all that these hold."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any
from weakref import ProxyTypes

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter

from mnfpn_cli.trace.code_state import own_attributes, restore_code
from mnfpn_cli.trace.hidden import MAX_OBJECTS, is_library
from mnfpn_cli.trace.storages import storage_key

ATOMS = (str, bytes, int, float, complex, type, type(None))
"""Types of values that do not change, and hold no others."""


@contextmanager
def restore_modules(modules: Iterable[nn.Module], values: bool) -> Iterator[None]:
    """Restore modules after the block: mode, hooks, parameters, buffers, and what attributes hold at any depth.

    What their code keeps elsewhere, as in globals, is without tensors of the block that have no values. Gradients
    (``.grad``) are set aside in the block.

    ``values``: whether to restore the values of tensors too, which takes a copy of them. On the meta device this is not
    needed, as a pass cannot change values there.
    """
    listed = list(modules)
    kinds = [(module, type(module)) for module in listed]
    containers, tensors = _reachable(listed)
    contents = [(container, _items(container)) for container in containers]
    states = [_state(tensor, values) for tensor in tensors]
    try:
        for state in states:
            _set_grad(state.tensor, None)
        with restore_code(listed):
            yield
    finally:
        for module, kind in kinds:
            if type(module) is not kind:
                module.__class__ = kind
        for container, items in contents:
            if _differ(_items(container), items):
                _refill(container, items)
        for state in states:
            _restore(state)


def _reachable(modules: Sequence[nn.Module]) -> tuple[list[Any], list[Tensor]]:
    """Return the containers and tensors that modules hold: the attributes of an object are a container too."""
    containers: list[Any] = []
    tensors: list[Tensor] = []
    seen: set[int] = set()
    # What is registered comes first: it is restored however much else the modules hold.
    registered = (own for module in modules for own in (module._parameters.values(), module._buffers.values()))
    queue: deque[Any] = deque([*modules, *chain.from_iterable(registered)])
    while queue and len(seen) < MAX_OBJECTS:
        value = queue.popleft()
        if id(value) in seen or type(value) in ProxyTypes:  # a weak reference holds nothing
            continue
        seen.add(id(value))
        inside: Iterable[Any] = ()
        match value:
            case Tensor():
                if _is_dense(value):
                    tensors.append(value)
            case dict():
                containers.append(value)
                inside = dict.values(value)
            case list() | deque() | set():
                containers.append(value)
                inside = value
            case tuple():
                inside = value
            case _ if isinstance(value, nn.Module) or not is_library(type(value).__module__):
                inside = own_attributes(value)
        queue += [one for one in inside if not issubclass(type(one), ATOMS)]
    return containers, tensors


def _is_dense(tensor: Tensor) -> bool:
    """Return whether a tensor has a shape and a storage; sparse, nested and lazy ones do not."""
    lazy = isinstance(tensor, UninitializedBuffer | UninitializedParameter)
    return tensor.layout is torch.strided and not tensor.is_nested and not lazy


def _items(container: Any) -> list[Any]:
    """Return what a container holds; the keys and values of a dictionary."""
    if isinstance(container, dict):
        return [*dict.keys(container), *dict.values(container)]
    return list(container)


def _differ(now: list[Any], before: list[Any]) -> bool:
    return len(now) != len(before) or any(one is not other for one, other in zip(now, before, strict=True))


def _refill(container: Any, items: list[Any]) -> None:
    container.clear()
    if isinstance(container, dict):
        half = len(items) // 2
        container.update(dict(zip(items[:half], items[half:], strict=True)))  # a Counter counts pairs
    else:
        (container.update if isinstance(container, set) else container.extend)(items)


@dataclass(frozen=True, slots=True)
class _State:
    """A tensor as it was: its data, a copy of its values, its gradient, and whether it requires one."""

    tensor: Tensor
    data: Tensor
    value: Tensor | None
    grad: Tensor | None
    requires_grad: bool


def _state(tensor: Tensor, values: bool) -> _State:
    value = tensor.detach().clone() if values and not tensor.is_meta else None
    return _State(tensor, tensor.data, value, tensor.grad if tensor.is_leaf else None, tensor.requires_grad)


@torch.no_grad()
def _restore(state: _State) -> None:
    tensor = state.tensor
    if storage_key(tensor) != storage_key(state.data):  # tensor.data was assigned
        tensor.data = state.data
    if state.value is not None and not torch.equal(tensor, state.value):
        tensor.data.copy_(state.value)  # by .data, as autograd counts the changes of a tensor
    if tensor.is_leaf and tensor.requires_grad != state.requires_grad:
        tensor.requires_grad_(state.requires_grad)
    _set_grad(tensor, state.grad)


def _set_grad(tensor: Tensor, grad: Tensor | None) -> None:
    """Set the gradient of a leaf; other tensors have none."""
    if tensor.is_leaf and tensor.grad is not grad:
        tensor.grad = grad
