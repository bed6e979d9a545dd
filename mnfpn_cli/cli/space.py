"""The options that state a design space: those of other commands, each with several choices, and a file."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

from mnfpn_cli.cli.paths import Reads
from mnfpn_cli.errors import UsageError

if TYPE_CHECKING:
    from mnfpn_cli.space.axes import Space
    from mnfpn_cli.space.budget import Budget


def space_option(help: str, metavar: str) -> Any:
    """An option in the help's panel on the space."""
    return Option(help=help, metavar=metavar, rich_help_panel="Space: each takes several, parted by commas")


@dataclass(frozen=True)
class SpaceOptions:
    """The choices for each key."""

    space: Annotated[
        Path | None, Option(help="Read choices from a JSON file.", metavar="FILE", rich_help_panel="Space"), Reads()
    ] = None
    preset: Annotated[list[str] | None, space_option("Presets.", "NAME,...")] = None
    config: Annotated[
        list[str] | None,
        Option(help="A settings file; repeats for several.", metavar="FILE", rich_help_panel="Space"),
        Reads(),
    ] = None
    stages: Annotated[
        list[str] | None,
        Option(
            help="A whole table of stages: '1,16,1,1 6,24,2,2'; repeats for several.",
            metavar="'t,c,n,s ...'",
            rich_help_panel="Space",
        ),
    ] = None
    width_mult: Annotated[list[str] | None, space_option("Width multipliers.", "X,...")] = None
    pyramid_channels: Annotated[list[str] | None, space_option("Channels of the levels.", "N,...")] = None
    in_channels: Annotated[list[str] | None, space_option("Channels of the image.", "N,...")] = None
    set: Annotated[
        list[str] | None, space_option("Anything else: pyramid.smooth=conv,separable; may repeat.", "KEY=VALUE,...")
    ] = None
    size: Annotated[list[str] | None, space_option("Sizes of the image, as 320x320,600x900.", "HxW,...")] = None
    batch: Annotated[list[str] | None, space_option("Images in a batch.", "N,...")] = None
    runtime: Annotated[list[str] | None, space_option("What executes the network, or all.", "NAME,...")] = None
    device: Annotated[list[str] | None, space_option("auto, cpu, cuda, cuda:N or mps.", "DEVICE,...")] = None
    dtype: Annotated[list[str] | None, space_option("float32, bfloat16, float16.", "TYPE,...")] = None
    threads: Annotated[list[str] | None, space_option("CPU threads.", "N,...")] = None

    def given(self) -> list[str]:
        """The options that were given."""
        return [f"--{one.name.replace('_', '-')}" for one in fields(self) if getattr(self, one.name) is not None]

    def read(self) -> "Space":
        """The space that these options state.

        Raises:
            UsageError: where they state none.
            MnfpnError: where a file cannot be read.
        """
        from mnfpn_cli.settings.overrides import parse_stages
        from mnfpn_cli.space.axes import Axis
        from mnfpn_cli.space.files import read_space
        from mnfpn_cli.space.read import axis_of, joined, merged, override_axis, split_choices

        in_file, axes = read_space(self.space) if self.space is not None else [], list[Axis]()
        if self.stages is not None:
            axes.append(axis_of("stages", "--stages", [parse_stages(text).value for text in self.stages]))
        if self.config is not None:
            axes.append(axis_of("config", "--config", self.config))
        for name, key in NAMED.items():
            given, option = getattr(self, name), f"--{name.replace('_', '-')}"
            texts = [text for one in given or () for text in split_choices(option, one)]
            if texts:
                numbers = name in NUMBERS
                axes.append(axis_of(key, option, [_number(option, one) for one in texts] if numbers else texts))
        axes += [override_axis(text) for text in self.set or ()]
        return merged([*in_file, *joined(axes)])


NAMED = {
    "preset": "preset",
    "width_mult": "width_mult",
    "pyramid_channels": "pyramid.channels",
    "in_channels": "in_channels",
    **{key: key for key in ("size", "batch", "runtime", "device", "dtype", "threads")},
}
"""The options whose values are parted by commas, and their keys."""

NUMBERS = ("width_mult", "pyramid_channels", "in_channels")


def _number(option: str, text: str) -> float | int:
    try:
        return int(text) if option != "--width-mult" else float(text)
    except ValueError:
        kind = "numbers" if option == "--width-mult" else "whole numbers"
        raise UsageError(f"{option}: must be {kind} parted by commas, got '{text}'") from None


def budget_option(name: str, help: str, metavar: str) -> Any:
    """An option in the help's panel on the budget."""
    return Option(name, help=help, metavar=metavar, rich_help_panel="Budget")


@dataclass(frozen=True)
class BudgetOptions:
    """What a cell may cost."""

    max_macs: Annotated[str | None, budget_option("--max-macs", "MACs of one image, as 5G.", "N")] = None
    max_parameters: Annotated[str | None, budget_option("--max-parameters", "Parameters, as 4M.", "N")] = None
    max_memory: Annotated[
        str | None, budget_option("--max-memory", "Weights and activations of a pass, as 200MiB.", "BYTES")
    ] = None
    min_levels: Annotated[str | None, budget_option("--min-levels", "Levels of the pyramid, at least.", "N")] = None
    max_latency: Annotated[
        str | None,
        budget_option("--max-latency", "Leave out what cannot keep to this, as 30ms, by what was measured.", "TIME"),
    ] = None

    def budget(self) -> "Budget":
        """What these options allow.

        Raises:
            UsageError: where one is no quantity.
        """
        from mnfpn_cli.cli.options import whole
        from mnfpn_cli.space.budget import Budget, parse_bytes, parse_count, parse_duration

        return Budget(
            parse_count("--max-macs", self.max_macs) if self.max_macs is not None else None,
            parse_count("--max-parameters", self.max_parameters) if self.max_parameters is not None else None,
            parse_bytes("--max-memory", self.max_memory) if self.max_memory is not None else None,
            whole("--min-levels", 1)(self.min_levels) if self.min_levels is not None else None,
            parse_duration("--max-latency", self.max_latency) if self.max_latency is not None else None,
        )
