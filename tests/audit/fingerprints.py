"""All that can change of a module: for tests that it is as before."""

from collections import deque
from typing import Any

from torch import Tensor, nn


def fingerprint(module: nn.Module) -> list[Any]:
    """Return what a module holds: types, modes, hooks, attributes, containers, tensors, gradients."""
    found: list[Any] = []
    seen: set[int] = set()

    def visit(value: Any) -> None:
        if isinstance(value, str | int | float | bool | type | None):
            found.append(value)
            return
        found.append((id(value), type(value)))
        if id(value) in seen:
            return
        seen.add(id(value))
        if isinstance(value, Tensor):
            found.append((value.data_ptr() if not value.is_meta else 0, value.requires_grad, tuple(value.shape)))
            found.append((value.dtype, value.device, value.tolist() if not value.is_meta else None))
            visit(value.grad if value.is_leaf else None)
        elif isinstance(value, dict):
            for key, item in value.items():
                found.append(key)
                visit(item)
        elif isinstance(value, list | tuple | set | deque):
            for item in value:
                visit(item)
        elif (hasattr(value, "__dict__") and not callable(value)) or isinstance(value, nn.Module):
            visit(vars(value))

    visit(module)
    return found
