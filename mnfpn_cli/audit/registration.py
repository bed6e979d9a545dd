"""Find modules and parameters that are used but not registered, registered but not used, shared, or cut off."""

import inspect
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from mnfpn_cli.audit.branches import Branches
from mnfpn_cli.audit.training import Training
from mnfpn_cli.documents.audit import Finding
from mnfpn_cli.trace.hidden import Hidden
from mnfpn_cli.trace.observe import ModuleCall, TensorShape
from mnfpn_cli.trace.storages import storage_key
from mnfpn_cli.trace.trace import Trace, has_state, numel, own_state


def shared(trace: Trace) -> Iterator[Finding]:
    """Report modules that are registered under several paths, then parameters that several modules have."""
    paths_of: dict[nn.Module, list[str]] = {}
    for path, module in trace.network.named_modules(remove_duplicate=False):
        paths_of.setdefault(module, []).append(path)
    for module, paths in paths_of.items():
        if len(paths) > 1 and has_state(module) and not _inside_shared(trace, paths):
            parameters, calls = numel(list(module.parameters())), trace.calls[module]
            yield Finding.of(
                "shared",
                tuple(paths),
                parameters,
                f"one {type(module).__name__} in {len(paths)} places, called {calls} times in {_passes(trace)}: "
                f"{parameters:,} parameters in fact, {len(paths) * parameters:,} in the state dict",
                f"make {len(paths)} of them; or, where sharing is meant, register it once and call it {calls} times",
            )
    yield from _shared_parameters(trace)


def _inside_shared(trace: Trace, paths: Sequence[str]) -> bool:
    """Return whether the modules that hold a shared module are one shared module, for which it is reported."""
    parents = {path.rpartition(".")[0] for path in paths}
    names = {path.rpartition(".")[2] for path in paths}
    return len(names) == 1 and len({trace.network.get_submodule(path) for path in parents}) == 1


def _shared_parameters(trace: Trace) -> Iterator[Finding]:
    """Report parameters that several modules have; two views of the same numbers are one parameter.

    Those of the same modules are one finding, also where modules differ in their numbers alone, as tied heads do.
    """
    groups: dict[tuple[object, ...], dict[tuple[nn.Module, str], str]] = {}
    tensors: dict[tuple[object, ...], Tensor] = {}
    for path, parameter in trace.network.named_parameters(remove_duplicate=False):
        above, _, name = path.rpartition(".")
        key: tuple[object, ...] = (storage_key(parameter), parameter.storage_offset(), parameter.shape)
        tensors[key] = parameter
        groups.setdefault(key, {}).setdefault((trace.network.get_submodule(above), name), path)
    tied: dict[tuple[str, ...], list[tuple[Tensor, list[str]]]] = {}
    for key, owners in groups.items():
        if len(owners) > 1:
            paths = list(owners.values())
            modules = tuple(_without_numbers(path.rpartition(".")[0]) for path in paths)
            tied.setdefault(modules, []).append((tensors[key], paths))
    for modules, pairs in tied.items():
        parameters = sum(tensor.numel() for tensor, _ in pairs)
        what = "one parameter" if len(pairs) == 1 else f"{len(pairs)} parameters, each"
        yield Finding.of(
            "shared",
            tuple(path for _, paths in pairs for path in paths),
            parameters,
            f"{what} in {len(modules)} modules: {parameters:,} in fact, "
            f"{len(modules) * parameters:,} in the state dict",
            "give each module its own, unless weights are tied on purpose",
        )


def never_called(trace: Trace, training: Training, branches: Branches) -> Iterator[Finding]:
    """Report modules that take part in no pass, the outermost alone; then single parameters.

    Args:
        trace: the passes.
        training: what training mode adds.
        branches: which idle modules other inputs call.
    """
    for shape in (None, *dict.fromkeys(branches.at_size.values())):
        bad = {module for module in training.idle if branches.at_size.get(module) == shape}
        for paths, modules in _siblings(trace, bad.__contains__):
            parameters = numel([parameter for module in modules for parameter in module.parameters()])
            yield Finding.of("never_called", paths, parameters, *_idle_texts(trace, parameters, shape, branches))
    for path, module in trace.network.named_modules():
        if trace.took_part(module):
            yield from _unused_parameters(trace, path, module, training, branches)


def _idle_texts(trace: Trace, parameters: int, shape: TensorShape | None, branches: Branches) -> tuple[str, str]:
    """Return the message and the remedy for modules that are idle; ``shape``: of the input that calls them."""
    if shape is not None:
        other = "×".join(map(str, shape))
        return (
            f"not called in {_passes(trace)}, but for an input of {other}: {parameters:,} parameters that images of "
            "one size alone train",
            f"audit it with an input of {other} too; if it should be called at each size, call it in forward",
        )
    several = f" in {_passes(trace)}" if len(trace.passes) > 1 else ""
    return (
        f"registered and never called{several}: {parameters:,} parameters that an optimiser carries and "
        "that no pass used",
        f"call it in forward, or remove it{_by_value(branches)}",
    )


def _passes(trace: Trace) -> str:
    return "the pass" if len(trace.passes) == 1 else f"{len(trace.passes)} passes"


def _by_value(branches: Branches) -> str:
    """Return the hint that other inputs may take another branch; empty where values decide nothing."""
    if not branches.by_value:
        return ""
    return "; values of tensors may decide whether the forward uses it, so audit it with several inputs too"


def _unused_parameters(
    trace: Trace, path: str, module: nn.Module, training: Training, branches: Branches
) -> Iterator[Finding]:
    for name, parameter in module._parameters.items():
        if parameter is not None and not trace.used(parameter) and not training.adds(trace, parameter):
            yield Finding.of(
                "never_called",
                (f"{path}.{name}".removeprefix("."),),
                parameter.numel(),
                f"a parameter of {type(module).__name__} that takes no part in {_passes(trace)}",
                f"use it in forward, or remove it{_by_value(branches)}",
            )


def without_gradient(trace: Trace, training: Training) -> Iterator[Finding]:
    """Report parameters that took part and cannot learn: cut off from every output, or frozen while others are not.

    Those that training mode reaches can learn: proposals of detectors, which are detached in eval mode, learn in
    training from a loss of their own.
    """
    if trace.gradients is None or not any(parameter.requires_grad for parameter in trace.network.parameters()):
        return
    cut_off = {id(parameter): training.cut.get(storage_key(parameter)) for parameter in training.cut_off}
    # Parameters that no function cuts come first.
    for function in sorted(set(cut_off.values()), key=lambda name: (name is not None, name or "")):
        bad = {key for key, name in cut_off.items() if name == function}

        def is_cut(parameter: Tensor, bad: set[int] = bad) -> bool:
            return id(parameter) in bad

        for paths, parameters in _outermost(trace, is_cut):
            yield Finding.of("without_gradient", paths, parameters, *_cut_texts(function))

    def is_frozen(parameter: Tensor) -> bool:
        return trace.used(parameter) and not parameter.requires_grad

    frozen = "requires_grad is off, while it is on in the rest of the network"
    for paths, parameters in _outermost(trace, is_frozen):
        yield Finding.of(
            "without_gradient", paths, parameters, frozen, "requires_grad_(True), unless it is frozen on purpose"
        )


def _cut_texts(function: str | None) -> tuple[str, str]:
    """Return the message and the remedy for parameters without a gradient; ``function``: which cuts them off."""
    if function is not None:
        return (
            f"no gradient flows to it: the backward of {function} returns None for the input that it leads to",
            f"return its gradient from {function}.backward, or set requires_grad_(False) where it must not learn",
        )
    return (
        "no gradient flows from any output to it: its result is dropped, detached, or computed under no_grad",
        "return or use what it computes, or remove it; no .detach()",
    )


def _outermost(trace: Trace, bad: Callable[[Tensor], bool]) -> Iterator[tuple[tuple[str, ...], int]]:
    """Yield the outermost modules of which all used parameters are bad, then single bad parameters of the others.

    Each item is a tuple of paths of siblings or of their like in other parents, and their parameters.
    """

    def all_bad(module: nn.Module) -> bool:
        used = [parameter for parameter in module.parameters() if trace.used(parameter)]
        return bool(used) and all(map(bad, used))

    covered: set[int] = set()
    for paths, modules in _siblings(trace, all_bad):
        inside = [tensor for module in modules for tensor in module.parameters() if trace.used(tensor)]
        covered |= set(map(id, inside))
        yield paths, numel(inside)
    groups: dict[str, dict[str, Tensor]] = {}
    for path, module in trace.network.named_modules():
        for name, parameter in module._parameters.items():
            if parameter is not None and bad(parameter) and id(parameter) not in covered:
                groups.setdefault(_without_numbers(path), {})[f"{path}.{name}".removeprefix(".")] = parameter
    for single in groups.values():
        yield tuple(single), numel(list(single.values()))


def _siblings(trace: Trace, wanted: Callable[[nn.Module], bool]) -> Iterator[tuple[tuple[str, ...], list[nn.Module]]]:
    """Yield the outermost modules for which a predicate holds, with their paths.

    Those of one parent come together, and those of parents that differ in their numbers alone, as ``blocks.0.norm`` and
    ``blocks.1.norm``.
    """
    done: set[nn.Module] = set()
    groups: dict[str, list[str]] = {}
    for path, module in trace.network.named_modules():
        above = path.rpartition(".")[0]
        if path and trace.network.get_submodule(above) in done:
            done.add(module)
        elif wanted(module):
            done.add(module)
            groups.setdefault(_without_numbers(above), []).append(path)
    for paths in groups.values():
        yield tuple(paths), [trace.network.get_submodule(path) for path in paths]


def _without_numbers(path: str) -> str:
    """Return a path with a sign in place of each number: ``stage*.*.norm``."""
    return re.sub(r"\d+", "*", path)


def parameter_counts(trace: Trace) -> tuple[int, int, int]:
    """Count parameters over the rows of the layer tree, in ``parameters()``, and in the state dict without buffers."""
    registered = numel(list(trace.network.parameters()))
    names = {name for name, _ in trace.network.named_parameters(remove_duplicate=False)}
    state = trace.network.state_dict()
    stored = sum(value.numel() for name, value in state.items() if isinstance(value, Tensor) and name in names)
    return registered + sum(each.parameters for each in unregistered_in_use(trace)), registered, stored


def miscounted(trace: Trace) -> Iterator[Finding]:
    """Report that the three counts of parameters differ."""
    rows, registered, stored = parameter_counts(trace)
    if rows == registered == stored:
        return
    most = max(abs(rows - registered), abs(stored - registered), abs(rows - stored))
    yield Finding.of(
        "miscounted",
        ("",),
        most,
        f"{rows:,} parameters in the layer tree, {registered:,} in parameters(), {stored:,} in the state dict: "
        f"they differ by up to {most:,}",
        "see the unregistered and shared modules above"
        if rows != registered or stored > registered
        else "see what state_dict() leaves out",
    )


MODULES = {"list": "nn.ModuleList", "tuple": "nn.ModuleList", "set": "nn.ModuleList", "dict": "nn.ModuleDict"}
TENSORS = {"list": "nn.ParameterList", "tuple": "nn.ParameterList", "dict": "nn.ParameterDict"}
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
        f"{what} in {where} of {_owner(trace, first)}, used in {_passes(trace)}: {EFFECT}",
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
