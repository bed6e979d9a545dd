"""Options that several commands share, and the parsers of their values."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from typer import Option

from mnfpn_cli.cli.completion import complete_setting, offering, preset_words, words
from mnfpn_cli.cli.help import MORE, NETWORK, OPTIONS, OUTPUT
from mnfpn_cli.cli.paths import Reads, Writes
from mnfpn_cli.cli.talk import talk, tell
from mnfpn_cli.errors import Problem, UsageError
from mnfpn_cli.files import form_of_file
from mnfpn_cli.settings.input import DEFAULT_DTYPE, DEFAULT_SIZE, ITEM_BYTES, MAX_BATCH, DType
from mnfpn_cli.settings.measuring import (
    ALLOCATORS,
    DEFAULT_RUNTIME,
    DEVICES,
    MAX_SEED,
    MAX_THREADS,
    Allocator,
    parse_share,
    runtime_names,
)
from mnfpn_cli.text import did_you_mean, either

if TYPE_CHECKING:
    from mnfpn_cli.settings.network import NetworkSettings
    from mnfpn_cli.weights.file import WeightsFile


PRESET_HELP = "Start from a preset; mnfpn settings presets lists them."
WIDTH_HELP = "Multiply the channels of the backbone by X."
PYRAMID_HELP = "Use N channels in every pyramid level."
STAGES_HELP = "Set the stages, each as expansion,channels,repeats,stride: '1,16,1,1 6,24,2,2'."
WEIGHTS_HELP = (
    "Load a checkpoint (.pth, .safetensors, .h5) of torchvision, timm, tonylins, pytorch-fpn, Keras or mnfpn."
)
CHANNELS_HELP = "Set the channels of the input image (default: 3)."
BATCH_HELP = "Put N images in a batch (default: 1)."
SIZE_HELP = f"Set the image size, height first (default: {DEFAULT_SIZE})."
DTYPE_HELP = f"Compute in {either(ITEM_BYTES)} (default: {DEFAULT_DTYPE})."
DEVICE_HELP = "Run on auto, cpu, cuda, cuda:N or mps (default: auto)."
RUNTIME_HELP = f"Run with {either((*runtime_names(), 'all'))} (default: {DEFAULT_RUNTIME})."
THREADS_HELP = "Use N CPU threads (default: torch's choice)."
ALLOCATOR_HELP = f"Take memory by {either(ALLOCATORS)}; keep and jemalloc avoid page faults (default: system)."
TRAIN_HELP = "Time training steps: forward, backward, SGD."
"""The same option has the same help on all commands; what one adds follows."""


def whole(option: str, low: int | None = None, high: int | None = None) -> Callable[[str], int]:
    """Return a parser of whole numbers for an option; its errors give the option, the rule and the value."""
    bounds = {(True, True): f" from {low} to {high}", (True, False): f", {low} or more"}
    rule = f"must be a whole number{bounds.get((low is not None, high is not None), '')}"

    def parse(text: str) -> int:
        if not re.fullmatch(r"[+-]?[0-9]{1,4000}", str(text)):
            raise UsageError(Problem(option, rule, f"'{text}'"))
        value = int(text)
        if (low is not None and value < low) or (high is not None and value > high):
            raise UsageError(Problem(option, rule, str(value)))
        return value

    return parse


def number(option: str) -> Callable[[str], float]:
    """Return a parser of numbers for an option; its errors give the option, the rule and the value."""

    def parse(text: str) -> float:
        try:
            return float(text)
        except ValueError:
            raise UsageError(Problem(option, "must be a number", f"'{text}'")) from None

    return parse


def share_parser(option: str, zero: bool = False) -> Callable[[str], float]:
    """Return a parser of shares, ``1%`` or ``0.01``, for an option; its errors give the option, the rule and the value.

    ``zero``: whether 0 is allowed.
    """
    return lambda text: parse_share(option, text, zero)


def parse_batches(texts: Sequence[str]) -> tuple[int, ...]:
    """Return the distinct numbers of ``--batch``, each value of which may hold several.

    Raises:
        UsageError: if one is not a number of images.
    """
    return tuple(dict.fromkeys(whole("--batch", 1, MAX_BATCH)(part) for text in texts for part in text.split(",")))


def parse_sizes(texts: Sequence[str] | None) -> list[str | None]:
    """Return the distinct sizes of ``--size``, each value of which may hold several; ``[None]`` if it was not given."""
    return list(dict.fromkeys(part for text in texts for part in text.split(","))) if texts else [None]


def choice_option(option: str, choices: Sequence[str], help: str, metavar: str, panel: str = OPTIONS) -> Any:
    """Return an option that takes one of ``choices``: errors suggest the nearest, and shells complete it."""

    def parse(text: str) -> str:
        if text not in choices:
            rule = f"must be one of {', '.join(choices)}"
            raise UsageError(Problem(option, rule, f"'{text}'", did_you_mean(text, choices)))
        return text

    return Option(
        option, help=help, metavar=metavar, parser=parse, autocompletion=words(*choices), rich_help_panel=panel
    )


def json_option() -> Any:
    """Return the flag that every command with a result has."""
    return Option("--json", help="Print one JSON document instead of tables.", rich_help_panel=OUTPUT)


def network_option(help: str, metavar: str, panel: str = NETWORK, **more: Any) -> Any:
    """Return an option of the network's panel."""
    return Option(help=help, metavar=metavar, rich_help_panel=panel, **more)


@dataclass(frozen=True)
class NetworkOptions:
    """The network: the same options on every command that builds one. Options override a file, a file a preset."""

    preset: Annotated[
        str | None,
        network_option(PRESET_HELP, "NAME", autocompletion=offering(preset_words)),
    ] = None
    width_mult: Annotated[
        float | None,
        network_option(WIDTH_HELP, "X", parser=number("--width-mult")),
    ] = None
    pyramid_channels: Annotated[
        int | None,
        network_option(PYRAMID_HELP, "N", parser=whole("--pyramid-channels")),
    ] = None
    set: Annotated[
        list[str] | None,
        network_option(
            "Set any settings key, as pyramid.smooth=separable. Can be repeated.",
            "KEY=VALUE",
            autocompletion=complete_setting,
        ),
    ] = None
    config: Annotated[
        str | None, network_option("Read settings from a JSON file (- for standard input).", "FILE"), Reads()
    ] = None
    stages: Annotated[
        str | None,
        network_option(STAGES_HELP, "ROWS", MORE),
    ] = None
    in_channels: Annotated[
        int | None,
        network_option(CHANNELS_HELP, "N", MORE, parser=whole("--in-channels")),
    ] = None

    def settings(self, weights: "WeightsFile | None" = None) -> "NetworkSettings":
        """Return the settings that these options give.

        They start from the settings in a checkpoint of ours, unless there is a preset or a file.

        Raises:
            UsageError: if an option is wrong, or the settings contradict each other.
        """
        from mnfpn_cli.plan.rules import resolve
        from mnfpn_cli.settings.files import read_config, read_preset
        from mnfpn_cli.settings.overrides import in_words, parse_override, parse_stages
        from mnfpn_cli.settings.sources import Source, check_once

        named = {
            "`width_mult`": (self.width_mult, ("width_mult",)),
            "`pyramid_channels`": (self.pyramid_channels, ("pyramid", "channels")),
            "`in_channels`": (self.in_channels, ("in_channels",)),
        }
        sources = [read_preset(self.preset)] if self.preset is not None else []
        if weights is not None and self.preset is None and self.config is None:
            from mnfpn_cli.weights.header import settings_in

            carried = settings_in(weights.path)
            sources += [carried] if carried else []
        sources += [read_config(self.config)] if self.config is not None else []
        sources += [parse_stages(self.stages)] if self.stages is not None else []
        sources += [Source(name, value, path) for name, (value, path) in named.items() if value is not None]
        sources += [parse_override(text) for text in self.set or ()]
        check_once(sources)
        settings = resolve(sources)
        if talk().verbose:
            tell(f"settings: {in_words(settings)}")
        return settings


@dataclass(frozen=True)
class WeightsOptions:
    """A checkpoint to load into a network from settings."""

    weights: Annotated[Path | None, network_option(WEIGHTS_HELP, "FILE"), Reads()] = None
    weights_key: Annotated[
        str | None,
        network_option("Take the state dict under this key of the checkpoint, as ema or state.model.", "KEY", MORE),
    ] = None
    weights_partial: Annotated[
        str | None,
        network_option("Load all but those layers of a part, as head, that have other shapes in FILE.", "PART", MORE),
    ] = None

    def file(self) -> "WeightsFile | None":
        """Return the checkpoint to load; None where there is none.

        Raises:
            UsageError: if an option is given that requires ``--weights``.
        """
        from mnfpn_cli.weights.file import weights_file

        return weights_file(self.weights, self.weights_key, self.weights_partial)


@dataclass(frozen=True)
class OutputOptions:
    """Where the result goes, and in which form."""

    json: Annotated[bool, json_option()] = False
    output: Annotated[
        Path | None,
        Option(
            help="Also write the result to FILE; as JSON if it ends in .json.",
            metavar="FILE",
            rich_help_panel=OUTPUT,
        ),
        Writes(),
    ] = None

    forms: ClassVar[tuple[str, ...]] = ("text", "json")
    """The forms in which the result can be written."""

    for_eyes: ClassVar[tuple[str, ...]] = ("text",)
    """The forms that are printed without deciding the form of the file: its suffix may name another."""

    def __post_init__(self) -> None:
        _ = self.file_form  # fail before any work is done

    @property
    def form(self) -> str:
        """The form that is printed."""
        return "json" if self.json else "text"

    @property
    def file_form(self) -> str:
        """The form of the file.

        Raises:
            UsageError: if the suffix of the file contradicts the options, or names an unknown form.
        """
        asked = self.form if self.form not in self.for_eyes else None
        return form_of_file("--output", self.output, self.forms, asked, self.usual_form) if self.output else self.form

    @property
    def usual_form(self) -> str:
        """The form of a file whose suffix names none."""
        return self.form


FORMATS = ("text", "json", "csv", "markdown")


def format_option(forms: Sequence[str]) -> Any:
    """Return the option for the form of what is printed, of which text is the default."""
    return choice_option("--format", forms, f"Print {either(forms)} (default: text).", "FORMAT", OUTPUT)


@dataclass(frozen=True)
class FormatOptions(OutputOptions):
    """Where a result with several forms goes, and in which; a class for each set of forms has the option."""

    format: str | None = None

    def __post_init__(self) -> None:
        if self.json and self.format not in (None, "json"):
            raise UsageError(Problem("--json", f"is --format json, and cannot be used with --format {self.format}"))
        super().__post_init__()

    @property
    def form(self) -> str:
        """The form that is printed."""
        return "json" if self.json else self.format or "text"


@dataclass(frozen=True)
class RowOutputOptions(FormatOptions):
    """Where a result of rows goes, and in which form: also csv and markdown."""

    format: Annotated[str | None, format_option(FORMATS)] = None

    forms: ClassVar[tuple[str, ...]] = FORMATS


CHECK_FORMATS = ("text", "json", "github", "sarif", "junit")


@dataclass(frozen=True)
class CheckOutputOptions(FormatOptions):
    """Where the result of a check goes, and in which form: also those of pipelines."""

    format: Annotated[str | None, format_option(CHECK_FORMATS)] = None

    forms: ClassVar[tuple[str, ...]] = CHECK_FORMATS
    for_eyes: ClassVar[tuple[str, ...]] = ("text", "github")


COMPARISON_FORMATS = ("text", "json", "github", "markdown")


@dataclass(frozen=True)
class ComparisonOutputOptions(FormatOptions):
    """Where the result of a comparison goes, and in which form: also those of pipelines."""

    format: Annotated[str | None, format_option(COMPARISON_FORMATS)] = None

    forms: ClassVar[tuple[str, ...]] = COMPARISON_FORMATS
    for_eyes: ClassVar[tuple[str, ...]] = ("text", "github")

    @property
    def usual_form(self) -> str:
        """The form of a file without a suffix that names one: beside GitHub's commands, the summary of its job."""
        return "markdown" if self.form == "github" else self.form


SizeOption = Annotated[str | None, Option(help=SIZE_HELP, metavar="HxW")]
SizesOption = Annotated[
    list[str] | None, Option(help=f"{SIZE_HELP} Can be repeated, or hold several, as 320,640.", metavar="HxW")
]


def dtype_option(help: str) -> Any:
    """Return the option for the element type of maps and weights."""
    return choice_option("--dtype", tuple(ITEM_BYTES), help, "TYPE")


DTypeOption = Annotated[DType, dtype_option(DTYPE_HELP)]
BytesDTypeOption = Annotated[DType | None, dtype_option(DTYPE_HELP.replace("Compute", "Count the bytes of maps"))]
BatchOption = Annotated[
    int | None,
    Option(help=BATCH_HELP, metavar="N", parser=whole("--batch", 1, MAX_BATCH)),
]
SeedOption = Annotated[
    int,
    Option(
        help="Seed the random weights with N (default: 0).",
        metavar="N",
        parser=whole("--seed", 0, MAX_SEED),
        rich_help_panel=MORE,
    ),
]
ThreadsOption = Annotated[
    int | None,
    Option(
        help=THREADS_HELP,
        metavar="N",
        parser=whole("--threads", 1, MAX_THREADS),
        rich_help_panel=MORE,
    ),
]
AllocatorOption = Annotated[Allocator, choice_option("--allocator", ALLOCATORS, ALLOCATOR_HELP, "NAME", MORE)]


def device_option(help: str) -> Any:
    """Return an option that names a device, or several."""
    return Option(help=help, metavar="DEVICE", autocompletion=words(*DEVICES))
