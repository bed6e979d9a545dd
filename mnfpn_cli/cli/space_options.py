"""The options of a design space, and of the budget that its runs may cost."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

from mnfpn_cli.cli.completion import complete_setting, offering, preset_words, runtime_words, words
from mnfpn_cli.cli.help import BUDGET, MORE, OPTIONS, SPACE
from mnfpn_cli.cli.options import (
    ALLOCATOR_HELP,
    BATCH_HELP,
    CHANNELS_HELP,
    DEVICE_HELP,
    DTYPE_HELP,
    PRESET_HELP,
    PYRAMID_HELP,
    RUNTIME_HELP,
    SIZE_HELP,
    STAGES_HELP,
    THREADS_HELP,
    TRAIN_HELP,
    WIDTH_HELP,
    whole,
)
from mnfpn_cli.cli.paths import Reads
from mnfpn_cli.errors import Problem, UsageError
from mnfpn_cli.settings.input import ITEM_BYTES
from mnfpn_cli.settings.measuring import ALLOCATORS, DEVICES

if TYPE_CHECKING:
    from mnfpn_cli.space.axes import Space
    from mnfpn_cli.space.planned import Budget


def space_option(help: str, metavar: str, panel: str = SPACE, **more: Any) -> Any:
    """Return an option of the panel on the space."""
    return Option(help=help, metavar=metavar, rich_help_panel=panel, **more)


@dataclass(frozen=True)
class SpaceOptions:
    """The design space: the choices of each key."""

    width_mult: Annotated[list[str] | None, space_option(WIDTH_HELP, "X,...")] = None
    pyramid_channels: Annotated[list[str] | None, space_option(PYRAMID_HELP, "N,...")] = None
    set: Annotated[
        list[str] | None,
        space_option(
            "Set any settings key, as pyramid.smooth=conv,separable. Can be repeated.",
            "KEY=VALUE,...",
            autocompletion=complete_setting,
        ),
    ] = None
    preset: Annotated[
        list[str] | None,
        space_option(
            PRESET_HELP,
            "NAME,...",
            autocompletion=offering(preset_words),
        ),
    ] = None
    size: Annotated[list[str] | None, space_option(SIZE_HELP, "HxW,...")] = None
    batch: Annotated[list[str] | None, space_option(BATCH_HELP, "N,...")] = None
    runtime: Annotated[
        list[str] | None,
        space_option(RUNTIME_HELP, "NAME,...", autocompletion=offering(runtime_words)),
    ] = None
    device: Annotated[
        list[str] | None,
        space_option(DEVICE_HELP, "DEVICE,...", autocompletion=words(*DEVICES)),
    ] = None
    dtype: Annotated[
        list[str] | None,
        space_option(DTYPE_HELP, "TYPE,...", autocompletion=words(*ITEM_BYTES)),
    ] = None
    space: Annotated[Path | None, space_option("Read a design space from a JSON file.", "FILE"), Reads()] = None
    config: Annotated[
        list[str] | None, space_option("Read settings from a JSON file. Can be repeated.", "FILE", MORE), Reads()
    ] = None
    stages: Annotated[
        list[str] | None,
        space_option(
            f"{STAGES_HELP} Can be repeated.",
            "ROWS",
            MORE,
        ),
    ] = None
    in_channels: Annotated[list[str] | None, space_option(CHANNELS_HELP, "N,...", MORE)] = None
    threads: Annotated[list[str] | None, space_option(THREADS_HELP, "N,...", MORE)] = None
    allocator: Annotated[
        list[str] | None, space_option(ALLOCATOR_HELP, "NAME,...", MORE, autocompletion=words(*ALLOCATORS))
    ] = None
    train: Annotated[
        bool,
        Option("--train", help=TRAIN_HELP, rich_help_panel=OPTIONS),
    ] = False

    def read(self) -> "Space":
        """Return the space of these options.

        Raises:
            UsageError: if a choice is wrong.
            MnfpnError: if a file cannot be read.
        """
        from mnfpn_cli.settings.overrides import parse_stages
        from mnfpn_cli.space.axes import Axis
        from mnfpn_cli.space.read import axis_of, join_axes, merge_axes, override_axis, read_space, split_choices

        in_file, axes = read_space(self.space) if self.space is not None else [], list[Axis]()
        if self.stages is not None:
            axes.append(axis_of("stages", "`stages`", [parse_stages(text).value for text in self.stages]))
        if self.config is not None:
            axes.append(axis_of("config", "`config`", self.config))
        for name, key in NAMED.items():
            where = f"`{name}`"
            texts = [text for one in getattr(self, name) or () for text in split_choices(where, one)]
            if texts:
                numbers = name in NUMBERS
                axes.append(axis_of(key, where, [_number(name, one) for one in texts] if numbers else texts))
        axes += [override_axis(text) for text in self.set or ()]
        axes += [axis_of("train", "`train`", [True])] if self.train else []
        return merge_axes([*in_file, *join_axes(axes)])


NAMED = {
    "preset": "preset",
    "width_mult": "width_mult",
    "pyramid_channels": "pyramid.channels",
    "in_channels": "in_channels",
    **{key: key for key in ("size", "batch", "runtime", "device", "dtype", "threads", "allocator")},
}
"""The options whose values are separated by commas, each with its key in a space."""

NUMBERS = ("width_mult", "pyramid_channels", "in_channels")


def _number(name: str, text: str) -> float | int:
    try:
        return int(text) if name != "width_mult" else float(text)
    except ValueError:
        kind = "numbers" if name == "width_mult" else "whole numbers"
        raise UsageError(Problem(f"`{name}`", f"must be {kind} separated by commas", f"'{text}'")) from None


MEMORY_HELP = (
    "Allow at most this much for weights and activations of an inference pass, as 200MiB; training needs more."
)


def budget_option(name: str, help: str, metavar: str) -> Any:
    """Return an option of the panel on the budget."""
    return Option(name, help=help, metavar=metavar, rich_help_panel=BUDGET)


@dataclass(frozen=True)
class BudgetOptions:
    """The limits of a run."""

    max_macs: Annotated[str | None, budget_option("--max-macs", "Allow at most N MACs per image, as 5G.", "N")] = None
    max_parameters: Annotated[
        str | None, budget_option("--max-parameters", "Allow at most N parameters, as 4M.", "N")
    ] = None
    max_memory: Annotated[
        str | None,
        budget_option(
            "--max-memory",
            MEMORY_HELP,
            "BYTES",
        ),
    ] = None
    min_levels: Annotated[str | None, budget_option("--min-levels", "Require at least N pyramid levels.", "N")] = None
    max_latency: Annotated[
        str | None,
        budget_option("--max-latency", "Allow at most this median time of a pass, as 30ms.", "TIME"),
    ] = None

    def budget(self) -> "Budget":
        """Return the budget of these options.

        Raises:
            UsageError: if a value is malformed.
        """
        from mnfpn_cli.api.sweeping import read_budget

        levels = None if self.min_levels is None else whole("--min-levels", 1)(self.min_levels)
        return read_budget({**vars(self), "min_levels": levels})[0]
