"""Restore what the code of modules keeps outside of them: in globals, classes, closures, and caches of functools.

The search starts at the modules. It follows their classes, each function of these, and the globals that a function
names: so far a pass may come.
"""

import functools
import sys
import types
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any
from weakref import ProxyTypes

from torch import Tensor, nn

from mnfpn_cli.trace.hidden import MAX_OBJECTS, is_library

ABSENT: Any = object()
"""The value of a name that has none."""

ATOMS = (str, bytes, int, float, complex, type(None), Tensor)
"""Types of values that hold no others."""

Undo = Callable[[], None]
"""Sets something back to what it was."""


@contextmanager
def restore_code(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Restore after the block what the code of modules keeps, as a cache of grids in a global dictionary."""
    undo = list(_search(modules))
    try:
        yield
    finally:
        for one in undo:
            one()


def _search(modules: Iterable[nn.Module]) -> Iterator[Undo]:
    seen: set[int] = set()
    queue: deque[Any] = deque(modules)
    while queue and len(seen) < MAX_OBJECTS:
        value = queue.popleft()
        if id(value) in seen or issubclass(type(value), ATOMS) or type(value) in ProxyTypes:
            continue
        seen.add(id(value))
        undo, inside = _visit(value)
        yield from undo
        queue += inside


def _visit(value: Any) -> tuple[list[Undo], list[Any]]:
    """Return what sets a value back, and what it holds or refers to."""
    match value:
        case dict() | list() | deque() | set():
            return [undo_container(value)], list(dict.values(value) if isinstance(value, dict) else value)
        case tuple():
            return [], list(value)
        case types.FunctionType() if not _is_foreign(value.__module__):
            return _visit_function(value)
        case types.CellType():
            content = _content(value)
            return [partial(_restore_cell, value, content)], [content]
        case functools._lru_cache_wrapper() if not _is_foreign(value.__module__):
            return [partial(_clear_grown, value, value.cache_info().misses)], [value.__wrapped__]
        case type() if not _is_foreign(value.__module__):
            own = _own_names(value)
            return [partial(_restore_class, value, own)], [*value.__mro__[1:], *own.values()]
        case types.FunctionType() | functools._lru_cache_wrapper() | type() | types.ModuleType():
            return [], []
        case types.MethodType():
            return [], [value.__func__, value.__self__]
        case staticmethod() | classmethod():
            return [], [value.__func__]
        case property():
            return [], [value.fget]
        case functools.cached_property():
            return [], [value.func]
        case functools.partial():
            return [], [value.func, value.args, value.keywords]
        case _ if isinstance(value, nn.Module) or not _is_foreign(type(value).__module__):
            return [], [type(value), *own_attributes(value)]
    return [], []


def _is_foreign(module: Any) -> bool:
    """Return whether a Python module, by its name, is no code of a user that keeps tensors."""
    package = str(module).partition(".")[0]
    return is_library(package) or package == "mnfpn_cli" or package in sys.stdlib_module_names


def _visit_function(function: types.FunctionType) -> tuple[list[Undo], list[Any]]:
    inside = [*(function.__closure__ or ()), function.__defaults__, function.__kwdefaults__, vars(function)]
    undo: list[Undo] = []
    names = set(_names(function.__code__))
    spaces = [function.__globals__]
    for space in spaces:  # which grows by the Python modules that the function names
        if _is_foreign(space.get("__name__")):
            continue
        named = {name: space.get(name, ABSENT) for name in names}
        undo.append(partial(_restore_names, space, named))
        inside += named.values()
        found = (vars(value) for value in named.values() if isinstance(value, types.ModuleType))
        spaces += [one for one in found if not any(one is known for known in spaces)]
    return undo, inside


def _names(code: types.CodeType) -> Iterator[str]:
    """Yield the names of globals and attributes in the code of a function and of functions inside it."""
    yield from code.co_names
    for inner in code.co_consts:
        if isinstance(inner, types.CodeType):
            yield from _names(inner)


def _restore_names(space: dict[str, Any], named: dict[str, Any]) -> None:
    for name, value in named.items():
        if space.get(name, ABSENT) is value:
            continue
        if value is ABSENT:
            del space[name]
        else:
            space[name] = value


def _own_names(kind: type) -> dict[str, Any]:
    """Return the attributes of a class itself, without Python's own."""
    return {name: value for name, value in vars(kind).items() if not name.startswith("__")}


def _restore_class(kind: type, own: dict[str, Any]) -> None:
    now = _own_names(kind)
    for name in now.keys() - own.keys():
        delattr(kind, name)
    for name, value in own.items():
        if now.get(name, ABSENT) is not value:
            setattr(kind, name, value)


def _content(cell: types.CellType) -> Any:
    """Return what a variable of a closure holds."""
    try:
        return cell.cell_contents
    except ValueError:  # it has no value yet
        return ABSENT


def _restore_cell(cell: types.CellType, content: Any) -> None:
    if _content(cell) is content:
        return
    if content is ABSENT:
        del cell.cell_contents
    else:
        cell.cell_contents = content


def _clear_grown(cache: Any, misses: int) -> None:
    """Clear a cache of functools that got another entry: single ones cannot be removed."""
    if cache.cache_info().misses != misses:
        cache.cache_clear()


def own_attributes(value: object) -> tuple[dict[str, Any], ...]:
    """Return the dictionary of an object's attributes; nothing where it has none, or its own code hides them."""
    try:
        return (vars(value),)
    except Exception:  # noqa: BLE001 - code of any class
        return ()


def undo_container(container: Any) -> Undo:
    """Return what sets a dictionary, list, deque or set back to what it holds now."""
    return partial(_restore_container, container, _items(container))


def _restore_container(container: Any, items: list[Any]) -> None:
    if _differ(_items(container), items):
        _refill(container, items)


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
        container.update(zip(items[:half], items[half:], strict=True))
    else:
        (container.update if isinstance(container, set) else container.extend)(items)
