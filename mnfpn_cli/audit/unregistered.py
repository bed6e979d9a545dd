"""Modules and parameters that take part in a pass and that the module tree does not have."""

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from mnfpn_cli.documents.audit import Finding
from mnfpn_cli.trace.facts import Facts, has_state, numel
from mnfpn_cli.trace.hidden import Hidden
from mnfpn_cli.trace.observe import ModuleCall
from mnfpn_cli.trace.storages import storage_key

MODULES = {"list": "nn.ModuleList", "tuple": "nn.ModuleList", "set": "nn.ModuleList", "dict": "nn.ModuleDict"}
TENSORS = {"list": "nn.ParameterList", "tuple": "nn.ParameterList", "dict": "nn.ParameterDict"}
"""What registers what such a container holds."""

EFFECT = "no optimiser, no state dict and no .to(device) sees them"


@dataclass(frozen=True, slots=True)
class Outside:
    """Something outside the tree that took part: the outermost module, or a tensor by itself."""

    hidden: Hidden
    parameters: int


def outside(facts: Facts) -> list[Outside]:
    """What hides, took part, and holds numbers: an activation in a list does no harm."""
    found: list[Outside] = []
    taken = set(facts.state)
    inside: set[int] = set()
    for one in facts.hidden:
        if id(one.found) in inside:
            continue
        if isinstance(one.found, nn.Module):
            inside |= {id(module) for module in one.found.modules()}
            tensors = own_tensors(one.found)
            fresh = [parameter for parameter in one.found.parameters() if storage_key(parameter) not in taken]
            holds_more = not taken.issuperset(map(storage_key, tensors))
            if holds_more and any(map(facts.took_part, one.found.modules())):
                taken |= set(map(storage_key, tensors))
                found.append(Outside(one, numel(fresh)))
        elif storage_key(one.found) not in taken and _is_weight(facts, one.found):
            taken.add(storage_key(one.found))
            found.append(Outside(one, one.found.numel()))
    return found


def _is_weight(facts: Facts, tensor: Tensor) -> bool:
    """Whether a tensor is one that wants a gradient, or meets maps as a weight does: a mean of images meets none."""
    return facts.used(tensor) and (
        tensor.requires_grad or (tensor.is_floating_point() and storage_key(tensor) in facts.seen.met)
    )


def constants(facts: Facts) -> list[str]:
    """Attributes that are plain tensors, took part, and are no weights."""
    loose = [one for one in facts.hidden if isinstance(one.found, Tensor) and one.container != "global"]
    kept = {id(inner) for one in facts.hidden if isinstance(one.found, nn.Module) for inner in own_tensors(one.found)}
    return [
        one.path
        for one in loose
        if isinstance(one.found, Tensor)
        and facts.used(one.found)
        and storage_key(one.found) not in facts.state
        and id(one.found) not in kept
        and one.found.is_floating_point()
        and not _is_weight(facts, one.found)
    ]


def own_tensors(module: nn.Module) -> list[Tensor]:
    """All parameters and buffers of a module."""
    return [*module.parameters(), *module.buffers()]


def unregistered(facts: Facts) -> Iterator[Finding]:
    """A finding for each attribute that hides something, and one for what no attribute leads to."""
    groups: dict[tuple[int, str, bool], list[Outside]] = {}
    for one in outside(facts):
        key = (id(one.hidden.holder), one.hidden.attribute, isinstance(one.hidden.found, nn.Module))
        groups.setdefault(key, []).append(one)
    for group in groups.values():
        yield _finding(facts, group)
    yield from _lost(facts)


def _finding(facts: Facts, group: list[Outside]) -> Finding:
    first = group[0].hidden
    modules = isinstance(first.found, nn.Module)
    kinds = sorted({type(one.hidden.found).__name__ for one in group})
    parameters = sum(one.parameters for one in group)
    what = f"{len(group)} {' and '.join(kinds)}" if len(group) > 1 else f"a {kinds[0]}"
    where = _where(first)
    return Finding.of(
        "unregistered",
        tuple(one.hidden.path for one in group),
        parameters,
        f"{what} in {where} of {_owner(facts, first)}, used in the pass: {EFFECT}",
        _remedy(first, modules),
    )


def _where(one: Hidden) -> str:
    names = {"attribute": "a plain attribute", "dataclass": "a dataclass", "object": "an object"}
    outer = type(getattr(one.holder, one.attribute, None)).__name__
    within = f" in a {outer}" if outer in MODULES and outer != one.container else ""
    return names.get(one.container, f"a {'plain ' * (one.container in MODULES)}{one.container}") + within


def _owner(facts: Facts, one: Hidden) -> str:
    path = facts.paths.get(one.holder)
    return f"{type(one.holder).__name__}{f' ({path})' if path else ''}{_line(one.holder)}"


def _line(module: nn.Module) -> str:
    """The file and line where a module's class is written."""
    try:
        file, (_, line) = inspect.getsourcefile(type(module)), inspect.getsourcelines(type(module))
    except (OSError, TypeError):
        return ""
    return f", {Path(file).name}:{line}" if file else ""


def _remedy(one: Hidden, modules: bool) -> str:
    attribute = f"self.{one.attribute}"
    outer = type(getattr(one.holder, one.attribute, None)).__name__
    table = MODULES if modules else TENSORS
    if one.container in table and outer in table:
        depth = one.path.rpartition(f".{one.attribute}")[2].count("[")
        if depth > 2 or (depth == 2 and outer == one.container):
            return f"make {attribute}, and what it holds, {table['list']} or {table['dict']}"
        if depth == 1:
            return f"{attribute} = {table[outer]}({attribute})"
        return f"make {attribute} {table[outer]}, and each {one.container} in it {table[one.container]}"
    if one.container == "attribute" and not modules:
        return f"{attribute} = nn.Parameter({attribute}) to learn it, register_buffer({one.attribute!r}, …) if constant"
    kind = "module" if modules else "parameter"
    return f"assign the {kind} to an attribute of {type(one.holder).__name__} itself: self.name = …"


def _lost(facts: Facts) -> Iterator[Finding]:
    """What was called and is neither registered nor to be found: made in a forward, or kept elsewhere."""
    known = {id(inner) for one in facts.hidden if isinstance(one.found, nn.Module) for inner in one.found.modules()}
    known |= set(map(id, facts.paths))
    lost: dict[int, ModuleCall] = {}
    for event in facts.seen.events:
        if isinstance(event, ModuleCall) and id(event.module) not in known:
            known |= {id(inner) for inner in event.module.modules()}
            if has_state(event.module):
                lost[id(event.module)] = event
    for call in lost.values():
        caller = facts.paths.get(call.caller, "") if call.caller else ""
        name, by = type(call.module).__name__, type(call.caller).__name__
        yield Finding.of(
            "unregistered",
            (f"{f'{caller}.' if caller else ''}forward(): {name}",),
            numel(list(call.module.parameters())),
            f"a {name} called by {by}, which no attribute leads to: made anew in each forward, or kept elsewhere",
            f"make it once in {by}.__init__, and assign it to an attribute",
        )
    yield from _lost_parameters(facts)


def _lost_parameters(facts: Facts) -> Iterator[Finding]:
    """What wants a gradient, took part, and is neither registered nor to be found."""
    known = {storage_key(one.found) for one in facts.hidden if isinstance(one.found, Tensor)} | set(facts.state)
    modules = [one.found for one in facts.hidden if isinstance(one.found, nn.Module)]
    modules += [event.module for event in facts.seen.events if isinstance(event, ModuleCall)]
    known |= {storage_key(tensor) for module in modules for tensor in own_tensors(module)}
    for key, tensor in facts.seen.used.items():
        if key not in known and _wants_gradient(tensor):
            shape = "×".join(map(str, tensor.shape))
            yield Finding.of(
                "unregistered",
                (f"forward(): {type(tensor).__name__} {shape}".rstrip(),),
                tensor.numel(),
                "a parameter that no attribute leads to: fetched by a function, or kept elsewhere",
                "assign it to an attribute of the module that uses it: self.name = nn.Parameter(…)",
            )


def _wants_gradient(tensor: Tensor) -> bool:
    """Whether a tensor is a parameter, or a real one that wants a gradient: views of weights are neither."""
    return isinstance(tensor, nn.Parameter) or (
        type(tensor) is Tensor and not tensor.is_meta and tensor.requires_grad and tensor.is_leaf
    )
