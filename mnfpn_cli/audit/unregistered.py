"""Find modules and parameters that a pass used and that are not registered, and say where each is."""

import inspect
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from mnfpn_cli.documents.audit import Finding
from mnfpn_cli.trace.hidden import Hidden
from mnfpn_cli.trace.observe import ModuleCall
from mnfpn_cli.trace.storages import storage_key
from mnfpn_cli.trace.trace import Trace, numel, own_state

MODULES = {**dict.fromkeys(("list", "tuple", "deque", "set"), "nn.ModuleList"), "dict": "nn.ModuleDict"}
TENSORS = {**dict.fromkeys(("list", "tuple", "deque"), "nn.ParameterList"), "dict": "nn.ParameterDict"}
"""The container of torch that registers what a plain one holds."""

EFFECT = "no optimiser, no state dict and no .to(device) sees them"


@dataclass(frozen=True, slots=True)
class InUse:
    """A hidden module or tensor that took part, and the parameters that it adds."""

    hidden: Hidden
    parameters: int


def unregistered_in_use(trace: Trace) -> list[InUse]:
    """Return the outermost hidden modules that took part and have parameters or buffers, and the hidden tensors."""
    in_use: list[InUse] = []
    taken = set(trace.state)
    inside: set[int] = set()
    for one in trace.hidden:
        if id(one.value) in inside:
            continue
        if isinstance(one.value, nn.Module):
            inside |= {id(module) for module in one.value.modules()}
            tensors = own_tensors(one.value)
            fresh = [parameter for parameter in one.value.parameters() if storage_key(parameter) not in taken]
            holds_more = not taken.issuperset(map(storage_key, tensors))
            if holds_more and any(map(trace.took_part, one.value.modules())):
                taken |= set(map(storage_key, tensors))
                in_use.append(InUse(one, numel(fresh)))
        elif storage_key(one.value) not in taken and _is_weight(trace, one.value):
            taken.add(storage_key(one.value))
            in_use.append(InUse(one, one.value.numel()))
    return in_use


def _is_weight(trace: Trace, tensor: Tensor) -> bool:
    """Return whether a tensor took part as a weight: it requires a gradient, or is combined with a learned map.

    The mean of images is no weight: it is combined with the image.
    """
    return trace.used(tensor) and (
        tensor.requires_grad or (tensor.is_floating_point() and storage_key(tensor) in trace.combined)
    )


def lacking_in_state_dict(trace: Trace) -> list[str]:
    """Return the paths of hidden modules and parameters that took part, and whose weights no state dict holds.

    Plain tensors, and buffers that are not persistent, do not count: the code of the network makes them.
    """
    hidden = (one.hidden for one in unregistered_in_use(trace))
    return [one.path.removeprefix("self.") for one in hidden if _lacks(trace, one.value)]


def _lacks(trace: Trace, value: nn.Module | Tensor) -> bool:
    """Return whether a hidden module has weights that are not registered elsewhere, or a hidden tensor is one."""
    if isinstance(value, Tensor):
        return _is_parameter(value)
    kept = value.state_dict(keep_vars=True).values()
    return any(isinstance(tensor, Tensor) and storage_key(tensor) not in trace.state for tensor in kept)


def constants(trace: Trace) -> list[str]:
    """Return the paths of plain tensors that took part and are not weights."""
    loose = [one for one in trace.hidden if isinstance(one.value, Tensor) and one.container != "global"]
    inside = {id(inner) for one in trace.hidden if isinstance(one.value, nn.Module) for inner in own_tensors(one.value)}
    return [
        one.path
        for one in loose
        if isinstance(one.value, Tensor)
        and trace.used(one.value)
        and storage_key(one.value) not in trace.state
        and id(one.value) not in inside
        and one.value.is_floating_point()
        and not _is_weight(trace, one.value)
    ]


def own_tensors(module: nn.Module) -> list[Tensor]:
    """Return all parameters and buffers of a module."""
    return [*module.parameters(), *module.buffers()]


def unregistered(trace: Trace) -> Iterator[Finding]:
    """Report each attribute that hides modules or tensors, then modules and parameters that no attribute leads to."""
    groups: dict[tuple[int, str, bool], list[InUse]] = {}
    for one in unregistered_in_use(trace):
        key = (id(one.hidden.holder), one.hidden.attribute, isinstance(one.hidden.value, nn.Module))
        groups.setdefault(key, []).append(one)
    for group in groups.values():
        yield _finding(trace, group)
    yield from _unreachable_modules(trace)
    yield from _unreachable_parameters(trace)


def _finding(trace: Trace, group: list[InUse]) -> Finding:
    """Return the finding for what one attribute hides."""
    first = group[0].hidden
    modules = isinstance(first.value, nn.Module)
    kinds = sorted({type(one.hidden.value).__name__ for one in group})
    parameters = sum(one.parameters for one in group)
    what = f"{len(group)} {' and '.join(kinds)}" if len(group) > 1 else f"a {kinds[0]}"
    where = _container(first)
    return Finding.of(
        "unregistered",
        tuple(one.hidden.path for one in group),
        parameters,
        f"{what} in {where} of {_owner(trace, first)}, used in {passes_text(trace)}: {EFFECT}",
        _remedy(first, modules),
    )


def _container(one: Hidden) -> str:
    """Return where something is hidden, in words: ``a plain list in a dict``."""
    names = {"attribute": "a plain attribute", "dataclass": "a dataclass", "object": "an object"}
    outer = type(getattr(one.holder, one.attribute, None)).__name__
    within = f" in a {outer}" if outer in MODULES and outer != one.container else ""
    return names.get(one.container, f"a {'plain ' * (one.container in MODULES)}{one.container}") + within


def _owner(trace: Trace, one: Hidden) -> str:
    """Return the class, the path and the source line of the module that hides something."""
    path = trace.paths.get(one.holder)
    return f"{type(one.holder).__name__}{f' ({path})' if path else ''}{_source_line(one.holder)}"


def _source_line(module: nn.Module) -> str:
    """Return the file and line of a module's class, after a comma; empty where there is none."""
    try:
        file, (_, line) = inspect.getsourcefile(type(module)), inspect.getsourcelines(type(module))
    except (OSError, TypeError):
        return ""
    return f", {Path(file).name}:{line}" if file else ""


def _remedy(one: Hidden, modules: bool) -> str:
    """Return the code that registers what an attribute hides."""
    attribute = f"self.{one.attribute}"
    held, table = getattr(one.holder, one.attribute, None), MODULES if modules else TENSORS
    if one.container in table and type(held).__name__ in table:
        return _remedy_in(attribute, held, table, nn.Module if modules else Tensor)
    if one.container == "attribute" and not modules:
        return f"{attribute} = nn.Parameter({attribute}) to learn it, register_buffer({one.attribute!r}, …) if constant"
    kind = "module" if modules else "parameter"
    return f"assign the {kind} to an attribute of {type(one.holder).__name__} itself: self.name = …"


def _remedy_in(attribute: str, held: Any, table: Mapping[str, str], kept: type) -> str:
    """Return the code that registers the modules or tensors in a container, which may hold more than these."""
    outer, items = type(held).__name__, _items(held)
    if not _has_keys_for_modules(held):
        return f"make {attribute} {table[outer]}, whose keys are texts without dots"
    if _holds_only(items, kept):
        return f"{attribute} = {table[outer]}({attribute})"
    (inner, *others) = {type(item).__name__ for item in items}
    fits = not others and inner in table and inner != outer and all(map(_has_keys_for_modules, items))
    if fits and all(_holds_only(_items(item), kept) for item in items):
        return f"make {attribute} {table[outer]}, and each {inner} in it {table[inner]}"
    if {inner, *others}.isdisjoint(table):
        what = "modules" if kept is nn.Module else "parameters"
        return f"put the {what} of {attribute} into {table[outer]} of their own, which takes nothing else"
    return f"make {attribute}, and what it holds, {table['list']} or {table['dict']}"


def _holds_only(items: Iterable[Any], kept: type) -> bool:
    """Return whether all items can be registered; a place for a module may be empty."""
    return all(isinstance(item, kept) or (item is None and kept is nn.Module) for item in items)


def _has_keys_for_modules(held: Any) -> bool:
    """Return whether a container has no keys, or those that ``nn.ModuleDict`` takes."""
    return not isinstance(held, dict) or all(isinstance(key, str) and "." not in key for key in held)


def _items(held: Any) -> list[Any]:
    return list(held.values() if isinstance(held, dict) else held)


def _unreachable_modules(trace: Trace) -> Iterator[Finding]:
    """Report modules that were called, but that no attribute leads to: made in a forward, or stored elsewhere.

    A container that a forward makes of known layers, as ``self.features[:4]`` does, adds nothing.
    """
    hidden = [one.value for one in trace.hidden]
    modules = [inner for value in hidden if isinstance(value, nn.Module) for inner in value.modules()]
    tensors = [value for value in hidden if isinstance(value, Tensor)]
    known = {*map(id, trace.paths), *map(id, modules)}
    stored = {*trace.state, *map(storage_key, tensors), *(storage_key(t) for one in modules for t in own_state(one))}
    calls: dict[int, ModuleCall] = {}
    for event in trace.events:
        if isinstance(event, ModuleCall) and id(event.module) not in known:
            known |= {id(inner) for inner in event.module.modules()}
            if not stored.issuperset(map(storage_key, own_tensors(event.module))):
                calls[id(event.module)] = event
    for call in calls.values():
        caller = trace.paths.get(call.caller, "") if call.caller else ""
        name, by = type(call.module).__name__, type(call.caller).__name__
        yield Finding.of(
            "unregistered",
            (f"{f'{caller}.' if caller else ''}forward(): {name}",),
            numel(list(call.module.parameters())),
            f"a {name} called by {by}, which no attribute leads to: made anew in each forward, or stored elsewhere",
            f"make it once in {by}.__init__, and assign it to an attribute",
        )


def _unreachable_parameters(trace: Trace) -> Iterator[Finding]:
    """Report tensors that took part and require a gradient, but that no attribute leads to."""
    known = {storage_key(one.value) for one in trace.hidden if isinstance(one.value, Tensor)} | set(trace.state)
    modules = [one.value for one in trace.hidden if isinstance(one.value, nn.Module)]
    modules += [event.module for event in trace.events if isinstance(event, ModuleCall)]
    known |= {storage_key(tensor) for module in modules for tensor in own_tensors(module)}
    for key, tensor in trace.used_tensors.items():
        if key not in known and _is_parameter(tensor):
            shape = "×".join(map(str, tensor.shape))
            yield Finding.of(
                "unregistered",
                (f"forward(): {type(tensor).__name__} {shape}".rstrip(),),
                tensor.numel(),
                "a parameter that no attribute leads to: returned by a function, or stored elsewhere",
                "assign it to an attribute of the module that uses it: self.name = nn.Parameter(…)",
            )


def _is_parameter(tensor: Tensor) -> bool:
    """Return whether a tensor is a parameter, or a real leaf that requires a gradient; views of weights are neither."""
    return isinstance(tensor, nn.Parameter) or (
        type(tensor) is Tensor and not tensor.is_meta and tensor.requires_grad and tensor.is_leaf
    )


def passes_text(trace: Trace) -> str:
    """Return ``the pass``, or how many there were: ``3 passes``."""
    return "the pass" if len(trace.passes) == 1 else f"{len(trace.passes)} passes"
