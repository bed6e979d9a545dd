"""What a runtime is: given a network and its inputs, it prepares one pass that can be called again and again."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from mnfpn_cli.errors import MnfpnError
from mnfpn_cli.external.origin import External, Inputs, Origin, specs_of
from mnfpn_cli.external.target import InputSpec
from mnfpn_cli.settings.input import DType
from mnfpn_cli.text import first_line
from mnfpn_cli.trace.observe import named_tensors


def random_tensors(inputs: Inputs) -> tuple[Tensor, ...]:
    """Values from 0 to 1 in float32, the same every time; zeros where the elements are whole numbers.

    Zero is in the range of whatever they count: words of a vocabulary, classes, rows of a table.
    """
    generator = torch.Generator().manual_seed(0)
    return tuple(_tensor(spec, generator) for spec in specs_of(inputs))


def _tensor(spec: InputSpec, generator: torch.Generator) -> Tensor:
    dtype = torch_dtype(spec)
    if dtype is None or dtype.is_floating_point:
        return torch.rand(spec.shape, generator=generator)
    return torch.zeros(spec.shape, dtype=dtype)


def torch_dtype(spec: InputSpec) -> torch.dtype | None:
    """The element type that was said, as torch has it."""
    dtype: torch.dtype | None = getattr(torch, spec.dtype) if spec.dtype else None
    return dtype


@dataclass(frozen=True)
class Job:
    """What a runtime is to run.

    Attributes:
        network: a copy of the runtime's own, on the CPU, in float32 and eval mode; it may be changed.
        one_graph: whether its forward is one graph, of which nothing has to be left to Python.
        inputs: of a pass, on the CPU: images (n, in_channels, h, w) as a rule. What is floating-point is in float32.
        device: to run on.
        dtype: to compute in.
        train: whether a pass is a training step: forward, backward, and an update of the weights.
    """

    network: nn.Module
    one_graph: bool
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


def why_not(name: str, origin: Origin, device: torch.device, dtype: DType, train: bool) -> str | None:
    """Why a runtime cannot run a network somewhere, before it is tried."""
    runtime = load_runtime(name)
    if isinstance(origin, External) and not runtime.ANY_NETWORK:
        return "networks from settings only"
    return runtime.impossible(device, dtype, train)


LEARNING_RATE = 1e-6
MOMENTUM = 0.9


def training_step(
    network: nn.Module, inputs: Sequence[Tensor], forward: Callable[..., Any] | None = None
) -> Callable[[], Tensor]:
    """A step that can be taken again and again: forward, backward, and an update of the weights by SGD with momentum.

    The loss is the sum of the outputs' mean squares, in float32: it draws outputs towards zero, slowly enough that
    thousands of steps neither overflow nor end in zeros. Outputs of whole numbers have no gradient, and no part in it.

    Args:
        network: is put into training mode; its weights change with every step.
        inputs: of a pass, on the network's device and in its dtype: images (n, in_channels, h, w), as a rule.
        forward: what computes the network's outputs, where that is not the network itself.

    Raises:
        MnfpnError: from the step, where batch norm has but one value a channel to normalise, or there is no output
            to train on.
    """
    network.train()
    optimizer = torch.optim.SGD(network.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM)
    compute = forward or network

    def step() -> Tensor:
        optimizer.zero_grad(set_to_none=True)
        try:
            outputs = [output for output in as_tensors(compute(*inputs)) if output.is_floating_point()]
        except ValueError as error:  # batch norm's, of a map of one cell and a batch of one
            shapes = ", ".join(str(tuple(one.shape)) for one in inputs)
            raise MnfpnError(f"cannot be trained on {shapes}: {first_line(error)}") from error
        if not outputs:
            raise MnfpnError("cannot be trained: none of its outputs is of floating-point numbers")
        loss = torch.stack([output.float().square().mean() for output in outputs]).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return loss.detach()

    return step
