"""Find what is registered and shared, never used, cut off from gradients, or counted in several ways."""

import re
from collections.abc import Callable, Iterator, Sequence

from torch import Tensor, nn

from mnfpn_cli.audit.branches import Branches
from mnfpn_cli.audit.training import Training
from mnfpn_cli.audit.unregistered import passes_text, unregistered_in_use
from mnfpn_cli.documents.audit import Finding
from mnfpn_cli.text import counted
from mnfpn_cli.trace.observe import TensorShape
from mnfpn_cli.trace.storages import storage_key
from mnfpn_cli.trace.trace import Trace, has_state, numel


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
                f"one {type(module).__name__} in {len(paths)} places, called {calls} times in {passes_text(trace)}: "
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
            f"not called in {passes_text(trace)}, but for an input of {other}: {counted(parameters, 'parameter')} that "
            "images of one size alone train",
            f"audit it with an input of {other} too; if it should be called at each size, call it in forward",
        )
    several = f" in {passes_text(trace)}" if len(trace.passes) > 1 else ""
    return (
        f"registered and never called{several}: {counted(parameters, 'parameter')} that an optimiser carries and "
        "that no pass used",
        f"call it in forward, or remove it{_by_value(branches)}",
    )


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
                f"a parameter of {type(module).__name__} that takes no part in {passes_text(trace)}",
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
