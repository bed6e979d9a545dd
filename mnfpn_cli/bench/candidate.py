"""What a benchmark needs of a network for inputs of one size, whoever made it: from settings here, of others beside."""

from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

from torch import nn

from mnfpn_cli.bench.flops import FvcoreCount, count_with_fvcore
from mnfpn_cli.documents.inputs import WeightsRecord
from mnfpn_cli.external.inputs import Inputs
from mnfpn_cli.external.target import Target
from mnfpn_cli.measure.memory import Needed, needed_by
from mnfpn_cli.network.network import Network
from mnfpn_cli.plan.cost import NetworkCost, WholeCost, network_cost
from mnfpn_cli.plan.levels import network_input
from mnfpn_cli.plan.network import NetworkPlan, plan_network
from mnfpn_cli.settings.input import ITEM_BYTES, DType, NetworkInput, Size
from mnfpn_cli.settings.network import NetworkSettings
from mnfpn_cli.weights.load import build_with_weights


class Candidate(Protocol):
    """A network for inputs of one size. It has settings or a target, never both."""

    @property
    def settings(self) -> NetworkSettings | None:
        """That it is built from."""

    @property
    def target(self) -> Target | None:
        """Where it is, if others wrote it."""

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
class PlannedCandidate:
    """A network from settings, for images of one size: its plan knows all about it."""

    settings: NetworkSettings
    size: Size
    seed: int = 0
    weights: Path | None = None
    target: None = None

    @cached_property
    def plan(self) -> NetworkPlan:
        """Every layer of it."""
        return plan_network(self.settings)

    def input(self, batch: int) -> NetworkInput:
        """So many images."""
        return network_input(self.settings, self.size, batch)

    def needed(self, input: Inputs, dtype: DType) -> Needed:
        """In closed form."""
        assert isinstance(input, NetworkInput)
        return needed_by(self.plan, input, dtype)

    def cost(self) -> NetworkCost:
        """In closed form."""
        return network_cost(self.plan, self.size)

    def build(self) -> tuple[Network, WeightsRecord | None]:
        """Initialised from the seed, and then from the checkpoint where there is one.

        Raises:
            UsageError: where the checkpoint is another network's.
            MnfpnError: where it cannot be read.
        """
        return build_with_weights(self.settings, self.seed, self.weights)

    def fvcore(self, network: nn.Module) -> FvcoreCount:
        """It can count all there is."""
        return count_with_fvcore(deepcopy(network), self.input(1))


def model_bytes(network: nn.Module, dtype: DType) -> int:
    """Parameters and buffers in a dtype, each once; batch norm's counters of batches stay whole numbers of 8 bytes."""
    state = {id(one): one for one in (*network.parameters(), *network.buffers())}.values()
    return sum(one.numel() * (ITEM_BYTES[dtype] if one.is_floating_point() else one.itemsize) for one in state)
