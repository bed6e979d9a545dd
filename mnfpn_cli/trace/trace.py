"""Trace a network: record a pass of it, the storages that gradients reach, and what is not registered."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

from mnfpn_cli.errors import MnfpnError
from mnfpn_cli.external.guard import ModelError
from mnfpn_cli.trace.hidden import Hidden, find_hidden
from mnfpn_cli.trace.observe import ModuleCall
from mnfpn_cli.trace.passes import Input, Mode, Pass, cheapest_pass, run_pass
from mnfpn_cli.trace.storages import storage_key


@dataclass(frozen=True)
class Trace:
    """A network, a recorded pass of it, the storages that gradients reach, and what is not registered.

    Attributes:
        network: the network, unchanged.
        inputs: the inputs of each pass.
        hidden: modules and tensors that are reachable from attributes, but not registered.
        eval_pass: the pass in eval mode.
        reached: keys of the storages that gradients of the outputs reach; None where they were not asked for, or cannot
            be followed.
        gradient_failure: why gradients cannot be followed; empty where they can, or were not asked for.
    """

    network: nn.Module
    inputs: tuple[Input, ...]
    hidden: tuple[Hidden, ...]
    eval_pass: Pass
    reached: frozenset[int] | None = None
    gradient_failure: str = ""

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
        """The number of calls of each module."""
        return Counter(event.module for event in self.eval_pass.events if isinstance(event, ModuleCall))

    @cached_property
    def in_use(self) -> set[nn.Module]:
        """The registered modules that took part in the pass, or contain a module that did.

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
        """Return whether the pass used a tensor, or another tensor with the same storage."""
        return storage_key(tensor) in self.eval_pass.used

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


def trace_network(network: nn.Module, inputs: Sequence[Input], gradients: bool = True) -> Trace:
    """Return the trace of a network, which is left unchanged.

    ``gradients``: whether to run a second pass to find the parameters that gradients reach.

    Raises:
        ModelError: where the network fails.
        MnfpnError: where it returns no tensors, or its layers do not run in Python.
    """
    _check_traceable(network)
    hidden = tuple(find_hidden(network))
    hidden_modules = _modules(hidden)
    eval_pass = cheapest_pass(network, inputs, hidden_modules)
    if not eval_pass.outputs:
        raise MnfpnError(f"{type(network).__name__} must return tensors, got {eval_pass.returned}")
    if not gradients:
        return Trace(network, tuple(inputs), hidden, eval_pass)
    reached, gradient_failure = _follow_gradients(network, inputs, eval_pass.mode, hidden_modules)
    return Trace(network, tuple(inputs), hidden, eval_pass, reached, gradient_failure)


def _modules(hidden: Sequence[Hidden]) -> list[nn.Module]:
    return [value for value in (item.value for item in hidden) if isinstance(value, nn.Module)]


def _follow_gradients(
    network: nn.Module, inputs: Sequence[Input], mode: Mode, hidden_modules: Sequence[nn.Module]
) -> tuple[frozenset[int] | None, str]:
    """Return the keys of the storages that gradients reach, or None and the reason why they cannot be followed."""
    if not any(parameter.requires_grad for parameter in network.parameters()):
        return None, ""
    try:
        grad_pass = run_pass(network, inputs, mode, hidden_modules, gradients=True)
    except ModelError as error:
        return None, error.message
    return (None, grad_pass.gradient_failure) if grad_pass.gradient_failure else (grad_pass.reached, "")


def _check_traceable(network: nn.Module) -> None:
    """Check that a network can be traced: that its layers exist, are hashable, and run in Python.

    Raises:
        MnfpnError: where it cannot.
    """
    kind = type(network).__name__
    if "_modules" not in vars(network):
        raise MnfpnError(f"{kind} has no modules yet: its __init__ must call super().__init__() first")
    if type(network).__hash__ is None or any(type(module).__hash__ is None for module in network.modules()):
        raise MnfpnError(f"{kind} has a module with __eq__ and without __hash__: torch needs both")
    if any(isinstance(module, torch.jit.ScriptModule) for module in network.modules()):
        raise MnfpnError(
            f"{kind} is TorchScript, whose layers do not run in Python: pass the module that it was made from"
        )
    lazy = [name for name, tensor in network.named_parameters() if isinstance(tensor, UninitializedParameter)]
    if lazy:
        raise MnfpnError(
            f"{kind} has lazy layers without shapes ({lazy[0]}): run it once in the function that `model` names"
        )
