"""A network for each size of its inputs, and what it costs there."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from mnfpn_cli.bench.candidate import Candidate, model_bytes
from mnfpn_cli.bench.group import Progress
from mnfpn_cli.bench.results import SizeCost
from mnfpn_cli.measure.memory import out_of_memory_explained
from mnfpn_cli.settings.measuring import BenchCase
from mnfpn_cli.weights.load import Loaded


@dataclass(frozen=True)
class Sized:
    """A network for inputs of one size: a head can be made for it."""

    candidate: Candidate
    network: nn.Module
    cost: SizeCost
    weights: Loaded | None


def sized_networks(candidates: Sequence[Candidate], case: BenchCase, progress: Progress) -> list[Sized]:
    """Build each network once, and count what it costs at each size; ``progress`` is told.

    Raises:
        UsageError: where the weights are another network's.
        MnfpnError: where memory runs out.
    """
    made: list[Sized] = []
    for candidate in candidates:
        progress("counting", len(made) / len(candidates))
        with out_of_memory_explained(f"counting {candidate.input(1).size} with fvcore"):
            same = next((one for one in made if one.candidate.settings == candidate.settings), None)
            network, loaded = (same.network, same.weights) if same else candidate.build()
            made.append(Sized(candidate, network, _cost(candidate, network, case), loaded))
    return made


def _cost(candidate: Candidate, network: nn.Module, case: BenchCase) -> SizeCost:
    first = candidate.input(case.batches[0])
    return SizeCost(
        size=first.size,
        cost=candidate.cost(),
        fvcore=candidate.fvcore(network),
        activation_bytes=candidate.needed(first, case.dtype).activations,
        model_bytes=model_bytes(network, case.dtype),
    )
