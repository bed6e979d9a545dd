"""What is known of a network after its passes: what is registered, what took part, and where the rest hides."""

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
from mnfpn_cli.trace.passes import Input, Mode, Pass, first_pass, run_pass
from mnfpn_cli.trace.storages import storage_key


@dataclass(frozen=True)
class Trace:
    """A network, and what its passes showed.

    Attributes:
        network: as it was given.
        inputs: of the passes.
        hidden: modules and tensors that attributes lead to and that are not registered.
        seen: the pass in eval mode.
        reached: the storages that gradients reach; None where none was asked for, or they cannot be followed.
        unfollowed: why not.
    """

    network: nn.Module
    inputs: tuple[Input, ...]
    hidden: tuple[Hidden, ...]
    eval_pass: Pass
    reached: frozenset[int] | None = None
    unfollowed: str = ""

    @cached_property
    def paths(self) -> dict[nn.Module, str]:
        """The first path of each registered module."""
        return {module: path for path, module in self.network.named_modules()}

    @property
    def others(self) -> list[nn.Module]:
        """The modules that hide."""
        return [one.found for one in self.hidden if isinstance(one.found, nn.Module)]

    @cached_property
    def state(self) -> dict[int, Tensor]:
        """Registered parameters and buffers by their storage."""
        return {storage_key(one): one for one in (*self.network.parameters(), *self.network.buffers())}

    @cached_property
    def calls(self) -> Counter[nn.Module]:
        """Mode often each module was called."""
        return Counter(event.module for event in self.eval_pass.events if isinstance(event, ModuleCall))

    @cached_property
    def in_use(self) -> set[nn.Module]:
        """The registered modules that took part, themselves or by one that is below them."""
        return {module for module in self.network.modules() if any(map(self.took_part, module.modules()))}

    @property
    def registration(self) -> tuple[int, int]:
        """Mode many registered modules took part, and how many there are; those without a forward are not counted."""
        registered = [module for module in self.network.modules() if has_forward(module)]
        return sum(module in self.in_use for module in registered), len(registered)

    def used(self, tensor: Tensor) -> bool:
        """Whether a tensor, or one that shares its memory, took part."""
        return storage_key(tensor) in self.eval_pass.used

    def took_part(self, module: nn.Module) -> bool:
        """Whether a module was called, or its own parameters or buffers were used, as a parent may do."""
        return module in self.calls or any(map(self.used, own_state(module)))


def own_state(module: nn.Module) -> list[Tensor]:
    """The parameters and buffers of a module itself, without those of modules inside."""
    return [one for one in (*module._parameters.values(), *module._buffers.values()) if one is not None]


def has_state(module: nn.Module) -> bool:
    """Whether a module holds parameters or buffers, itself or below."""
    return any(True for _ in module.parameters()) or any(True for _ in module.buffers())


def has_forward(module: nn.Module) -> bool:
    """Whether a module can be called: an ``nn.ModuleList`` or ``nn.ModuleDict`` only holds others."""
    return type(module).forward is not nn.Module.forward


def numel(tensors: Sequence[Tensor]) -> int:
    """Elements of distinct tensors, each once."""
    return sum({id(one): one.numel() for one in tensors}.values())


def trace_network(network: nn.Module, inputs: Sequence[Input], gradients: bool = True) -> Trace:
    """Run a network once in eval mode, once more for gradients where they are asked for, and find what hides.

    The network is left as it was.

    Raises:
        ModelError: where it fails.
        MnfpnError: where it returns no tensors, or runs out of sight.
    """
    _check_can_be_seen(network)
    hidden = tuple(find_hidden(network))
    others = [one.found for one in hidden if isinstance(one.found, nn.Module)]
    seen = first_pass(network, inputs, others)
    if not seen.outputs:
        raise MnfpnError(f"{type(network).__name__} returned no tensors, but {seen.returned}")
    if not gradients:
        return Trace(network, tuple(inputs), hidden, seen)
    reached, unfollowed = _gradients(network, inputs, seen.mode, others)
    return Trace(network, tuple(inputs), hidden, seen, reached, unfollowed)


def _gradients(
    network: nn.Module, inputs: Sequence[Input], mode: Mode, others: Sequence[nn.Module]
) -> tuple[frozenset[int] | None, str]:
    """The storages that gradients reach, or why they cannot be followed."""
    if not any(one.requires_grad for one in network.parameters()):
        return None, ""  # there is nothing to follow them to
    try:
        seen = run_pass(network, inputs, mode, others, gradients=True)
    except ModelError as error:
        return None, error.message
    return (None, seen.unfollowed) if seen.unfollowed else (seen.reached, "")


def _check_can_be_seen(network: nn.Module) -> None:
    """Make sure that a network's layers are there, and are run by Python.

    Raises:
        MnfpnError: where they are not.
    """
    if "_modules" not in vars(network):
        raise MnfpnError(f"{type(network).__name__} is no network yet: its __init__ must call super().__init__() first")
    if type(network).__hash__ is None or any(type(module).__hash__ is None for module in network.modules()):
        raise MnfpnError(f"{type(network).__name__} has a module with __eq__ and without __hash__: torch needs both")
    if any(isinstance(module, torch.jit.ScriptModule) for module in network.modules()):
        raise MnfpnError(f"{type(network).__name__} is TorchScript, which runs out of sight: give what it was made of")
    lazy = [name for name, one in network.named_parameters() if isinstance(one, UninitializedParameter)]
    if lazy:
        raise MnfpnError(
            f"{type(network).__name__} has lazy layers, whose shapes are not known yet ({lazy[0]}): "
            "run it once in the function that `model` names"
        )
