"""What a runtime is: given a network and its inputs, it prepares one pass that can be called again and again.

Each runtime is one module of `mnfpn_cli.runtimes`, named as on the command line with ``_`` for ``-``. It has two
functions: ``impossible(device, dtype, train)``, the reason why it cannot run there, or None; and ``prepare(job)``. It
says in ``ANY_NETWORK`` whether it runs networks that others wrote, or those from settings alone.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from mnfpn_cli.inspection.observe import named_tensors
from mnfpn_cli.settings.input import DType
from mnfpn_cli.settings.models import NetworkSettings


@dataclass(frozen=True)
class Job:
    """What a runtime is to run.

    Attributes:
        network: a copy of the runtime's own, on the CPU, in float32 and eval mode; it may be changed.
        settings: that the network was built from; None of one that others wrote.
        inputs: of a pass, on the CPU: images (n, in_channels, h, w) as a rule. What is floating-point is in float32.
        device: to run on.
        dtype: to compute in.
        train: whether a pass is a training step: forward, backward, and an update of the weights.
    """

    network: nn.Module
    settings: NetworkSettings | None
    inputs: tuple[Tensor, ...]
    device: torch.device
    dtype: DType
    train: bool = False

    @property
    def torch_dtype(self) -> torch.dtype:
        """The dtype as torch has it."""
        return cast("torch.dtype", getattr(torch, self.dtype))


def as_tensors(outputs: Any) -> Sequence[Tensor]:
    """The tensors in what a network returned, in order, however it is nested: of ours maps, finest first, or logits."""
    return tuple(tensor for _, tensor in named_tensors(outputs))


@dataclass(frozen=True)
class Prepared:
    """A network ready to run.

    Attributes:
        run: one pass on the inputs; it may return before a GPU is done.
        outputs: what a pass returned as tensors, anywhere and in any dtype.
        outside_torch: whether it drives a GPU by itself: it waits for it, so that nothing is queued, and takes memory
            that torch does not count.
    """

    run: Callable[[], Any]
    outputs: Callable[[Any], Sequence[Tensor]] = as_tensors
    outside_torch: bool = False


class Runtime(Protocol):
    """What executes a network: what a module in `mnfpn_cli.runtimes` has."""

    ANY_NETWORK: bool

    def impossible(self, device: torch.device, dtype: DType, train: bool) -> str | None:
        """Why it cannot run there: what is not installed, with the command that installs it, or not supported."""

    def prepare(self, job: Job) -> Prepared:
        """Make the network ready to run.

        Raises:
            MnfpnError: where this network, or this machine, is more than the runtime can do.
        """


def load_runtime(name: str) -> Runtime:
    """The runtime of a name, one of `runtime_names`."""
    return cast("Runtime", import_module(f"mnfpn_cli.runtimes.{name.replace('-', '_')}"))


def why_not(name: str, settings: NetworkSettings | None, device: torch.device, dtype: DType, train: bool) -> str | None:
    """Why a runtime cannot run a network somewhere, before it is tried; ``settings`` are None of one of others."""
    runtime = load_runtime(name)
    if settings is None and not runtime.ANY_NETWORK:
        return "networks from settings only"
    return runtime.impossible(device, dtype, train)
