"""Whether what a pass runs is registered: modules that state_dict() lacks, and those that no pass runs."""

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from mnfpn_cli.documents.audit import Finding
from mnfpn_cli.trace.hidden import Hidden
from mnfpn_cli.trace.observe import ModuleCall
from mnfpn_cli.trace.storages import storage_key
from mnfpn_cli.trace.trace import Trace, has_state, numel


def shared(trace: Trace) -> Iterator[Finding]:
    """Modules that stand under several paths, then parameters that several modules have."""
    places: dict[nn.Module, list[str]] = {}
    for path, module in trace.network.named_modules(remove_duplicate=False):
        places.setdefault(module, []).append(path)
    for module, paths in places.items():
        if len(paths) > 1 and has_state(module) and not _inside_shared(trace, paths):
            parameters, calls = numel(list(module.parameters())), trace.calls[module]
            yield Finding.of(
                "shared",
                tuple(paths),
                parameters,
                f"one {type(module).__name__} in {len(paths)} places, called {calls} times in the pass: "
                f"{parameters:,} parameters in truth, {len(paths) * parameters:,} in the state dict",
                f"make {len(paths)} of them; or, where sharing is meant, register it once and call it {calls} times",
            )
    yield from _shared_parameters(trace)


def _inside_shared(trace: Trace, paths: Sequence[str]) -> bool:
    """Whether the modules that hold it are one module in several places, so that it is said there."""
    parents = {path.rpartition(".")[0] for path in paths}
    names = {path.rpartition(".")[2] for path in paths}
    return len(names) == 1 and len({trace.network.get_submodule(path) for path in parents}) == 1


def _shared_parameters(trace: Trace) -> Iterator[Finding]:
    groups: dict[tuple[object, ...], dict[tuple[nn.Module, str], str]] = {}
    tensors: dict[tuple[object, ...], Tensor] = {}
    for path, parameter in trace.network.named_parameters(remove_duplicate=False):
        above, _, name = path.rpartition(".")
        key: tuple[object, ...] = (storage_key(parameter), parameter.storage_offset(), parameter.shape)
        tensors[key] = parameter
        groups.setdefault(key, {}).setdefault((trace.network.get_submodule(above), name), path)
    for key, owners in groups.items():
        if len(owners) > 1:
            parameters = tensors[key].numel()
            yield Finding.of(
                "shared",
                tuple(owners.values()),
                parameters,
                f"one parameter in {len(owners)} modules: {parameters:,} in truth, "
                f"{len(owners) * parameters:,} in the state dict",
                "give each module its own; or, where weights are tied on purpose, nothing",
            )


def never_called(trace: Trace, in_training: Callable[[nn.Module], bool]) -> Iterator[Finding]:
    """Modules with parameters or buffers that took no part, the outermost of each; then single parameters.

    ``in_training``: whether a module takes part in a pass in training mode, as auxiliary heads do.
    """

    def is_idle(module: nn.Module) -> bool:
        return module not in trace.in_use and has_state(module) and not in_training(module)

    for paths, modules in _siblings(trace, is_idle):
        parameters = numel([one for module in modules for one in module.parameters()])
        yield Finding.of(
            "never_called",
            paths,
            parameters,
            f"registered and never called: {parameters:,} parameters that an optimiser carries and that learn nothing",
            "call it in forward, or remove it",
        )
    for path, module in trace.network.named_modules():
        if trace.took_part(module):
            yield from _unused_parameters(trace, path, module)


def _unused_parameters(trace: Trace, path: str, module: nn.Module) -> Iterator[Finding]:
    for name, parameter in module._parameters.items():
        if parameter is not None and not trace.used(parameter):
            yield Finding.of(
                "never_called",
                (f"{path}.{name}".removeprefix("."),),
                parameter.numel(),
                f"a parameter of {type(module).__name__} that takes no part in the pass",
                "use it in forward, or remove it",
            )


def without_gradient(trace: Trace, in_training: Callable[[Tensor], bool]) -> Iterator[Finding]:
    """Parameters that took part and cannot learn: cut off from every output, or frozen while others are not.

    ``in_training``: whether a gradient may reach a parameter in training mode, as in detectors, whose proposals are
    detached, and learn by a loss of their own.
    """
    everything = list(trace.network.parameters())
    if trace.reached is None or not any(one.requires_grad for one in everything):
        return
    reached = trace.reached

    def is_cut(one: Tensor) -> bool:
        return trace.used(one) and one.requires_grad and storage_key(one) not in reached and not in_training(one)

    def is_frozen(one: Tensor) -> bool:
        return trace.used(one) and not one.requires_grad

    cut = "what it computes reaches no output of the network with its gradient: dropped, detached, or under no_grad"
    for paths, parameters in _outermost(trace, is_cut):
        yield Finding.of(
            "without_gradient", paths, parameters, cut, "return or use what it computes, or remove it; no .detach()"
        )
    frozen = "requires_grad is off, while it is on in the rest of the network"
    for paths, parameters in _outermost(trace, is_frozen):
        yield Finding.of(
            "without_gradient", paths, parameters, frozen, "requires_grad_(True), unless it is frozen on purpose"
        )


def _outermost(trace: Trace, bad: Callable[[Tensor], bool]) -> Iterator[tuple[tuple[str, ...], int]]:
    """The outermost modules of which all parameters in use are bad, then single parameters of the others."""

    def all_bad(module: nn.Module) -> bool:
        used = [one for one in module.parameters() if trace.used(one)]
        return bool(used) and all(map(bad, used))

    covered: set[int] = set()
    for paths, modules in _siblings(trace, all_bad):
        inside = [one for module in modules for one in module.parameters() if trace.used(one)]
        covered |= set(map(id, inside))
        yield paths, numel(inside)
    for path, module in trace.network.named_modules():
        single = [(name, one) for name, one in _own(module) if bad(one) and id(one) not in covered]
        if single:
            yield tuple(f"{path}.{name}".removeprefix(".") for name, _ in single), numel([one for _, one in single])


def _siblings(trace: Trace, wanted: Callable[[nn.Module], bool]) -> Iterator[tuple[tuple[str, ...], list[nn.Module]]]:
    """The outermost modules of a kind, those of one parent together."""
    done: set[nn.Module] = set()
    groups: dict[str, list[str]] = {}
    for path, module in trace.network.named_modules():
        above = path.rpartition(".")[0]
        if path and trace.network.get_submodule(above) in done:
            done.add(module)
        elif wanted(module):
            done.add(module)
            groups.setdefault(above, []).append(path)
    for paths in groups.values():
        yield tuple(paths), [trace.network.get_submodule(path) for path in paths]


def _own(module: nn.Module) -> list[tuple[str, Tensor]]:
    return [(name, one) for name, one in module._parameters.items() if one is not None]


def counted(trace: Trace) -> tuple[int, int, int]:
    """Parameters by rows (each module that took part or is registered, once), by ``parameters()``, by state dict."""
    registered = numel(list(trace.network.parameters()))
    names = {name for name, _ in trace.network.named_parameters(remove_duplicate=False)}
    state = trace.network.state_dict()
    stored = sum(one.numel() for name, one in state.items() if isinstance(one, Tensor) and name in names)
    return registered + sum(one.parameters for one in outside(trace)), registered, stored


def miscounted(trace: Trace) -> Iterator[Finding]:
    """That the three counts of parameters do not agree."""
    rows, registered, stored = counted(trace)
    if rows == registered == stored:
        return
    most = max(abs(rows - registered), abs(stored - registered), abs(rows - stored))
    yield Finding.of(
        "miscounted",
        ("",),
        most,
        f"{rows:,} parameters by rows, {registered:,} by parameters(), {stored:,} by state dict: "
        f"they differ by up to {most:,}",
        "what is unregistered or shared above explains it"
        if rows != registered or stored > registered
        else "see what state_dict() leaves out",
    )


MODULES = {"list": "nn.ModuleList", "tuple": "nn.ModuleList", "set": "nn.ModuleList", "dict": "nn.ModuleDict"}
TENSORS = {"list": "nn.ParameterList", "tuple": "nn.ParameterList", "dict": "nn.ParameterDict"}
"""What registers what such a container holds."""

EFFECT = "no optimiser, no state dict and no .to(device) sees them"


@dataclass(frozen=True, slots=True)
class Outside:
    """Something outside the tree that took part: the outermost module, or a tensor by itself."""

    hidden: Hidden
    parameters: int


def outside(trace: Trace) -> list[Outside]:
    """What hides, took part, and holds numbers: an activation in a list does no harm."""
    found: list[Outside] = []
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
                found.append(Outside(one, numel(fresh)))
        elif storage_key(one.value) not in taken and _is_weight(trace, one.value):
            taken.add(storage_key(one.value))
            found.append(Outside(one, one.value.numel()))
    return found


def _is_weight(trace: Trace, tensor: Tensor) -> bool:
    """Whether a tensor is one that wants a gradient, or meets maps as a weight does: a mean of images meets none."""
    return trace.used(tensor) and (
        tensor.requires_grad or (tensor.is_floating_point() and storage_key(tensor) in trace.eval_pass.met)
    )


def constants(trace: Trace) -> list[str]:
    """Attributes that are plain tensors, took part, and are no weights."""
    loose = [one for one in trace.hidden if isinstance(one.value, Tensor) and one.container != "global"]
    kept = {id(inner) for one in trace.hidden if isinstance(one.value, nn.Module) for inner in own_tensors(one.value)}
    return [
        one.path
        for one in loose
        if isinstance(one.value, Tensor)
        and trace.used(one.value)
        and storage_key(one.value) not in trace.state
        and id(one.value) not in kept
        and one.value.is_floating_point()
        and not _is_weight(trace, one.value)
    ]


def own_tensors(module: nn.Module) -> list[Tensor]:
    """All parameters and buffers of a module."""
    return [*module.parameters(), *module.buffers()]


def unregistered(trace: Trace) -> Iterator[Finding]:
    """A finding for each attribute that hides something, and one for what no attribute leads to."""
    groups: dict[tuple[int, str, bool], list[Outside]] = {}
    for one in outside(trace):
        key = (id(one.hidden.holder), one.hidden.attribute, isinstance(one.hidden.value, nn.Module))
        groups.setdefault(key, []).append(one)
    for group in groups.values():
        yield _finding(trace, group)
    yield from _lost(trace)


def _finding(trace: Trace, group: list[Outside]) -> Finding:
    first = group[0].hidden
    modules = isinstance(first.value, nn.Module)
    kinds = sorted({type(one.hidden.value).__name__ for one in group})
    parameters = sum(one.parameters for one in group)
    what = f"{len(group)} {' and '.join(kinds)}" if len(group) > 1 else f"a {kinds[0]}"
    where = _where(first)
    return Finding.of(
        "unregistered",
        tuple(one.hidden.path for one in group),
        parameters,
        f"{what} in {where} of {_owner(trace, first)}, used in the pass: {EFFECT}",
        _remedy(first, modules),
    )


def _where(one: Hidden) -> str:
    names = {"attribute": "a plain attribute", "dataclass": "a dataclass", "object": "an object"}
    outer = type(getattr(one.holder, one.attribute, None)).__name__
    within = f" in a {outer}" if outer in MODULES and outer != one.container else ""
    return names.get(one.container, f"a {'plain ' * (one.container in MODULES)}{one.container}") + within


def _owner(trace: Trace, one: Hidden) -> str:
    path = trace.paths.get(one.holder)
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


def _lost(trace: Trace) -> Iterator[Finding]:
    """What was called and is neither registered nor to be found: made in a forward, or kept elsewhere."""
    known = {id(inner) for one in trace.hidden if isinstance(one.value, nn.Module) for inner in one.value.modules()}
    known |= set(map(id, trace.paths))
    lost: dict[int, ModuleCall] = {}
    for event in trace.eval_pass.events:
        if isinstance(event, ModuleCall) and id(event.module) not in known:
            known |= {id(inner) for inner in event.module.modules()}
            if has_state(event.module):
                lost[id(event.module)] = event
    for call in lost.values():
        caller = trace.paths.get(call.caller, "") if call.caller else ""
        name, by = type(call.module).__name__, type(call.caller).__name__
        yield Finding.of(
            "unregistered",
            (f"{f'{caller}.' if caller else ''}forward(): {name}",),
            numel(list(call.module.parameters())),
            f"a {name} called by {by}, which no attribute leads to: made anew in each forward, or kept elsewhere",
            f"make it once in {by}.__init__, and assign it to an attribute",
        )
    yield from _lost_parameters(trace)


def _lost_parameters(trace: Trace) -> Iterator[Finding]:
    """What wants a gradient, took part, and is neither registered nor to be found."""
    known = {storage_key(one.value) for one in trace.hidden if isinstance(one.value, Tensor)} | set(trace.state)
    modules = [one.value for one in trace.hidden if isinstance(one.value, nn.Module)]
    modules += [event.module for event in trace.eval_pass.events if isinstance(event, ModuleCall)]
    known |= {storage_key(tensor) for module in modules for tensor in own_tensors(module)}
    for key, tensor in trace.eval_pass.used.items():
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
