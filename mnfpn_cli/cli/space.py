"""The options that state a design space, or choose among the runs of a store."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

from mnfpn_cli.cli.completion import complete_setting, offering, preset_words, runtime_words, words
from mnfpn_cli.cli.help import BUDGET, MORE, OPTIONS, SPACE
from mnfpn_cli.cli.paths import Reads
from mnfpn_cli.errors import Problem, UsageError
from mnfpn_cli.settings.execution import DEVICES
from mnfpn_cli.settings.input import ITEM_BYTES
from mnfpn_cli.text import as_option

if TYPE_CHECKING:
    from mnfpn_cli.space.axes import Space
    from mnfpn_cli.space.planned import Budget
    from mnfpn_cli.store.rows import StoredCell


@dataclass(frozen=True)
class CellFilter:
    """An option that was given, and the cells that it is about.

    Attributes:
        option: its name.
        value: as it was given.
        of: what it looks at in a cell.
        keeps: whether it is about the cells of which this is so.
    """

    option: str
    value: str | int
    of: "Callable[[StoredCell], str | int]"
    keeps: Callable[[str | int], bool]


def device_filter(device: str) -> CellFilter:
    """The cells that ran, or are to run, on a device; ``cuda`` is any of them."""
    return CellFilter("--device", device, lambda one: one.device, lambda of: device in (of, str(of).partition(":")[0]))


def choose_cells(cells: "list[StoredCell]", filters: Iterable[CellFilter], called: str = "cells") -> "list[StoredCell]":
    """The cells that all filters are about.

    ``called``: what messages call the cells.

    Raises:
        UsageError: where a filter leaves none: it names what there is.
    """
    before: list[str] = []
    for one in filters:
        kept = [cell for cell in cells if one.keeps(one.of(cell))]
        if cells and not kept:
            there = ", ".join(map(str, sorted({one.of(cell) for cell in cells})))
            given = f" with {' '.join(before)}" if before else ""
            raise UsageError(
                Problem(one.option, f"must be one that the store has {called} of{given} ({there})", repr(one.value))
            )
        before.append(f"{one.option} {one.value}")
        cells = kept
    return cells


def space_option(help: str, metavar: str, panel: str = SPACE, **more: Any) -> Any:
    """An option in the help's panel on the space."""
    return Option(help=help, metavar=metavar, rich_help_panel=panel, **more)


@dataclass(frozen=True)
class SpaceOptions:
    """The choices for each key."""

    width_mult: Annotated[list[str] | None, space_option("Scale the channels of the backbone.", "X,...")] = None
    pyramid_channels: Annotated[list[str] | None, space_option("Channels of every pyramid level.", "N,...")] = None
    set: Annotated[
        list[str] | None,
        space_option(
            "Set any other key, as pyramid.smooth=conv,separable; may repeat.",
            "KEY=VALUE,...",
            autocompletion=complete_setting,
        ),
    ] = None
    preset: Annotated[
        list[str] | None, space_option("Start from presets.", "NAME,...", autocompletion=offering(preset_words))
    ] = None
    size: Annotated[list[str] | None, space_option("Image sizes, as 320x320,600x900.", "HxW,...")] = None
    batch: Annotated[list[str] | None, space_option("Images in a batch.", "N,...")] = None
    runtime: Annotated[
        list[str] | None,
        space_option("Runtimes, or all.", "NAME,...", autocompletion=offering(runtime_words)),
    ] = None
    device: Annotated[
        list[str] | None,
        space_option("Devices: auto, cpu, cuda, cuda:N, mps.", "DEVICE,...", autocompletion=words(*DEVICES)),
    ] = None
    dtype: Annotated[
        list[str] | None,
        space_option("Types: float32, bfloat16, float16.", "TYPE,...", autocompletion=words(*ITEM_BYTES)),
    ] = None
    space: Annotated[Path | None, space_option("Read choices from a JSON file.", "FILE"), Reads()] = None
    config: Annotated[
        list[str] | None, space_option("Read settings from a file; repeat it for more.", "FILE", MORE), Reads()
    ] = None
    stages: Annotated[
        list[str] | None,
        space_option("Give a table of stages: '1,16,1,1 6,24,2,2'; repeat it for more.", "ROWS", MORE),
    ] = None
    in_channels: Annotated[list[str] | None, space_option("Channels of the input image.", "N,...", MORE)] = None
    threads: Annotated[list[str] | None, space_option("CPU threads.", "N,...", MORE)] = None
    train: Annotated[
        bool,
        Option("--train", help="Time training steps: forward, backward, SGD.", rich_help_panel=OPTIONS),
    ] = False

    def given(self) -> list[str]:
        """The options that were given."""
        return [as_option(one.name) for one in fields(self) if getattr(self, one.name) != one.default]

    def read(self) -> "Space":
        """The space that these options state.

        Raises:
            UsageError: where they state none.
            MnfpnError: where a file cannot be read.
        """
        from mnfpn_cli.settings.overrides import parse_stages
        from mnfpn_cli.space.axes import Axis
        from mnfpn_cli.space.read import axis_of, joined, merged, override_axis, read_space, split_choices

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
        return merged([*in_file, *joined(axes)])


NAMED = {
    "preset": "preset",
    "width_mult": "width_mult",
    "pyramid_channels": "pyramid.channels",
    "in_channels": "in_channels",
    **{key: key for key in ("size", "batch", "runtime", "device", "dtype", "threads")},
}
"""The options whose values are separated by commas, and their keys."""

NUMBERS = ("width_mult", "pyramid_channels", "in_channels")


def _number(name: str, text: str) -> float | int:
    try:
        return int(text) if name != "width_mult" else float(text)
    except ValueError:
        kind = "numbers" if name == "width_mult" else "whole numbers"
        raise UsageError(Problem(f"`{name}`", f"must be {kind} separated by commas", f"'{text}'")) from None


def budget_option(name: str, help: str, metavar: str) -> Any:
    """An option in the help's panel on the budget."""
    return Option(name, help=help, metavar=metavar, rich_help_panel=BUDGET)


@dataclass(frozen=True)
class BudgetOptions:
    """What a cell may cost."""

    max_macs: Annotated[str | None, budget_option("--max-macs", "At most this many MACs of one image, as 5G.", "N")] = (
        None
    )
    max_parameters: Annotated[
        str | None, budget_option("--max-parameters", "At most this many parameters, as 4M.", "N")
    ] = None
    max_memory: Annotated[
        str | None, budget_option("--max-memory", "At most this much for weights and activations, as 200MiB.", "BYTES")
    ] = None
    min_levels: Annotated[str | None, budget_option("--min-levels", "At least this many pyramid levels.", "N")] = None
    max_latency: Annotated[
        str | None,
        budget_option("--max-latency", "At most this measured time for a pass, as 30ms.", "TIME"),
    ] = None

    def budget(self) -> "Budget":
        """What these options allow.

        Raises:
            UsageError: where one is no quantity.
        """
        from mnfpn_cli.cli.options import whole
        from mnfpn_cli.space.planned import Budget, parse_bytes, parse_count, parse_duration

        return Budget(
            parse_count("`max_macs`", self.max_macs) if self.max_macs is not None else None,
            parse_count("`max_parameters`", self.max_parameters) if self.max_parameters is not None else None,
            parse_bytes("`max_memory`", self.max_memory) if self.max_memory is not None else None,
            whole("--min-levels", 1)(self.min_levels) if self.min_levels is not None else None,
            parse_duration("`max_latency`", self.max_latency) if self.max_latency is not None else None,
        )
