"""The options of an external network, and the workload that a command line names: from settings or external."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

from mnfpn_cli.cli.help import EXTERNAL
from mnfpn_cli.cli.options import NetworkOptions
from mnfpn_cli.cli.paths import Reads, check_readable
from mnfpn_cli.errors import Problem, UsageError
from mnfpn_cli.external.origin import External, Inputs, TensorInputs, Workload, planned_cases
from mnfpn_cli.external.target import parse_pass, parse_target
from mnfpn_cli.settings.input import DEFAULT_CHANNELS, DEFAULT_SIZE, NetworkInput, parse_size
from mnfpn_cli.text import as_option

if TYPE_CHECKING:
    from mnfpn_cli.weights.file import WeightsFile


def model_option(help: str, metavar: str) -> Any:
    """Return an option of the panel on external networks."""
    return Option(help=help, metavar=metavar, rich_help_panel=EXTERNAL)


def files_of_target(text: str) -> Iterator[Path]:
    """Yield the files of a target: the file that it names, or those of its module and packages."""
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
    """An external network: where it is, how it is called, and its inputs."""

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
        model_option(
            "Pass it an input of this shape, as 1x3x600x900 or 1x128:int64; several, separated by commas. "
            "Can be repeated, for several passes.",
            "SHAPE",
        ),
    ] = None

    def workloads(
        self,
        network: NetworkOptions,
        sizes: Sequence[str | None],
        batch: int = 1,
        weights: "WeightsFile | None" = None,
        of_settings: Sequence[str] = (),
    ) -> list[Workload]:
        """Return the network and its inputs, one workload for each size or ``--input``.

        ``of_settings``: other options that were given, and apply only to networks from settings.

        Raises:
            UsageError: if the options are wrong, or contradict each other.
        """
        if self.model is None:
            self.check_unused()
            return [Workload(*one) for one in planned_cases(network.settings(weights), sizes, batch, weights)]
        origin = self.external(self.model, network, weights, of_settings)
        return [Workload(origin, inputs) for inputs in self.inputs(network.in_channels, sizes, batch)]

    def external(
        self, target: str, network: NetworkOptions, weights: "WeightsFile | None", of_settings: Sequence[str]
    ) -> External:
        """Return the external network of a target.

        ``of_settings``: other options that were given, and apply only to networks from settings.

        Raises:
            UsageError: if there are such options, or the target is malformed.
            MnfpnError: if its file cannot be read.
        """
        given = [as_option(one.name) for one in fields(network) if getattr(network, one.name) is not None]
        given = [name for name in given if name != "--in-channels"] + ["--weights"] * (weights is not None)
        given += of_settings
        if given:
            raise UsageError(Problem(", ".join(given), "cannot be used with --model, whose network has no settings"))
        parsed = parse_target(target, self.model_arg or ())
        if parsed.file is not None:
            check_readable(parsed.file, "--model")
        return External(parsed)

    def inputs(self, channels: int | None, sizes: Sequence[str | None], batch: int = 1) -> list[Inputs]:
        """Return the inputs of each pass of the external network: one for each ``--input``, else for each size.

        Raises:
            UsageError: if the options are wrong, or contradict each other.
        """
        if not self.input:
            if channels is not None and channels < 1:
                raise UsageError(Problem("--in-channels", "must be 1 or more", str(channels)))
            images = [parse_size(size if size is not None else DEFAULT_SIZE) for size in sizes]
            return [NetworkInput(batch, channels or DEFAULT_CHANNELS, image) for image in images]
        given = ["--size"] * any(size is not None for size in sizes) + ["--in-channels"] * (channels is not None)
        if given:
            raise UsageError(Problem(", ".join(given), "cannot be used with --input, which already gives the shape"))
        return [TensorInputs(specs) for specs in dict.fromkeys(map(parse_pass, self.input))]

    def check_one_pass(self, command: str) -> None:
        """Check that ``--input`` is given once at most, for a command that takes one pass.

        Raises:
            UsageError: if it is given several times.
        """
        if self.input and len(self.input) > 1:
            several = ",".join(self.input)
            hint = f"; separate the inputs of a pass by commas, as --input {several}"
            raise UsageError(Problem("--input", f"must be given once, as {command} takes one pass", hint=hint))

    def check_batch(self, batch: object) -> None:
        """Check that ``--input`` and ``--batch`` are not both given; ``batch`` is None if the latter is not.

        Raises:
            UsageError: if both are given.
        """
        if self.input and batch is not None:
            raise UsageError(Problem("--batch", "cannot be used with --input, which already gives the shape"))

    def check_unused(self) -> None:
        """Check that the other options of external networks are not given without ``--model``.

        Raises:
            UsageError: if one is given.
        """
        if self.model_arg:
            raise UsageError(Problem("--model-arg", "requires --model"))
        if self.input:
            raise UsageError(Problem("--input", "requires --model; networks from settings take --size"))
