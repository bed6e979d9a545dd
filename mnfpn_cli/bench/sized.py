"""A network for each size of images, and what it costs there."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

from mnfpn_cli.bench.group import Progress
from mnfpn_cli.bench.results import SizeCost
from mnfpn_cli.measure.flops import count_with_fvcore
from mnfpn_cli.measure.memory import out_of_memory_explained
from mnfpn_cli.network.network import Network
from mnfpn_cli.plan.cost import network_cost
from mnfpn_cli.plan.memory import activation_bytes
from mnfpn_cli.plan.network import plan_network
from mnfpn_cli.settings.input import ITEM_BYTES, DType, Size, network_input
from mnfpn_cli.settings.models import NetworkSettings
from mnfpn_cli.weights.load import Loaded, build_with_weights


@dataclass(frozen=True)
class Sized:
    """A network for one size of images: a head can be made for it."""

    settings: NetworkSettings
    size: Size
    network: Network
    cost: SizeCost
    weights: Loaded | None


def sized_networks(
    sizes: Sequence[tuple[NetworkSettings, Size]], seed: int, dtype: DType, weights: Path | None, progress: Progress
) -> list[Sized]:
    """Build each network once, and count what it costs at each size; ``progress`` is told.

    Raises:
        UsageError: where the weights are another network's.
        MnfpnError: where memory runs out.
    """
    made: list[Sized] = []
    for settings, size in sizes:
        progress("counting", len(made) / len(sizes))
        with out_of_memory_explained(f"counting {size} with fvcore"):
            same = next((one for one in made if one.settings == settings), None)
            network, loaded = (same.network, same.weights) if same else build_with_weights(settings, seed, weights)
            made.append(Sized(settings, size, network, _cost(settings, network, size, dtype), loaded))
    return made


def _cost(settings: NetworkSettings, network: Network, size: Size, dtype: DType) -> SizeCost:
    plan, image = plan_network(settings), network_input(settings, size)
    return SizeCost(
        size=size,
        cost=network_cost(plan, size),
        fvcore=count_with_fvcore(deepcopy(network), image),
        activation_bytes=activation_bytes(plan, image, dtype),
        model_bytes=model_bytes(network, dtype),
    )


def model_bytes(network: Network, dtype: DType) -> int:
    """Parameters and buffers in a dtype; batch norm's counters of batches stay whole numbers of 8 bytes."""
    state = network.state_dict().values()
    return sum(one.numel() * (ITEM_BYTES[dtype] if one.is_floating_point() else one.itemsize) for one in state)
