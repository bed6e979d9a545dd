"""Trace a network: record passes of it, the storages that gradients reach, and what is not registered."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cached_property, reduce
from itertools import chain
from operator import or_

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.parameter import UninitializedParameter

from mnfpn_cli.errors import MnfpnError, within
from mnfpn_cli.external.guard import ModelError, exclusive
from mnfpn_cli.trace.backward import Gradients, gradient_pass
from mnfpn_cli.trace.hidden import Hidden, find_hidden
from mnfpn_cli.trace.observe import ModuleCall, TraceEvent
from mnfpn_cli.trace.passes import Input, Pass, cheapest_pass
from mnfpn_cli.trace.storages import storage_key


@dataclass(frozen=True)
class Trace:
    """A network, its recorded passes, the storages that gradients reach, and what is not registered.

    Attributes:
        network: the network, unchanged.
        hidden: modules and tensors that are reachable from attributes, but not registered.
        passes: the passes in eval mode, one for each of the inputs that were given; at least one.
        gradients: what gradients of the outputs reach in any pass; None where they were not asked for, or cannot be
            followed in any.
        gradient_failures: why gradients could not be followed in a pass.
    """

    network: nn.Module
    hidden: tuple[Hidden, ...]
    passes: tuple[Pass, ...]
    gradients: Gradients | None = None
    gradient_failures: tuple[str, ...] = ()

    @property
    def eval_pass(self) -> Pass:
        """The first pass, of which layers, operations and memory are counted."""
        return self.passes[0]

    @property
    def inputs(self) -> tuple[Input, ...]:
        """The inputs of the first pass."""
        return self.eval_pass.inputs

    @property
    def events(self) -> Iterator[TraceEvent]:
        """The module calls and operations of all passes."""
        return chain.from_iterable(one.events for one in self.passes)

    @cached_property
    def used_tensors(self) -> dict[int, Tensor]:
        """The tensors that a pass used but did not make, by the keys of their storages."""
        return {key: tensor for one in self.passes for key, tensor in one.used.items()}

    @cached_property
    def combined(self) -> frozenset[int]:
        """The keys of used tensors that a pass combined with a tensor that depends on parameters."""
        return frozenset().union(*(one.combined for one in self.passes))

    @cached_property
    def paths(self) -> dict[nn.Module, str]:
        """The first path of each registered module."""
        return {module: path for path, module in self.network.named_modules()}

    @property
    def hidden_modules(self) -> list[nn.Module]:
        """The modules that are reachable from attributes, but not registered."""
        return _modules(self.hidden)

    @cached_property
    def state(self) -> dict[int, Tensor]:
        """Registered parameters and buffers, by the keys of their storages."""
        return {storage_key(tensor): tensor for tensor in (*self.network.parameters(), *self.network.buffers())}

    @cached_property
    def calls(self) -> Counter[nn.Module]:
        """The number of calls of each module in all passes."""
        return Counter(event.module for event in self.events if isinstance(event, ModuleCall))

    @cached_property
    def in_use(self) -> set[nn.Module]:
        """The registered modules that took part in a pass, or contain a module that did.

        Where several modules hold one activation, its calls do not show which of them took part.
        """
        places = Counter(module for _, module in self.network.named_modules(remove_duplicate=False))
        own = {module for module in places if self.took_part(module)}
        telling = {module for module in own if places[module] == 1 or has_state(module)}
        return own | {module for module in places if not telling.isdisjoint(module.modules())}

    @property
    def registration(self) -> tuple[int, int]:
        """The number of registered modules in use, and of all registered modules; only those with a forward count."""
        registered = [module for module in self.network.modules() if has_forward(module)]
        return sum(module in self.in_use for module in registered), len(registered)

    def used(self, tensor: Tensor) -> bool:
        """Return whether a pass used a tensor, or another tensor with the same storage."""
        return storage_key(tensor) in self.used_tensors

    def took_part(self, module: nn.Module) -> bool:
        """Return whether a module was called, or its parent or another module used its parameters or buffers."""
        return module in self.calls or any(map(self.used, own_state(module)))


def own_state(module: nn.Module) -> list[Tensor]:
    """Return the parameters and buffers of a module itself, without those of its children."""
    own = (*module._parameters.values(), *module._buffers.values())
    return [tensor for tensor in own if tensor is not None]


def has_parameters(module: nn.Module) -> bool:
    """Return whether a module or one of its descendants has parameters."""
    return any(True for _ in module.parameters())


def has_state(module: nn.Module) -> bool:
    """Return whether a module or one of its descendants has parameters or buffers."""
    return has_parameters(module) or any(True for _ in module.buffers())


def has_forward(module: nn.Module) -> bool:
    """Return whether a module can be called; an ``nn.ModuleList`` and an ``nn.ModuleDict`` cannot."""
    return type(module).forward is not nn.Module.forward


def numel(tensors: Sequence[Tensor]) -> int:
    """Return the number of elements of some tensors; a tensor that is listed twice counts once."""
    return sum({id(tensor): tensor.numel() for tensor in tensors}.values())


def trace_network(network: nn.Module, *passes: Sequence[Input], gradients: bool = True) -> Trace:
    """Return the trace of a network, which is left unchanged.

    Args:
        network: the network; of one that was compiled or wrapped for several devices, the original is traced.
        passes: the inputs of each pass.
        gradients: whether to run each pass again to find the parameters that gradients reach.

    Raises:
        ModelError: where the network fails.
        MnfpnError: where it returns no tensors, or its layers do not run in Python.
    """
    with exclusive():
        network = original(network)
        _check_traceable(network)
        hidden = tuple(find_hidden(network))
        hidden_modules = _modules(hidden)
        eval_passes = []
        for number, inputs in enumerate(passes, 1):
            with within(f"pass {number} of {len(passes)}") if len(passes) > 1 else nullcontext():
                eval_passes.append(_eval_pass(network, inputs, hidden_modules))
        trace = Trace(network, hidden, tuple(eval_passes))
        return _with_gradients(trace) if gradients else trace


def _eval_pass(network: nn.Module, inputs: Sequence[Input], hidden_modules: Sequence[nn.Module]) -> Pass:
    observed = cheapest_pass(network, inputs, hidden_modules)
    if not observed.outputs:
        raise MnfpnError(f"{type(network).__name__} must return tensors, got {observed.returned}")
    return observed


def original(network: nn.Module) -> nn.Module:
    """Return the network inside a wrapper that runs it as it is: of ``torch.compile``, or for several devices."""
    while True:
        match network:
            case nn.DataParallel() | DistributedDataParallel():
                network = network.module
            case nn.Module(_orig_mod=nn.Module() as inner) if not isinstance(inner, torch.jit.ScriptModule):
                network = inner
            case _:
                return network


def _modules(hidden: Sequence[Hidden]) -> list[nn.Module]:
    return [value for value in (item.value for item in hidden) if isinstance(value, nn.Module)]


def _with_gradients(trace: Trace) -> Trace:
    """Follow the gradients of each pass. In a pass where that cannot be done, all that is used counts as reached."""
    if not any(parameter.requires_grad for parameter in trace.network.parameters()):
        return trace
    followed, unjudged, failures = list[Gradients](), list[Gradients](), list[str]()
    for one in trace.passes:
        try:
            observed, found = gradient_pass(trace.network, one.inputs, one.mode, trace.hidden_modules)
            failure = observed.gradient_failure
        except ModelError as error:
            found, failure = None, error.message
        if found is None:
            unjudged.append(Gradients(frozenset(one.used)))
            failures.append(failure)
        else:
            followed.append(found)
    merged = reduce(or_, [*followed, *unjudged]) if followed else None
    return replace(trace, gradients=merged, gradient_failures=tuple(dict.fromkeys(failures)))


def _check_traceable(network: nn.Module) -> None:
    """Check that a network can be traced: that its layers exist, are hashable, and run in Python.

    Raises:
        MnfpnError: where it cannot.
    """
    kind = type(network).__name__
    if not isinstance(network, torch.jit.ScriptModule) and "_modules" not in vars(network):
        raise MnfpnError(f"{kind} has no modules yet: its __init__ must call super().__init__() first")
    scripts = (path for path, module in network.named_modules() if isinstance(module, torch.jit.ScriptModule))
    if (script := next(scripts, None)) is not None:
        raise MnfpnError(
            f"{f'{script} of {kind}' if script else kind} is TorchScript, whose layers do not run in Python: pass the "
            "module that it was made from"
        )
    if type(network).__hash__ is None or any(type(module).__hash__ is None for module in network.modules()):
        raise MnfpnError(f"{kind} has a module with __eq__ and without __hash__: torch needs both")
    check_shaped(network)


def check_shaped(network: nn.Module) -> None:
    """Check that the parameters of a network have shapes: those of lazy layers have none before they run.

    Raises:
        MnfpnError: where one has none.
    """
    lazy = [name for name, tensor in network.named_parameters() if isinstance(tensor, UninitializedParameter)]
    if lazy:
        raise MnfpnError(f"{type(network).__name__} has lazy layers without shapes ({lazy[0]}): run it once first")
