"""Find modules and tensors that a network uses but has not registered: in lists, objects, closures and globals.

The search is breadth first. It starts at the attributes of each registered module, and visits each container, function
and object that it meets.
"""

import functools
import types
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from weakref import ProxyTypes

from torch import Tensor, nn

MAX_OBJECTS = 100_000
"""The most objects that the search visits, so that a data set in an attribute does not take minutes."""

REGISTERED = {"_parameters", "_buffers", "_modules", "_non_persistent_buffers_set"}
"""The attributes in which ``nn.Module`` has what is registered."""

LIBRARIES = {
    "builtins",
    "torch",
    "numpy",
    "collections",
    "re",
    "logging",
    "threading",
    "queue",
    "multiprocessing",
    "concurrent",
    "asyncio",
}
"""Packages whose classes and functions hold no modules or tensors of a user."""


@dataclass(frozen=True, slots=True)
class Hidden:
    """A module or a tensor that is reachable from a network, but not registered.

    Attributes:
        path: the expression that leads from the network to it: ``self.smooth[2]``.
        value: the module or tensor.
        holder: the registered module that the search reached it from.
        attribute: the attribute of the holder that leads to it.
        container: the kind of object that holds it: ``attribute``, ``list``, ``dict``, ``closure`` …
    """

    path: str
    value: nn.Module | Tensor
    holder: nn.Module
    attribute: str
    container: str


@dataclass(frozen=True, slots=True)
class _Visit:
    """An object that the search visits; the fields are those of `Hidden`."""

    path: str
    value: Any
    holder: nn.Module
    attribute: str
    container: str


_Child = tuple[str, str, Any]
"""A value that an object holds: the suffix of its path, the kind of its container, and the value."""


def find_hidden(network: nn.Module) -> Iterator[Hidden]:
    """Yield every module and tensor that is reachable from a network but not registered, shortest path first.

    Modules inside a hidden module are yielded too, after it.
    """
    seen = {id(value) for value in (*network.modules(), *network.parameters(), *network.buffers())}
    queue = deque(visit for path, module in module_expressions(network) for visit in _attributes(path, module))
    while queue and len(seen) < MAX_OBJECTS:
        visit = queue.popleft()
        if id(visit.value) in seen or type(visit.value) in ProxyTypes:  # a weak reference holds nothing
            continue
        seen.add(id(visit.value))
        if isinstance(visit.value, nn.Module | Tensor):
            yield Hidden(visit.path, visit.value, visit.holder, visit.attribute, visit.container)
        for suffix, container, value in _readable(_children(visit.value)):
            if id(value) not in seen:
                queue.append(_Visit(visit.path + suffix, value, visit.holder, visit.attribute, container))


def _readable(children: Iterator[_Child]) -> Iterator[_Child]:
    """Yield what an object holds up to where its own code fails, as a property or an iteration that raises."""
    with suppress(Exception):
        yield from children


def module_expressions(network: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield each registered module with the expression that leads to it, ``self.stages[3]``; parents come first."""
    expressions = {"": "self"}
    for path, module in network.named_modules():
        if path:
            parent, _, name = path.rpartition(".")
            expressions[path] = expressions[parent] + _subscript(network.get_submodule(parent), name)
        yield expressions[path], module


def _subscript(parent: nn.Module, name: str) -> str:
    """Return the code that leads from a module to its child: ``.conv``, ``[3]``, ``['p3']``."""
    if isinstance(parent, nn.ModuleDict):
        return f"[{name!r}]"
    return f"[{name}]" if name.isdigit() else f".{name}"


def _attributes(path: str, module: nn.Module) -> Iterator[_Visit]:
    """Yield the attributes of a registered module and of its class, and the values that its forward refers to."""
    for name, value in (*_unregistered_attributes(module), *_class_attributes(type(module))):
        yield _Visit(f"{path}.{name}", value, module, name, "attribute")
    forward = getattr(type(module), "forward", None)
    if isinstance(forward, types.FunctionType):
        for suffix, container, value in _function_children(forward):
            yield _Visit(f"{path}.forward{suffix}", value, module, "forward", container)


def _unregistered_attributes(module: nn.Module) -> Iterator[tuple[str, Any]]:
    return ((name, value) for name, value in vars(module).items() if name not in REGISTERED)


def _class_attributes(kind: type) -> Iterator[tuple[str, Any]]:
    """Yield the attributes of a class and its bases up to ``nn.Module`` that may hold a module or a tensor."""
    for base in kind.__mro__:
        if base is nn.Module:
            return
        for name, value in vars(base).items():
            if isinstance(value, nn.Module | Tensor | list | tuple | dict) and not name.startswith("__"):
                yield name, value


def _children(value: Any) -> Iterator[_Child]:
    """Yield the values that a value of any type holds."""
    match value:
        case nn.Module():
            yield from _module_children(value)
        case Tensor() | str() | bytes() | int() | float() | type() | types.ModuleType() | None:
            return
        case Mapping():
            yield from ((f"[{key!r}]", "dict", item) for key, item in list(value.items()))
        case list() | tuple() | deque():
            kind = next(one.__name__ for one in (list, tuple, deque) if isinstance(value, one))
            yield from ((f"[{index}]", kind, item) for index, item in enumerate(value))
        case set() | frozenset():
            yield from ((f".<one of {len(value)}>", "set", item) for item in value)
        case functools.partial():
            yield ".func", "partial", value.func
            yield from ((f".args[{index}]", "partial", item) for index, item in enumerate(value.args))
            yield from ((f".keywords[{key!r}]", "partial", item) for key, item in value.keywords.items())
        case types.MethodType():
            yield ".__self__", "method", value.__self__
            yield from _children(value.__func__)
        case types.FunctionType():
            yield from _function_children(value)
        case _:
            yield from _object_children(value)


def _module_children(module: nn.Module) -> Iterator[_Child]:
    """Yield the modules and parameters that are registered in a hidden module, then its other attributes."""
    yield from ((_subscript(module, name), "module", child) for name, child in module.named_children())
    for name, parameter in module._parameters.items():
        if parameter is not None:
            yield f".{name}", "module", parameter
    yield from ((f".{name}", "attribute", value) for name, value in _unregistered_attributes(module))


def _function_children(function: types.FunctionType) -> Iterator[_Child]:
    """Yield the variables that a function closes over, its defaults, and the globals that it names."""
    if is_library(function.__module__):
        return
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield f".<closure>.{name}", "closure", cell.cell_contents
        except ValueError:  # the variable has no value yet
            continue
    for value in function.__defaults__ or ():
        yield ".<default>", "closure", value
    for name in function.__code__.co_names:
        value = function.__globals__.get(name)
        if isinstance(value, nn.Module | Tensor | list | tuple | dict):
            yield f".<global>.{name}", "global", value


def _object_children(value: Any) -> Iterator[_Child]:
    """Yield the attributes of an object of a user's class, dataclasses among them."""
    if is_library(type(value).__module__):
        return
    slots = {name for kind in type(value).__mro__ for name in getattr(kind, "__slots__", ())}
    slotted = {name: getattr(value, name) for name in slots if hasattr(value, name)}
    kind = "dataclass" if hasattr(type(value), "__dataclass_fields__") else "object"
    for name, item in {**getattr(value, "__dict__", {}), **slotted}.items():
        yield f".{name}", kind, item


def is_library(module: str | None) -> bool:
    """Return whether the Python module of a class or function is of one of `LIBRARIES`."""
    return (module or "").partition(".")[0] in LIBRARIES
