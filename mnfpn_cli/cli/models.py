"""The options that name a network, of settings or of others, and the network that they come to."""

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

from mnfpn_cli.cli.help import EXTERNAL
from mnfpn_cli.cli.options import NetworkOptions
from mnfpn_cli.cli.paths import Reads
from mnfpn_cli.errors import Problem, UsageError
from mnfpn_cli.external.origin import External, FromSettings, Inputs, TensorInputs, Workload
from mnfpn_cli.external.target import parse_input, parse_target
from mnfpn_cli.settings.input import DEFAULT_SIZE, NetworkInput, parse_size
from mnfpn_cli.text import as_option

if TYPE_CHECKING:
    from mnfpn_cli.bench.workload import BenchWorkload
    from mnfpn_cli.settings.network import NetworkSettings

DEFAULT_CHANNELS = 3


def model_option(help: str, metavar: str) -> Any:
    """An option on networks of others."""
    return Option(help=help, metavar=metavar, rich_help_panel=EXTERNAL)


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
        model_option("Use an nn.Module, or a callable that returns one: module:name or file.py:name.", "TARGET"),
        Reads(files_of_target),
    ] = None
    model_arg: Annotated[
        list[str] | None, model_option("Call it with this argument. Can be repeated.", "KEY=VALUE")
    ] = None
    input: Annotated[
        list[str] | None,
        model_option("Pass it an input of this shape, as 1x3x600x900 or 1x128:int64. Can be repeated.", "SHAPE"),
    ] = None

    def workloads(
        self, network: NetworkOptions, sizes: Sequence[str | None], batch: int = 1, weights: Path | None = None
    ) -> list[Workload]:
        """The network that options name, with what a pass is given at each size.

        Raises:
            UsageError: where the options contradict each other, or are wrong.
        """
        if self.model is None:
            self.check_unused()
            return [Workload(*one) for one in planned(network.settings(weights), sizes, batch, weights)]
        origin = self.external(self.model, network, weights)
        return [Workload(origin, self.inputs(network.in_channels, size, batch)) for size in sizes]

    def external(
        self, target: str, network: NetworkOptions, weights: Path | None, of_settings: Sequence[str] = ()
    ) -> External:
        """The network of a target; ``of_settings``: options that were given too, and are of settings.

        Raises:
            UsageError: where something was said of a network from settings, or the target is none.
        """
        said = [as_option(one.name) for one in fields(network) if getattr(network, one.name) is not None]
        said = [name for name in said if name != "--in-channels"] + ["--weights"] * (weights is not None)
        said += of_settings
        if said:
            raise UsageError(
                Problem(", ".join(said), "must not be given beside --model, whose network has no settings")
            )
        return External(parse_target(target, self.model_arg or ()))

    def inputs(self, channels: int | None, size: str | None, batch: int = 1) -> Inputs:
        """What a pass of the network that ``--model`` names is given.

        Raises:
            UsageError: where the options contradict each other, or are wrong.
        """
        if not self.input:
            if channels is not None and channels < 1:
                raise UsageError(Problem("--in-channels", "must be 1 or more", str(channels)))
            image = parse_size(size if size is not None else DEFAULT_SIZE)
            return NetworkInput(batch, channels or DEFAULT_CHANNELS, image)
        said = ["--size"] * (size is not None) + ["--in-channels"] * (channels is not None)
        if said:
            raise UsageError(Problem(", ".join(said), "must not be given beside --input, whose shapes say it"))
        return TensorInputs(tuple(map(parse_input, self.input)))

    def check_batch(self, batch: object) -> None:
        """Make sure that the number of images is not said twice; ``batch`` is None where ``--batch`` was not given.

        Raises:
            UsageError: where it is.
        """
        if self.input and batch is not None:
            raise UsageError(Problem("--batch", "must not be given beside --input, whose shapes say it"))

    def check_unused(self) -> None:
        """Make sure that nothing is said of a network that is not named.

        Raises:
            UsageError: where something is.
        """
        if self.model_arg:
            raise UsageError(Problem("--model-arg", "has no meaning without --model"))
        if self.input:
            raise UsageError(Problem("--input", "has no meaning without --model; networks from settings take --size"))


def planned(
    settings: "NetworkSettings", sizes: Sequence[str | None], batch: int, weights: Path | None
) -> list[tuple[FromSettings, NetworkInput]]:
    """The network of the settings for each size, and the images of a pass.

    Raises:
        UsageError: where the network cannot take a size.
    """
    from mnfpn_cli.plan.levels import network_input, sized

    cases = [sized(settings, size) for size in sizes]
    origins = {at_size: FromSettings(at_size, weights) for at_size, _ in cases}  # planned once for all sizes
    return [(origins[at_size], network_input(at_size, image, batch)) for at_size, image in cases]


Making = Callable[[int], "Sequence[BenchWorkload]"]
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
        return _making_planned(planned(network.settings(weights), sizes, 1, weights))
    origin = model.external(model.model, network, weights, of_settings)
    model.check_batch(batch)
    return _making_external(origin, [model.inputs(network.in_channels, size) for size in sizes])


def _making_planned(cases: Sequence[tuple[FromSettings, NetworkInput]]) -> Making:
    def make(seed: int) -> "Sequence[BenchWorkload]":
        from mnfpn_cli.bench.workload import PlannedWorkload

        return [PlannedWorkload(origin, input.size, seed) for origin, input in cases]

    return make


def _making_external(origin: External, inputs: Sequence[Inputs]) -> Making:
    def make(seed: int) -> "Sequence[BenchWorkload]":
        from mnfpn_cli.bench.workload import load_observed

        return load_observed(origin, inputs, seed)

    return make
