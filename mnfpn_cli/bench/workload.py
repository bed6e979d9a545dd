"""What a benchmark needs of a network and its inputs: from a plan, or from a watched pass; and fvcore's count."""

import warnings
from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Protocol

import torch
from torch import nn
from torch.jit._trace import TracerWarning  # torch.jit has it, and does not say so

from mnfpn_cli.documents.records import WeightsRecord
from mnfpn_cli.external.guard import ModelError, external_code
from mnfpn_cli.external.load import check_arguments
from mnfpn_cli.external.origin import External, FromSettings, Inputs, Origin, specs_of
from mnfpn_cli.external.target import InputSpec
from mnfpn_cli.measure.memory import Needed, needed_by
from mnfpn_cli.plan.cost import Cost, NetworkCost, WholeCost, network_cost
from mnfpn_cli.plan.levels import network_input
from mnfpn_cli.runtimes.eager import move
from mnfpn_cli.runtimes.runtime import Job, random_tensors, torch_dtype
from mnfpn_cli.settings.input import ITEM_BYTES, DType, NetworkInput, Size
from mnfpn_cli.trace.observe import Operation
from mnfpn_cli.trace.passes import Input
from mnfpn_cli.trace.trace import numel, trace_network

with warnings.catch_warnings():
    # fvcore scripts two losses as it is imported, which torch has deprecated; nothing here uses them.
    warnings.filterwarnings("ignore", message=".*torch.jit.script.*is deprecated", category=DeprecationWarning)
    from fvcore.nn import FlopCountAnalysis


@dataclass(frozen=True, slots=True)
class FvcoreCount:
    """What fvcore calls flops, for one image: MACs of convolutions, and its own weights for other operators.

    ``by_operator`` holds ``conv`` (MACs), ``batch_norm`` (2 an element), and ``upsample_bilinear2d`` (4 an element)
    or ``upsample_nearest2d`` (1 an element); fvcore counts no activations and no additions.
    """

    total: int
    by_operator: Mapping[str, int]


def count_with_fvcore(network: nn.Module, input: Inputs) -> FvcoreCount:
    """Run fvcore on one image, or on tensors. The network must be on the CPU, in eval mode."""
    one = replace(input, batch=1) if isinstance(input, NetworkInput) else input
    dtype = next((each.dtype for each in network.parameters() if each.is_floating_point()), torch.float32)
    inputs = tuple(each.to(dtype) if each.is_floating_point() else each for each in random_tensors(one))
    with torch.no_grad(), warnings.catch_warnings():
        # fvcore traces with torch.jit; that torch has deprecated it changes no number.
        warnings.filterwarnings("ignore", message=".*torch.jit.*deprecated", category=DeprecationWarning)
        # That a trace holds for one size is no news: it is made for that size alone.
        warnings.filterwarnings("ignore", category=TracerWarning)
        # In a trace sizes are tensors, and code that makes tensors of them is warned of copying.
        warnings.filterwarnings("ignore", message="To copy construct from a tensor", category=UserWarning)
        analysis = FlopCountAnalysis(network, inputs)
        # It would warn of ReLU6 and additions, which it does not count, and of modules that trace away.
        analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
        by_operator = {name: int(count) for name, count in sorted(analysis.by_operator().items())}
    return FvcoreCount(sum(by_operator.values()), by_operator)


class BenchWorkload(Protocol):
    """A network for inputs of one size."""

    @property
    def origin(self) -> Origin:
        """Where it comes from."""

    def input(self, batch: int) -> Inputs:
        """Of a pass on so many images; the same for every number where shapes are given in full."""

    def needed(self, input: Inputs, dtype: DType) -> Needed:
        """The memory of an inference pass.

        Raises:
            MnfpnError: where only a pass could tell, and that fails.
        """

    def cost(self) -> NetworkCost | WholeCost:
        """Parameters, and the MACs of one image.

        Raises:
            MnfpnError: as `needed`.
        """

    def build(self) -> tuple[nn.Module, WeightsRecord | None]:
        """The network in float32 and eval mode, on the CPU, and what became of its checkpoint.

        Raises:
            MnfpnError: where it cannot be built.
        """

    def fvcore(self, network: nn.Module) -> FvcoreCount | None:
        """What fvcore counts for one image on a copy of the network; None where it cannot."""


@dataclass(frozen=True)
class PlannedWorkload:
    """A network from settings, for images of one size: its plan knows all about it."""

    origin: FromSettings
    size: Size
    seed: int = 0

    def input(self, batch: int) -> NetworkInput:
        """So many images."""
        return network_input(self.origin.settings, self.size, batch)

    def needed(self, input: Inputs, dtype: DType) -> Needed:
        """In closed form."""
        return needed_by(self.origin.plan, self.input(input.batch), dtype)

    def cost(self) -> NetworkCost:
        """In closed form."""
        return network_cost(self.origin.plan, self.size)

    def build(self) -> tuple[nn.Module, WeightsRecord | None]:
        """Initialised from the seed, and then from the checkpoint where there is one.

        Raises:
            UsageError: where the checkpoint is another network's.
            MnfpnError: where it cannot be read.
        """
        return self.origin.build(self.seed)

    def fvcore(self, network: nn.Module) -> FvcoreCount:
        """It can count all there is."""
        return count_with_fvcore(deepcopy(network), self.input(1))


def model_bytes(network: nn.Module, dtype: DType) -> int:
    """Parameters and buffers in a dtype, each once; batch norm's counters of batches stay whole numbers of 8 bytes."""
    state = {id(one): one for one in (*network.parameters(), *network.buffers())}.values()
    return sum(one.numel() * (ITEM_BYTES[dtype] if one.is_floating_point() else one.itemsize) for one in state)


@dataclass(frozen=True)
class Seen:
    """What a pass showed: its MACs, and the bytes that were alive at its peak."""

    macs: int
    peak_bytes: int


@dataclass(frozen=True)
class ObservedWorkload:
    """A network of others, for inputs of one size.

    Attributes:
        network: in float32 and eval mode, on the CPU; it stays as it is.
        origin: that it was made from.
        base: what one pass is given; of images, one.
        passes: what was seen so far.
    """

    network: nn.Module
    origin: External
    base: Inputs
    passes: dict[tuple[Inputs, DType], Seen] = field(default_factory=dict, repr=False)

    def input(self, batch: int) -> Inputs:
        """So many images; tensors as they were asked for."""
        return (
            NetworkInput(batch, self.base.channels, self.base.size)
            if isinstance(self.base, NetworkInput)
            else self.base
        )

    def needed(self, input: Inputs, dtype: DType) -> Needed:
        """The bytes of its state, and of what was alive together.

        Raises:
            ModelError: where the network fails.
        """
        return Needed(model_bytes(self.network, dtype), self._seen(input, dtype).peak_bytes)

    def cost(self) -> WholeCost:
        """The network as a whole; its parts have no names that mean the same for all.

        Raises:
            ModelError: where the network fails.
        """
        return WholeCost(Cost(numel(list(self.network.parameters())), macs=self._seen(self.input(1), "float32").macs))

    def build(self) -> tuple[nn.Module, None]:
        """It is made already, and has the weights that its constructor gave it."""
        return self.network, None

    def fvcore(self, network: nn.Module) -> FvcoreCount | None:
        """None where fvcore's trace fails: of data-dependent code, say."""
        try:
            with external_code("counting with fvcore"):
                return count_with_fvcore(deepcopy(network), self.input(1))
        except ModelError:
            return None

    def _seen(self, input: Inputs, dtype: DType) -> Seen:
        if (input, dtype) not in self.passes:
            # Inference mode would hide products that are made of others.
            with torch.inference_mode(False), external_code(f"running {self.origin.name}"):
                network = self.network if dtype == "float32" else in_dtype(deepcopy(self.network), dtype)
                seen = trace_network(network, [_observed(spec) for spec in specs_of(input)], gradients=False).eval_pass
            macs = sum(event.macs for event in seen.events if isinstance(event, Operation))
            self.passes[input, dtype] = Seen(macs, seen.peak_bytes)
        return self.passes[input, dtype]


def load_observed(origin: External, inputs: Iterable[Inputs], seed: int) -> list[ObservedWorkload]:
    """The network of a target, made once, for each of these inputs; its constructor draws weights from the seed.

    Raises:
        UsageError: where the target is none, or takes another number of inputs.
        ModelError: where its code fails.
    """
    loaded, _ = origin.build(seed)
    with external_code(f"preparing {origin.name}"):
        loaded.eval()
        network = in_dtype(loaded, "float32")
    made = [ObservedWorkload(network, origin, one) for one in inputs]
    check_arguments(network, len(specs_of(made[0].base)))
    return made


def in_dtype(network: nn.Module, dtype: DType) -> nn.Module:
    """The network itself, on the CPU and in a dtype, as eager execution has it."""
    return move(Job(network, False, (), torch.device("cpu"), dtype), torch.contiguous_format)[0]


def _observed(spec: InputSpec) -> Input:
    """As it comes to the network: what is floating-point in the network's own dtype."""
    dtype = torch_dtype(spec)
    return Input(spec.shape, None if dtype is None or dtype.is_floating_point else dtype)
