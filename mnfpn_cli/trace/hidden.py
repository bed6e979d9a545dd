"""Where modules and tensors hide that are not in the module tree: lists, dictionaries, objects, closures, globals."""

import functools
import types
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

MOST_OBJECTS = 100_000
"""So that a data set that hangs on a network does not keep the search for ever."""

REGISTERED = {"_parameters", "_buffers", "_modules", "_non_persistent_buffers_set"}
"""Where a module keeps what it has registered."""


@dataclass(frozen=True, slots=True)
class Hidden:
    """A module or a tensor outside the tree.

    Attributes:
        path: of attributes and indices from the network on, as code would have it: ``self.smooth[2]``.
        found: what is there.
        holder: the registered module that it hangs on.
        attribute: of the holder.
        container: the kind of thing that it sits in: ``list``, ``dict``, ``closure`` …
    """

    path: str
    found: nn.Module | Tensor
    holder: nn.Module
    attribute: str
    container: str


@dataclass(frozen=True, slots=True)
class _Place:
    """Something on the way."""

    path: str
    value: Any
    holder: nn.Module
    attribute: str
    container: str


def find_hidden(network: nn.Module) -> Iterator[Hidden]:
    """Every module and tensor that can be reached from a network and is not registered in it, the shortest path first.

    Modules inside a hidden module are found too, behind it.
    """
    registered = {id(one) for one in (*network.modules(), *network.parameters(), *network.buffers())}
    seen = set(registered)
    queue = deque(place for path, module in expressions(network) for place in _attributes(path, module))
    while queue and len(seen) < MOST_OBJECTS:
        place = queue.popleft()
        if id(place.value) in seen:
            continue
        seen.add(id(place.value))
        if isinstance(place.value, nn.Module | Tensor):
            yield Hidden(place.path, place.value, place.holder, place.attribute, place.container)
        for suffix, container, value in _inside(place.value):
            if id(value) not in seen:
                queue.append(_Place(place.path + suffix, value, place.holder, place.attribute, container))


def expressions(network: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The registered modules, parents first, each with the expression that leads to it: ``self.stages[3]``."""
    paths = {"": "self"}
    for name, module in network.named_modules():
        if name:
            above, _, last = name.rpartition(".")
            paths[name] = paths[above] + _step(network.get_submodule(above), last)
        yield paths[name], module


def _step(parent: nn.Module, name: str) -> str:
    if isinstance(parent, nn.ModuleDict):
        return f"[{name!r}]"
    return f"[{name}]" if name.isdigit() else f".{name}"


def _attributes(path: str, module: nn.Module) -> Iterator[_Place]:
    """What hangs on a registered module: its attributes, its class's, and what its forward reaches besides."""
    own = ((name, value) for name, value in vars(module).items() if name not in REGISTERED)
    for name, value in (*own, *_of_class(type(module))):
        yield _Place(f"{path}.{name}", value, module, name, "attribute")
    forward = getattr(type(module), "forward", None)
    if isinstance(forward, types.FunctionType) and not _is_librarys(forward.__module__):
        for suffix, container, value in _of_function(forward):
            yield _Place(f"{path}.forward{suffix}", value, module, "forward", container)


def _of_class(kind: type) -> Iterator[tuple[str, Any]]:
    for one in kind.__mro__:
        if one is nn.Module:
            return
        for name, value in vars(one).items():
            if isinstance(value, nn.Module | Tensor | list | tuple | dict) and not name.startswith("__"):
                yield name, value


def _inside(value: Any) -> Iterator[tuple[str, str, Any]]:
    """What a value holds: how to get there, the kind of container, and what it is."""
    match value:
        case nn.Module():
            yield from ((_step(value, name), "module", child) for name, child in value.named_children())
            yield from ((f".{name}", "module", one) for name, one in value._parameters.items() if one is not None)
            own = {name: one for name, one in vars(value).items() if name not in REGISTERED}
            yield from ((f".{name}", "attribute", one) for name, one in own.items())
        case Tensor() | str() | bytes() | int() | float() | type() | types.ModuleType() | None:
            return
        case Mapping():
            yield from ((f"[{key!r}]", "dict", item) for key, item in list(value.items()))
        case list() | tuple() | deque():
            kind = "tuple" if isinstance(value, tuple) else "list"
            yield from ((f"[{index}]", kind, item) for index, item in enumerate(value))
        case set() | frozenset():
            yield from ((f".<one of {len(value)}>", "set", item) for item in value)
        case functools.partial():
            yield ".func", "partial", value.func
            yield from ((f".args[{index}]", "partial", item) for index, item in enumerate(value.args))
            yield from ((f".keywords[{key!r}]", "partial", item) for key, item in value.keywords.items())
        case types.MethodType():
            yield ".__self__", "method", value.__self__
            yield from _inside(value.__func__)
        case types.FunctionType():
            yield from _of_function(value)
        case _:
            yield from _of_object(value)


def _of_function(function: types.FunctionType) -> Iterator[tuple[str, str, Any]]:
    """What a function holds on to, and the globals that it names."""
    if _is_librarys(function.__module__):
        return
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield f".<closure>.{name}", "closure", cell.cell_contents
        except ValueError:  # not filled yet
            continue
    for value in function.__defaults__ or ():
        yield ".<default>", "closure", value
    for name in function.__code__.co_names:
        value = function.__globals__.get(name)
        if isinstance(value, nn.Module | Tensor | list | tuple | dict):
            yield f".<global>.{name}", "global", value


def _of_object(value: Any) -> Iterator[tuple[str, str, Any]]:
    """The attributes of an object of somebody's class, dataclasses among them."""
    if _is_librarys(type(value).__module__):
        return
    slots = {name for kind in type(value).__mro__ for name in getattr(kind, "__slots__", ())}
    named = {**getattr(value, "__dict__", {}), **{name: getattr(value, name) for name in slots if hasattr(value, name)}}
    kind = "dataclass" if hasattr(value, "__dataclass_fields__") else "object"
    yield from ((f".{name}", kind, item) for name, item in named.items())


def _is_librarys(module: str | None) -> bool:
    """Whether a class or function is Python's, torch's or numpy's own: nothing of a user's hangs there."""
    return (module or "").partition(".")[0] in {
        "builtins",
        "torch",
        "numpy",
        "collections",
        "re",
        "logging",
        "threading",
    }
