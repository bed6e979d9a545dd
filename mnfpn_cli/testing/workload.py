"""Read the network and the pass of an assertion."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mnfpn_cli.errors import Problem, UsageError
from mnfpn_cli.external.origin import FromSettings, TensorInputs, Workload, external_module
from mnfpn_cli.external.target import InputSpec, parse_input
from mnfpn_cli.plan.rules import choose_size, network_input
from mnfpn_cli.settings.input import NetworkInput, parse_size
from mnfpn_cli.settings.network import NetworkSettings

if TYPE_CHECKING:
    from torch import Tensor, nn

    Network = nn.Module | NetworkSettings
    """A module, or settings."""

    ForwardPass = Tensor | tuple[Tensor, ...] | str
    """The inputs of a forward: a tensor, a tuple of tensors, or shapes as text."""

Sides = str | int | Sequence[int]
"""A size in pixels as ``"600x900"`` or ``(600, 900)``, height first; 600 is a square."""

CHANNELS = 3
"""The channels of the image of a size."""


def workload_of(network: Network, passes: Sequence[ForwardPass], size: Sides | None) -> Workload:
    """Return a network and the inputs of its pass.

    Raises:
        UsageError: where it is no network, or passes and size contradict each other or are wrong.
    """
    text = None if size is None else size if isinstance(size, str) else "x".join(map(str, _sides(size)))
    if isinstance(network, NetworkSettings):
        if passes:
            raise UsageError(Problem("passes", "must be left out for settings, which take size"))
        settings, image = choose_size(network, text)
        return Workload(FromSettings(settings), network_input(settings, image, 1))
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(network, torch.nn.Module):
        raise UsageError(Problem("network", "must be an nn.Module, or settings", _type_of(network)))
    if len(passes) + (text is not None) != 1:
        given = f"{len(passes)} passes" + " and a size" * (text is not None)
        raise UsageError(Problem("passes", "must be one, or size must be given instead", given))
    if text is not None:
        return Workload(external_module(network), NetworkInput(1, CHANNELS, parse_size(text)))
    return Workload(external_module(network), TensorInputs(_specs(passes[0])))


def _sides(size: int | Sequence[int]) -> Sequence[int]:
    return [size] if isinstance(size, int) else size


def _specs(one: ForwardPass) -> tuple[InputSpec, ...]:
    if isinstance(one, str):
        try:
            return tuple(map(parse_input, one.split(",")))
        except UsageError as error:
            raise error.at("passes") from None
    tensors: tuple[object, ...] = one if isinstance(one, tuple) else (one,)
    return tuple(_spec(tensor) for tensor in tensors)


def _spec(tensor: object) -> InputSpec:
    from torch import Tensor

    if not isinstance(tensor, Tensor):
        rule = "must be a tensor, a tuple of tensors, or a shape as '1x3x64x64'"
        raise UsageError(Problem("passes", rule, _type_of(tensor)))
    return InputSpec(tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."), tensor)


def _type_of(value: object) -> str:
    return f"an object of type {type(value).__name__}"
