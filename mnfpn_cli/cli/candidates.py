"""The network that is to be timed, from what the command line says of it: found at once, made once torch is there."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mnfpn_cli.cli.models import ModelOptions
from mnfpn_cli.cli.options import NetworkOptions
from mnfpn_cli.settings.input import network_input, sized

if TYPE_CHECKING:
    from mnfpn_cli.bench.candidate import Candidate

Making = Callable[[int], "Sequence[Candidate]"]
"""Makes the network from a seed, for each size; of others it runs their code."""


def find(
    network: NetworkOptions,
    model: ModelOptions,
    sizes: Sequence[str | None],
    batch: object,
    weights: Path | None,
    of_settings: Sequence[str] = (),
) -> Making:
    """What makes the network that options name.

    Args:
        network: the options on settings.
        model: those on networks of others.
        sizes: of images, as they were said.
        batch: None where ``--batch`` was not given.
        weights: a checkpoint.
        of_settings: other options that were given, and are of networks from settings.

    Raises:
        UsageError: where the options are wrong, or contradict each other.
    """
    if model.model is None:
        model.check_unused()
        return _planned(network, sizes, weights)
    target = model.target(network, [*["--weights"] * (weights is not None), *of_settings])
    model.check_batch(batch)
    inputs = [model.inputs(network.in_channels, size) for size in sizes]

    def make(seed: int) -> "Sequence[Candidate]":
        from mnfpn_cli.bench.observed import load_observed

        return load_observed(target, inputs, seed)

    return make


def _planned(network: NetworkOptions, sizes: Sequence[str | None], weights: Path | None) -> Making:
    settings = network.settings(weights)
    cases = [sized(settings, size) for size in sizes]
    for at_size, image in cases:
        network_input(at_size, image)

    def make(seed: int) -> "Sequence[Candidate]":
        from mnfpn_cli.bench.candidate import Planned

        return [Planned(at_size, image, seed, weights) for at_size, image in cases]

    return make
