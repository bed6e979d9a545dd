"""The interface of runtimes: a `Runtime` turns a `Job` into a prepared pass that can be called any number of times."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from mnfpn_cli.documents.records import WarningRecord
from mnfpn_cli.errors import MnfpnError
from mnfpn_cli.external.origin import External, Origin
from mnfpn_cli.measure.layer_times import LayerTimes
from mnfpn_cli.plan.roofline import LayerWork
from mnfpn_cli.quantization.quantization import Quantization
from mnfpn_cli.settings.input import DType
from mnfpn_cli.text import first_line
from mnfpn_cli.trace.observe import named_tensors


@dataclass(frozen=True)
class Job:
    """What a runtime executes: a network, its inputs, a device and a dtype.

    Attributes:
        network: a copy for this runtime, which may change it; on the CPU, in float32 and eval mode.
        one_graph: whether the network must compile to one graph, with no part left to Python.
        inputs: the inputs of a pass on the CPU, usually images (n, in_channels, h, w); floating-point ones in float32.
        device: the device to run on.
        dtype: the dtype to compute in.
        train: whether a pass is a training step: forward, backward, and an update of the weights.
        quantization: how the network is quantised; given where the dtype is int8, and there alone.
        file: a file of the runtime's own format that was made elsewhere, which it runs instead of the network.
    """

    network: nn.Module
    one_graph: bool
    inputs: tuple[Tensor, ...]
    device: torch.device
    dtype: DType
    train: bool = False
    quantization: Quantization | None = None
    file: Path | None = None

    @property
    def torch_dtype(self) -> torch.dtype:
        """The dtype as a torch dtype; that of a runtime which quantises is not one of its tensors."""
        return cast("torch.dtype", getattr(torch, self.dtype))


def as_tensors(outputs: Any) -> Sequence[Tensor]:
    """Return all tensors of a network's output in order, however nested; ours return maps, finest first, or logits."""
    return tuple(tensor for _, tensor in named_tensors(outputs))


@dataclass(frozen=True, slots=True)
class Operator:
    """An operator of a runtime's own graph that multiplies and adds: a convolution or a matrix product.

    Attributes:
        name: of the layer, as a path where the graph knows it; else as the runtime has it.
        dtype: what it computes in: ``float32``, ``bfloat16``, ``float16`` or ``int8``.
        macs: of a pass, for the whole batch.
    """

    name: str
    dtype: str
    macs: int


@dataclass(frozen=True, slots=True)
class ExecutedGraph:
    """What a runtime really executes, by its own graph or profile, not by what was asked for.

    Attributes:
        operators: those that have MACs, in the order of the graph.
        conversions: operators that only convert a tensor from one dtype to another, as quantise and dequantise.
    """

    operators: tuple[Operator, ...]
    conversions: int

    def share_in(self, dtype: str) -> float | None:
        """Return the share of the MACs that ran in a dtype; None where the graph has no MACs."""
        macs = sum(one.macs for one in self.operators)
        return sum(one.macs for one in self.operators if one.dtype == dtype) / macs if macs else None


@dataclass(frozen=True)
class Prepared:
    """A pass that is ready to run.

    Attributes:
        run: executes one pass on the inputs; it may return before a GPU has finished, and the next pass may overwrite
            what it returned.
        inputs: the tensors that every pass reads, in the runtime's own dtype, layout and device: who writes other
            values into them in place runs the network on these.
        outputs: turns what a pass returned into tensors, on any device and in any dtype.
        outside_torch: whether it uses a GPU without torch: it waits for the GPU, so nothing is queued, and torch does
            not count its memory.
        graph: returns what the runtime executes; None where it cannot be known. It may take a pass.
        file_bytes: the size of the file that the runtime loads, weights included; None where it loads none.
        warnings: reasons why it takes longer here than it could.
    """

    run: Callable[[], Any]
    inputs: tuple[Tensor, ...] = ()
    outputs: Callable[[Any], Sequence[Tensor]] = as_tensors
    outside_torch: bool = False
    graph: Callable[[], ExecutedGraph] | None = None
    file_bytes: int | None = None
    warnings: tuple[WarningRecord, ...] = ()


ReportShare = Callable[[float], None]
"""Is called with the share of the work that is done, from 0 to 1."""

NO_INT8 = "computes in floating point, and quantises nothing"
"""Why a runtime that runs torch's own layers has no int8."""


class Runtime(Protocol):
    """What executes a network. Each module in `mnfpn_cli.runtimes` has these attributes."""

    ANY_NETWORK: bool
    """Whether it runs external networks too; else networks from settings only."""

    def unavailable_reason(self, device: torch.device, dtype: DType, train: bool) -> str | None:
        """Return why it cannot run there: what it does not support, or a package to install, with the command."""

    def prepare(self, job: Job) -> Prepared:
        """Prepare a pass of the network.

        Raises:
            MnfpnError: where the runtime cannot run this network, or not on this machine.
        """

    def time_layers(self, job: Job, works: Sequence[LayerWork], passes: int, progress: ReportShare) -> LayerTimes:
        """Prepare a pass of inference, and time each layer of the network in a number of passes.

        An operator that computes several layers is a row with all of them.

        Args:
            job: the network and its inputs.
            works: the layers of the network.
            passes: how many passes are counted.
            progress: is called after each pass with the share that is done, from 0 to 1.

        Raises:
            UnavailableError: where the runtime cannot tell its layers apart, here or anywhere.
            MnfpnError: as `prepare`.
        """


def load_runtime(name: str) -> Runtime:
    """Return the runtime of a name, such as ``channels-last``."""
    return cast("Runtime", import_module(f"mnfpn_cli.runtimes.{name.replace('-', '_')}"))


def unavailable_reason(name: str, origin: Origin, device: torch.device, dtype: DType, train: bool) -> str | None:
    """Return why a runtime cannot run a network on a device, without trying it; None where it can."""
    runtime = load_runtime(name)
    if isinstance(origin, External) and not runtime.ANY_NETWORK:
        return "networks from settings only"
    if train and dtype == "int8":
        return "int8 has no gradients, which a training step needs"
    return runtime.unavailable_reason(device, dtype, train)


LEARNING_RATE = 1e-6
MOMENTUM = 0.9


def training_step(
    network: nn.Module, inputs: Sequence[Tensor], forward: Callable[..., Any] | None = None
) -> Callable[[], Tensor]:
    """Return a training step: forward, backward, and an update of the weights by SGD with momentum.

    The loss is the sum of the outputs' mean squares in float32. It moves outputs towards zero, slowly enough that
    thousands of steps neither overflow nor reach zero. Integer outputs have no gradient, and are left out.

    Args:
        network: the step puts it into training mode, and changes its weights.
        inputs: on the network's device and in its dtype, usually images (n, in_channels, h, w).
        forward: computes the outputs; the network itself by default.

    Raises:
        MnfpnError: from the step, where batch norm has only one value a channel, or no output is of floating-point
            numbers.
    """
    network.train()
    optimizer = torch.optim.SGD(network.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM)
    compute = forward or network

    def step() -> Tensor:
        optimizer.zero_grad(set_to_none=True)
        try:
            outputs = [output for output in as_tensors(compute(*inputs)) if output.is_floating_point()]
        except ValueError as error:  # from batch norm: a map of 1×1 in a batch of one
            shapes = ", ".join(str(tuple(x.shape)) for x in inputs)
            raise MnfpnError(f"cannot be trained on {shapes}: {first_line(error)}") from error
        if not outputs:
            raise MnfpnError("cannot be trained: no output is of floating-point numbers")
        loss = torch.stack([output.float().square().mean() for output in outputs]).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return loss.detach()

    return step
