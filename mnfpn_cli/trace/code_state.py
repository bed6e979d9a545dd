"""Keep tensors without values out of what the code of modules has outside of them: globals, classes, closures, caches.

A pass on the meta device leaves such tensors where code keeps what it made, as grids by their width in a global
dictionary; on the CPU, the next pass would find them. What else the pass changed there is left alone: other threads may
have changed it, and a Python module that it imported stays imported.

The search starts at the modules. It follows their classes, each function of these, and the globals that a function
names: so far a pass may come. It does not see `__slots__`, and what belongs to a thread.
"""

import functools
import sys
import types
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any
from weakref import ProxyTypes

from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor  # torch has no public name for it

from mnfpn_cli.trace.hidden import MAX_OBJECTS, is_library

ABSENT: Any = object()
"""The value of a name that has none."""

ATOMS = (str, bytes, int, float, complex, type(None), Tensor)
"""Types of values that hold no others."""

DEEPEST = 4
"""How deep in a new value a tensor is looked for."""

Undo = Callable[[], None]
"""Takes what has no values out of a place."""


@contextmanager
def restore_code(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Take tensors without values, which code of the modules keeps in the block, out again behind it."""
    undo = list(_search(modules))
    try:
        yield
    finally:
        for one in undo:
            with suppress(Exception):  # of the code of any class: it must not hide what the block raised
                one()


def _search(modules: Iterable[nn.Module]) -> Iterator[Undo]:
    seen: set[int] = set()
    queue: deque[Any] = deque(modules)
    while queue and len(seen) < MAX_OBJECTS:
        value = queue.popleft()
        if id(value) in seen or type(value) in ProxyTypes:  # a weak reference holds nothing
            continue
        seen.add(id(value))
        undo, inside = _visit(value)
        yield from undo
        queue += [one for one in inside if not issubclass(type(one), ATOMS)]


def _visit(value: Any) -> tuple[list[Undo], list[Any]]:
    """Return what sets a value back, and what it holds or refers to."""
    match value:
        case dict() | list() | deque() | set():
            if len(value) > MAX_OBJECTS:
                return [], []
            undo = partial(_restore_items, value, dict(value)) if isinstance(value, dict) else _undo_list(value)
            return [undo], list(dict.values(value) if isinstance(value, dict) else value)
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
        case _ if isinstance(value, nn.Module) or not is_library(type(value).__module__):
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
        undo.append(partial(_restore_items, space, named, named))
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


def _restore_items(space: dict[Any, Any], before: dict[Any, Any], names: Iterable[Any] | None = None) -> None:
    """Give a dictionary back the values of names, or of all keys, that are without values now, or remove them."""
    for name in list(space if names is None else names):
        value, now = before.get(name, ABSENT), space.get(name, ABSENT)
        if now is value or not _lacks_values(now):
            continue
        if value is ABSENT:
            del space[name]
        else:
            space[name] = value


def _undo_list(values: Any) -> Undo:
    """Return what gives a list, deque or set its items back, if it has new ones without values."""
    before = list(values)

    def undo() -> None:
        known = set(map(id, before))
        if any(_lacks_values(one) for one in values if id(one) not in known):
            values.clear()
            (values.update if isinstance(values, set) else values.extend)(before)

    return undo


def _lacks_values(value: Any, depth: int = DEEPEST) -> bool:
    """Return whether a value is, or holds, a tensor on the meta device or a fake one."""
    inside: Iterable[Any] = ()
    match value:
        case Tensor():
            return value.is_meta or isinstance(value, FakeTensor)
        case nn.Module():
            inside = (*value.parameters(), *value.buffers())
        case dict():
            inside = dict.values(value)
        case list() | tuple() | deque() | set():
            inside = value
        case type() | types.ModuleType() | types.FunctionType():
            return False
        case _ if not is_library(type(value).__module__):
            inside = own_attributes(value)
    return depth > 0 and any(_lacks_values(one, depth - 1) for one in inside)


def _own_names(kind: type) -> dict[str, Any]:
    """Return the attributes of a class itself, without Python's own."""
    return {name: value for name, value in vars(kind).items() if not name.startswith("__")}


def _restore_class(kind: type, own: dict[str, Any]) -> None:
    for name, now in _own_names(kind).items():
        value = own.get(name, ABSENT)
        if now is value or not _lacks_values(now):
            continue
        if value is ABSENT:
            delattr(kind, name)
        else:
            setattr(kind, name, value)


def _content(cell: types.CellType) -> Any:
    """Return what a variable of a closure holds."""
    try:
        return cell.cell_contents
    except ValueError:  # it has no value yet
        return ABSENT


def _restore_cell(cell: types.CellType, content: Any) -> None:
    now = _content(cell)
    if now is content or not _lacks_values(now):
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
