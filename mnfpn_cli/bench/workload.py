"""Workloads of a benchmark: a network and its inputs, with their cost and memory, and fvcore's count of it.

The cost of a network from settings follows from its plan; that of an external network is observed in a pass.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import torch
from torch import nn
from torch.jit._trace import TracerWarning  # torch.jit does not export it

from mnfpn_cli.documents.records import WeightsRecord
from mnfpn_cli.errors import MnfpnError
from mnfpn_cli.external.copies import copy_network
from mnfpn_cli.external.guard import ModelError, external_code
from mnfpn_cli.external.load import check_arguments
from mnfpn_cli.external.move import keeps_float64
from mnfpn_cli.external.origin import External, FromSettings, Inputs, Origin, Workload, specs_of
from mnfpn_cli.measure.libraries import TORCH_JIT, warnings_silenced
from mnfpn_cli.measure.memory import Needed, needed_by
from mnfpn_cli.plan.cost import Cost, NetworkCost, WholeCost, network_cost
from mnfpn_cli.plan.rules import network_input
from mnfpn_cli.runtimes.eager import move
from mnfpn_cli.runtimes.runtime import Job
from mnfpn_cli.settings.input import ITEM_BYTES, DType, NetworkInput, Size
from mnfpn_cli.trace.inputs import input_tensors, traced_input
from mnfpn_cli.trace.observe import Operation
from mnfpn_cli.trace.trace import check_shaped, numel, trace_network

with warnings_silenced(TORCH_JIT):  # it scripts two losses where it is imported, which nothing here uses
    from fvcore.nn import FlopCountAnalysis


@dataclass(frozen=True, slots=True)
class FvcoreCount:
    """What fvcore calls flops, for one image: MACs of convolutions, and weighted elements of other operators.

    ``by_operator`` holds ``conv`` (MACs), ``batch_norm`` (2 per element), and ``upsample_bilinear2d`` (4 per element)
    or ``upsample_nearest2d`` (1 per element). fvcore counts neither activations nor additions.
    """

    total: int
    by_operator: Mapping[str, int]


def count_with_fvcore(network: nn.Module, input: Inputs) -> FvcoreCount:
    """Count a network with fvcore, for one image or for the given tensors.

    Args:
        network: on the CPU, in eval mode.
        input: the input of a pass; of images, one is counted.
    """
    single = replace(input, batch=1) if isinstance(input, NetworkInput) else input
    dtype = next((weight.dtype for weight in network.parameters() if weight.is_floating_point()), torch.float32)
    tensors = (tensor.to(dtype) if tensor.is_floating_point() else tensor for tensor in input_tensors(single))
    # A trace holds for one size only, which is all that is needed here. Sizes in it are tensors, and torch warns where
    # code makes new tensors from them.
    traced = ("", TracerWarning), ("To copy construct from a tensor", UserWarning)
    with torch.no_grad(), warnings_silenced(TORCH_JIT, *traced):
        analysis = FlopCountAnalysis(network, tuple(tensors))
        # fvcore warns of ReLU6 and additions, which it does not count, and of modules that a trace removes.
        analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
        by_operator = {name: int(count) for name, count in sorted(analysis.by_operator().items())}
    return FvcoreCount(sum(by_operator.values()), by_operator)


class BenchWorkload(Protocol):
    """A network, and its inputs of one size."""

    @property
    def seed(self) -> int:
        """The seed of random weights."""

    @property
    def origin(self) -> Origin:
        """Where the network comes from."""

    def input(self, batch: int) -> Inputs:
        """Return the input of a pass on a batch of images; inputs of given shapes are the same for every batch."""

    def needed(self, input: Inputs, dtype: DType) -> Needed:
        """Return the memory that an inference pass needs.

        Raises:
            MnfpnError: where the memory is observed in a pass, and that fails.
        """

    def cost(self) -> NetworkCost | WholeCost:
        """Return the parameters, and the MACs of one image.

        Raises:
            MnfpnError: as `needed`.
        """

    def build(self) -> tuple[nn.Module, WeightsRecord | None]:
        """Return the network on the CPU in float32 and eval mode, and the record of its checkpoint.

        Raises:
            UsageError: where the checkpoint belongs to another network.
            MnfpnError: where the checkpoint cannot be read.
        """

    def fvcore(self, network: nn.Module) -> FvcoreCount | None:
        """Count a copy of the network with fvcore, for one image; None where fvcore cannot."""


@dataclass(frozen=True)
class PlannedWorkload:
    """A network from settings, and images of one size. Its cost and memory follow from its plan."""

    origin: FromSettings
    size: Size
    seed: int = 0

    def input(self, batch: int) -> NetworkInput:
        """Return a batch of images."""
        return network_input(self.origin.settings, self.size, batch)

    def needed(self, input: Inputs, dtype: DType) -> Needed:
        """Return the memory of a pass in closed form."""
        return needed_by(self.origin.plan, self.input(input.batch), dtype)

    def cost(self) -> NetworkCost:
        """Return the cost in closed form."""
        return network_cost(self.origin.plan, self.size)

    def build(self) -> tuple[nn.Module, WeightsRecord | None]:
        """Build the network, with weights from the seed and then from the checkpoint, if there is one.

        Raises:
            UsageError: where the checkpoint belongs to another network.
            MnfpnError: where the checkpoint cannot be read.
        """
        return self.origin.build(self.seed)

    def fvcore(self, network: nn.Module) -> FvcoreCount:
        """Count a copy of the network with fvcore, which counts every network from settings."""
        return count_with_fvcore(copy_network(network), self.input(1))


@dataclass(frozen=True)
class PassCost:
    """What was observed in a pass: its MACs, the bytes alive at its peak, and the operations without MACs."""

    macs: int
    peak_bytes: int
    uncounted: tuple[str, ...]


@dataclass(frozen=True)
class ObservedWorkload:
    """An external network, and its inputs of one size. Its cost and memory are observed in a pass.

    Attributes:
        network: in float32 and eval mode, on the CPU; it is never changed.
        origin: the target that it was loaded from.
        base: the input of a pass; of images, one.
        seed: of the weights that its constructor drew.
        observed: the passes that were observed so far, by input and dtype.
    """

    network: nn.Module
    origin: External
    base: Inputs
    seed: int = 0
    observed: dict[tuple[Inputs, DType], PassCost] = field(default_factory=dict, repr=False)

    def input(self, batch: int) -> Inputs:
        """Return a batch of images; tensors stay as they were given."""
        return replace(self.base, batch=batch) if isinstance(self.base, NetworkInput) else self.base

    def needed(self, input: Inputs, dtype: DType) -> Needed:
        """Return the bytes of the parameters and buffers, and of what is alive at the peak.

        Raises:
            ModelError: where the network fails.
        """
        weights = model_bytes(self.network, dtype)
        if dtype == "int8":  # torch's own layers have no int8 to observe
            return Needed(
                weights, self._observe(input, "float32").peak_bytes * ITEM_BYTES["int8"] // ITEM_BYTES["float32"]
            )
        return Needed(weights, self._observe(input, dtype).peak_bytes)

    def cost(self) -> WholeCost:
        """Return the cost of the whole network; its parts have no names that mean the same for every network.

        Raises:
            ModelError: where the network fails.
        """
        seen = self._observe(self.input(1), "float32")
        return WholeCost(Cost(numel(list(self.network.parameters())), macs=seen.macs), seen.uncounted)

    def build(self) -> tuple[nn.Module, None]:
        """Return the network, with the weights that its constructor gave it."""
        return self.network, None

    def fvcore(self, network: nn.Module) -> FvcoreCount | None:
        """Count a copy of the network with fvcore; None where fvcore cannot trace it."""
        try:
            with external_code("counting with fvcore"):
                return count_with_fvcore(copy_network(network), self.input(1))
        except ModelError:
            return None

    def _observe(self, input: Inputs, dtype: DType) -> PassCost:
        if (input, dtype) not in self.observed:
            # In inference mode, a product that torch composes of others would be one operation without a formula.
            with torch.inference_mode(False), external_code(f"running {self.origin.name}"):
                network = self.network if dtype == "float32" else in_dtype(copy_network(self.network), dtype)
                seen = trace_network(
                    network, [traced_input(spec) for spec in specs_of(input)], gradients=False
                ).eval_pass
            macs = sum(event.macs for event in seen.events if isinstance(event, Operation))
            self.observed[input, dtype] = PassCost(macs, seen.peak_bytes, seen.uncounted)
        return self.observed[input, dtype]


def bench_workloads(workloads: Sequence[Workload], seed: int) -> "Sequence[BenchWorkload]":
    """Return the workloads of one network for a benchmark. The code of an external network runs now, and only once.

    Args:
        workloads: the network, and the input of a pass at each size.
        seed: of the random weights.

    Raises:
        UsageError: where a target is no network, or takes another number of inputs.
        ModelError: where its code fails.
    """
    origin = workloads[0].origin
    if isinstance(origin, External):
        return load_observed(origin, [one.inputs for one in workloads], seed)
    return [_planned_workload(one, seed) for one in workloads]


def _planned_workload(workload: Workload, seed: int) -> PlannedWorkload:
    assert isinstance(workload.origin, FromSettings)
    assert isinstance(workload.inputs, NetworkInput)  # settings take images alone
    return PlannedWorkload(workload.origin, workload.inputs.size, seed)


def load_observed(origin: External, inputs: Iterable[Inputs], seed: int) -> list[ObservedWorkload]:
    """Load an external network once, and return a workload of it for each of the inputs.

    Args:
        origin: the target to load.
        inputs: the input of a pass at each size.
        seed: of the weights that the network's constructor draws.

    Raises:
        UsageError: where the target is no network, or takes another number of inputs.
        ModelError: where its code fails.
    """
    loaded, _ = origin.build(seed)
    with external_code(f"preparing {origin.name}"):
        _check_values(loaded)
        loaded.eval()
        network = in_dtype(loaded, "float32")
    workloads = [ObservedWorkload(network, origin, base, seed) for base in inputs]
    for one in workloads:
        check_arguments(network, len(specs_of(one.base)))
    return workloads


def _check_values(network: nn.Module) -> None:
    """Check that the tensors of a network have values, without which nothing can be timed.

    Raises:
        MnfpnError: where they have no shapes yet, or are on the meta device.
    """
    check_shaped(network)
    meta = [name for name, one in (*network.named_parameters(), *network.named_buffers()) if one.is_meta]
    if meta:
        raise MnfpnError(
            f"{type(network).__name__} has no values on the meta device ({meta[0]}): "
            "give it some first, as with to_empty(device='cpu')"
        )


def model_bytes(network: nn.Module, dtype: DType) -> int:
    """Return the bytes of all parameters and buffers in a dtype, each tensor once.

    Integers keep their size, as the counters of batch norm, which have 8 bytes; so does float64 where the network
    `keeps_float64`.
    """
    state = {id(tensor): tensor for tensor in (*network.parameters(), *network.buffers())}.values()
    kept = torch.float64 if keeps_float64(network, getattr(torch, dtype)) else None
    converted = (one.is_floating_point() and one.dtype is not kept for one in state)
    sizes = (ITEM_BYTES[dtype] if into else one.itemsize for one, into in zip(state, converted, strict=True))
    return sum(one.numel() * size for one, size in zip(state, sizes, strict=True))


def workload_figures(workload: BenchWorkload, network: nn.Module, input: Inputs, dtype: DType) -> dict[str, int]:
    """Return the exact figures of a network, by the names that documents have for them.

    Args:
        workload: the source of the network.
        network: the network in float32 on the CPU.
        input: the input of a pass.
        dtype: the element type that it computes in.

    Raises:
        MnfpnError: where figures are observed in a pass, and that fails.
    """
    total = workload.cost().total
    return {
        "parameters": total.parameters,
        "macs": total.macs,
        "model_bytes": model_bytes(network, dtype),
        "activation_bytes": workload.needed(input, dtype).activations,
    }


def in_dtype(network: nn.Module, dtype: DType) -> nn.Module:
    """Convert a network on the CPU to a dtype, in place, as eager execution does."""
    return move(Job(network, False, (), torch.device("cpu"), dtype), torch.contiguous_format)[0]
