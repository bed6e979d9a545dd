"""What is registered, and wrong all the same: shared, never called, out of the gradient's reach, or miscounted."""

from collections.abc import Callable, Iterator, Sequence

from torch import Tensor, nn

from mnfpn_cli.audit.unregistered import outside
from mnfpn_cli.documents.audit import Finding
from mnfpn_cli.trace.facts import Facts, has_state, numel
from mnfpn_cli.trace.storages import storage_key


def shared(facts: Facts) -> Iterator[Finding]:
    """Modules that stand under several paths, then parameters that several modules have."""
    places: dict[nn.Module, list[str]] = {}
    for path, module in facts.network.named_modules(remove_duplicate=False):
        places.setdefault(module, []).append(path)
    for module, paths in places.items():
        if len(paths) > 1 and has_state(module) and not _inside_shared(facts, paths):
            parameters, calls = numel(list(module.parameters())), facts.calls[module]
            yield Finding.of(
                "shared",
                tuple(paths),
                parameters,
                f"one {type(module).__name__} in {len(paths)} places, called {calls} times in the pass: "
                f"{parameters:,} parameters in truth, {len(paths) * parameters:,} in the state dict",
                f"make {len(paths)} of them; or, where sharing is meant, register it once and call it {calls} times",
            )
    yield from _shared_parameters(facts)


def _inside_shared(facts: Facts, paths: Sequence[str]) -> bool:
    """Whether the modules that hold it are one module in several places, so that it is said there."""
    parents = {path.rpartition(".")[0] for path in paths}
    names = {path.rpartition(".")[2] for path in paths}
    return len(names) == 1 and len({facts.network.get_submodule(path) for path in parents}) == 1


def _shared_parameters(facts: Facts) -> Iterator[Finding]:
    groups: dict[tuple[object, ...], dict[tuple[nn.Module, str], str]] = {}
    tensors: dict[tuple[object, ...], Tensor] = {}
    for path, parameter in facts.network.named_parameters(remove_duplicate=False):
        above, _, name = path.rpartition(".")
        key: tuple[object, ...] = (storage_key(parameter), parameter.storage_offset(), parameter.shape)
        tensors[key] = parameter
        groups.setdefault(key, {}).setdefault((facts.network.get_submodule(above), name), path)
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


def never_called(facts: Facts, in_training: Callable[[nn.Module], bool]) -> Iterator[Finding]:
    """Modules with parameters or buffers that took no part, the outermost of each; then single parameters.

    ``in_training``: whether a module takes part in a pass in training mode, as auxiliary heads do.
    """

    def is_idle(module: nn.Module) -> bool:
        return module not in facts.in_use and has_state(module) and not in_training(module)

    for paths, modules in _siblings(facts, is_idle):
        parameters = numel([one for module in modules for one in module.parameters()])
        yield Finding.of(
            "never_called",
            paths,
            parameters,
            f"registered and never called: {parameters:,} parameters that an optimiser carries and that learn nothing",
            "call it in forward, or remove it",
        )
    for path, module in facts.network.named_modules():
        if facts.took_part(module):
            yield from _unused_parameters(facts, path, module)


def _unused_parameters(facts: Facts, path: str, module: nn.Module) -> Iterator[Finding]:
    for name, parameter in module._parameters.items():
        if parameter is not None and not facts.used(parameter):
            yield Finding.of(
                "never_called",
                (f"{path}.{name}".removeprefix("."),),
                parameter.numel(),
                f"a parameter of {type(module).__name__} that takes no part in the pass",
                "use it in forward, or remove it",
            )


def without_gradient(facts: Facts, in_training: Callable[[Tensor], bool]) -> Iterator[Finding]:
    """Parameters that took part and cannot learn: cut off from every output, or frozen while others are not.

    ``in_training``: whether a gradient may reach a parameter in training mode, as in detectors, whose proposals are
    detached, and learn by a loss of their own.
    """
    everything = list(facts.network.parameters())
    if facts.reached is None or not any(one.requires_grad for one in everything):
        return
    reached = facts.reached

    def is_cut(one: Tensor) -> bool:
        return facts.used(one) and one.requires_grad and storage_key(one) not in reached and not in_training(one)

    def is_frozen(one: Tensor) -> bool:
        return facts.used(one) and not one.requires_grad

    cut = "what it computes reaches no output of the network with its gradient: dropped, detached, or under no_grad"
    for paths, parameters in _outermost(facts, is_cut):
        yield Finding.of(
            "without_gradient", paths, parameters, cut, "return or use what it computes, or remove it; no .detach()"
        )
    frozen = "requires_grad is off, while it is on in the rest of the network"
    for paths, parameters in _outermost(facts, is_frozen):
        yield Finding.of(
            "without_gradient", paths, parameters, frozen, "requires_grad_(True), unless it is frozen on purpose"
        )


def _outermost(facts: Facts, bad: Callable[[Tensor], bool]) -> Iterator[tuple[tuple[str, ...], int]]:
    """The outermost modules of which all parameters in use are bad, then single parameters of the others."""

    def all_bad(module: nn.Module) -> bool:
        used = [one for one in module.parameters() if facts.used(one)]
        return bool(used) and all(map(bad, used))

    covered: set[int] = set()
    for paths, modules in _siblings(facts, all_bad):
        inside = [one for module in modules for one in module.parameters() if facts.used(one)]
        covered |= set(map(id, inside))
        yield paths, numel(inside)
    for path, module in facts.network.named_modules():
        single = [(name, one) for name, one in _own(module) if bad(one) and id(one) not in covered]
        if single:
            yield tuple(f"{path}.{name}".removeprefix(".") for name, _ in single), numel([one for _, one in single])


def _siblings(facts: Facts, wanted: Callable[[nn.Module], bool]) -> Iterator[tuple[tuple[str, ...], list[nn.Module]]]:
    """The outermost modules of a kind, those of one parent together."""
    done: set[nn.Module] = set()
    groups: dict[str, list[str]] = {}
    for path, module in facts.network.named_modules():
        above = path.rpartition(".")[0]
        if path and facts.network.get_submodule(above) in done:
            done.add(module)
        elif wanted(module):
            done.add(module)
            groups.setdefault(above, []).append(path)
    for paths in groups.values():
        yield tuple(paths), [facts.network.get_submodule(path) for path in paths]


def _own(module: nn.Module) -> list[tuple[str, Tensor]]:
    return [(name, one) for name, one in module._parameters.items() if one is not None]


def counted(facts: Facts) -> tuple[int, int, int]:
    """Parameters by rows (each module that took part or is registered, once), by ``parameters()``, by state dict."""
    registered = numel(list(facts.network.parameters()))
    names = {name for name, _ in facts.network.named_parameters(remove_duplicate=False)}
    state = facts.network.state_dict()
    stored = sum(one.numel() for name, one in state.items() if isinstance(one, Tensor) and name in names)
    return registered + sum(one.parameters for one in outside(facts)), registered, stored


def miscounted(facts: Facts) -> Iterator[Finding]:
    """That the three counts of parameters do not agree."""
    rows, registered, stored = counted(facts)
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
