"""Copy networks, also those that hold what Python's `deepcopy` refuses."""

import copyreg
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from threading import Condition, Lock, RLock
from typing import Any, TypeVar

from torch import Tensor, nn

COPYING = RLock()
"""Held while a network is copied: what is changed for that is Python's and torch's for all threads."""

M = TypeVar("M", bound=nn.Module)


def copy_network(network: M) -> M:
    """Return a deep copy of a network.

    A tensor that autograd made, as pruning, weight norm and hooks leave in attributes, is copied without its history; a
    view of a parameter stays a view of its copy. Locks and conditions become new ones.
    """
    with COPYING, _copied_without_history(), _locks_made_anew():
        return deepcopy(network)


@contextmanager
def _copied_without_history() -> Iterator[None]:
    usual = Tensor.__deepcopy__

    def copied(tensor: Tensor, memo: dict[int, Any]) -> Any:
        if tensor.is_leaf:
            return usual(tensor, memo)  # type: ignore[no-untyped-call]
        base = tensor._base
        if base is not None and base.is_leaf:
            made = deepcopy(base, memo).detach().as_strided(tensor.shape, tensor.stride(), tensor.storage_offset())
        else:
            made = tensor.detach().clone()
        memo[id(tensor)] = made
        return made

    Tensor.__deepcopy__ = copied  # type: ignore[method-assign]
    try:
        yield
    finally:
        Tensor.__deepcopy__ = usual  # type: ignore[method-assign]


@contextmanager
def _locks_made_anew() -> Iterator[None]:
    makers = {type(make()): make for make in (Lock, RLock, Condition)}
    added = makers.keys() - copyreg.dispatch_table.keys()
    copyreg.dispatch_table.update({kind: lambda lock: (makers[type(lock)], ()) for kind in added})
    try:
        yield
    finally:
        for kind in added:
            del copyreg.dispatch_table[kind]
