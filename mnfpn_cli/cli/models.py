"""The options that name a network, of settings or of others, and the network that they come to."""

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

from mnfpn_cli.cli.help import OTHERS
from mnfpn_cli.cli.options import NetworkOptions
from mnfpn_cli.cli.paths import Reads
from mnfpn_cli.errors import UsageError
from mnfpn_cli.external.inputs import Inputs, Subject, TensorInputs, specs_of
from mnfpn_cli.external.target import InputSpec, Target, parse_input, parse_target
from mnfpn_cli.settings.input import DEFAULT_SIZE, NetworkInput, parse_size

if TYPE_CHECKING:
    from mnfpn_cli.bench.candidate import Candidate

DEFAULT_CHANNELS = 3


def model_option(help: str, metavar: str) -> Any:
    """An option on networks of others."""
    return Option(help=help, metavar=metavar, rich_help_panel=OTHERS)


def files_of_target(text: str) -> Iterator[Path]:
    """The file that a target is in, be it named or found as Python would find the module."""
    place = text.rpartition(":")[0]
    if place.endswith(".py"):
        yield Path(place)
        return
    folders: Sequence[str] = [str(Path.cwd()), *sys.path]
    for name in place.split("."):
        spec = PathFinder.find_spec(name, folders)
        if spec is None:
            return
        folders = spec.submodule_search_locations or ()
        if spec.origin is not None:
            yield Path(spec.origin)


@dataclass(frozen=True)
class ModelOptions:
    """A network of others: where it is, how it is called, and on what it runs."""

    model: Annotated[
        str | None,
        model_option("Take an nn.Module, or what returns one: module:name or file.py:name.", "TARGET"),
        Reads(files_of_target),
    ] = None
    model_arg: Annotated[list[str] | None, model_option("Call it with this argument; may repeat.", "KEY=VALUE")] = None
    input: Annotated[
        list[str] | None,
        model_option("Give it an input of this shape, as 1x3x600x900 or 1x128:int64; repeat it for more.", "SHAPE"),
    ] = None

    def subject(
        self, network: NetworkOptions, size: str | None, batch: int = 1, weights: Path | None = None
    ) -> Subject:
        """What a command looks at.

        Raises:
            UsageError: where the options contradict each other, or are wrong.
        """
        if self.model is None:
            from mnfpn_cli.plan.levels import network_input, sized

            self.check_unused()
            settings, image = sized(network.settings(weights), size)
            inputs = (InputSpec(network_input(settings, image, batch).shape),)
            return Subject(inputs, settings=settings, weights=weights)
        target = self.target(network, ["--weights"] * (weights is not None))
        return Subject(specs_of(self.inputs(network.in_channels, size, batch)), target=target)

    def target(self, network: NetworkOptions, others: Sequence[str] = ()) -> Target:
        """The network that ``--model`` names; ``others``: options that were given too, and are of settings.

        Raises:
            UsageError: where something was said of a network from settings, or the target is none.
        """
        said = [f"--{one.name.replace('_', '-')}" for one in fields(network) if getattr(network, one.name) is not None]
        said = [name for name in said if name != "--in-channels"] + list(others)
        if said:
            raise UsageError(f"{', '.join(said)}: must not be given beside --model, whose network has no settings")
        assert self.model is not None
        return parse_target(self.model, self.model_arg or ())

    def inputs(self, channels: int | None, size: str | None, batch: int = 1) -> Inputs:
        """What a pass of the network that ``--model`` names is given.

        Raises:
            UsageError: where the options contradict each other, or are wrong.
        """
        if not self.input:
            if channels is not None and channels < 1:
                raise UsageError(f"--in-channels: must be 1 or more, got {channels}")
            image = parse_size(size if size is not None else DEFAULT_SIZE)
            return NetworkInput(batch, channels or DEFAULT_CHANNELS, image)
        said = ["--size"] * (size is not None) + ["--in-channels"] * (channels is not None)
        if said:
            raise UsageError(f"{', '.join(said)}: must not be given beside --input, whose shapes say it")
        return TensorInputs(tuple(map(parse_input, self.input)))

    def check_batch(self, batch: object) -> None:
        """Make sure that the number of images is not said twice; ``batch`` is None where ``--batch`` was not given.

        Raises:
            UsageError: where it is.
        """
        if self.input and batch is not None:
            raise UsageError("--batch: must not be given beside --input, whose shapes say it")

    def check_unused(self) -> None:
        """Make sure that nothing is said of a network that is not named.

        Raises:
            UsageError: where something is.
        """
        if self.model_arg:
            raise UsageError("--model-arg: has no meaning without --model")
        if self.input:
            raise UsageError("--input: has no meaning without --model; networks from settings take --size")


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
    from mnfpn_cli.plan.levels import network_input, sized

    settings = network.settings(weights)
    cases = [sized(settings, size) for size in sizes]
    for at_size, image in cases:
        network_input(at_size, image)

    def make(seed: int) -> "Sequence[Candidate]":
        from mnfpn_cli.bench.candidate import PlannedCandidate

        return [PlannedCandidate(at_size, image, seed, weights) for at_size, image in cases]

    return make
