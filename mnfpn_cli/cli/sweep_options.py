"""The options of a sweep: space, budget, store, and measuring; `report` and `recommend` share some of them."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

from mnfpn_cli.cli.completion import complete_setting, offering, preset_words, runtime_words, words
from mnfpn_cli.cli.help import BUDGET, MEASURING, MORE, OPTIONS, SPACE
from mnfpn_cli.cli.measuring import SamplingOptions
from mnfpn_cli.cli.options import (
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
    number,
    whole,
)
from mnfpn_cli.cli.paths import Reads
from mnfpn_cli.errors import Problem, UsageError
from mnfpn_cli.settings.execution import DEVICES, LAYERED
from mnfpn_cli.settings.input import ITEM_BYTES
from mnfpn_cli.text import as_option, did_you_mean

if TYPE_CHECKING:
    from mnfpn_cli.documents.sweep import MeasuringRecord
    from mnfpn_cli.space.axes import Space
    from mnfpn_cli.space.planned import Budget
    from mnfpn_cli.store.rows import StoredRun
    from mnfpn_cli.store.sweeps import Remeasure


@dataclass(frozen=True)
class RunFilter:
    """An option that selects runs by one of their properties.

    Attributes:
        option: its name.
        value: the value that was given.
        of: returns the property of a run.
        keeps: returns whether runs with this property are selected.
    """

    option: str
    value: str | int
    of: "Callable[[StoredRun], str | int]"
    keeps: Callable[[str | int], bool]


def device_filter(device: str) -> RunFilter:
    """Select the runs of a device; ``cuda`` stands for every CUDA device."""
    return RunFilter("--device", device, lambda run: run.device, lambda of: device in (of, str(of).partition(":")[0]))


def choose_runs(runs: "list[StoredRun]", filters: Iterable[RunFilter], called: str = "runs") -> "list[StoredRun]":
    """Return the runs that all filters select; ``called`` names the runs in messages.

    Raises:
        UsageError: if a filter selects none of the runs that are left; the message lists their values.
    """
    before: list[str] = []
    for filter in filters:
        selected = [run for run in runs if filter.keeps(filter.of(run))]
        if runs and not selected:
            values = ", ".join(map(str, sorted({filter.of(run) for run in runs})))
            given = f" with {' '.join(before)}" if before else ""
            rule = f"must be one that the store has {called} of{given} ({values})"
            raise UsageError(Problem(filter.option, rule, repr(filter.value)))
        before.append(f"{filter.option} {filter.value}")
        runs = selected
    return runs


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
    train: Annotated[
        bool,
        Option("--train", help=TRAIN_HELP, rich_help_panel=OPTIONS),
    ] = False

    def given(self) -> list[str]:
        """Return the names of the options that were given."""
        return [as_option(one.name) for one in fields(self) if getattr(self, one.name) != one.default]

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
    **{key: key for key in ("size", "batch", "runtime", "device", "dtype", "threads")},
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
        from mnfpn_cli.space.planned import Budget, parse_bytes, parse_count, parse_duration

        return Budget(
            parse_count("`max_macs`", self.max_macs) if self.max_macs is not None else None,
            parse_count("`max_parameters`", self.max_parameters) if self.max_parameters is not None else None,
            parse_bytes("`max_memory`", self.max_memory) if self.max_memory is not None else None,
            whole("--min-levels", 1)(self.min_levels) if self.min_levels is not None else None,
            parse_duration("`max_latency`", self.max_latency) if self.max_latency is not None else None,
        )


def files_of_store(name: str) -> tuple[Path, ...]:
    """Return the file of a store; nothing for a server.

    Raises:
        UsageError: if the name is neither a file nor the URL of a server.
    """
    from mnfpn_cli.store.store import store_files

    return store_files(name)


STORE_HELP = "Use this SQLite file or PostgreSQL URL as the store."
OptionalStoreOption = Annotated[
    str | None,
    Option(help=STORE_HELP, metavar="STORE"),
    Reads(files_of_store),
]
StoreOption = Annotated[
    str,
    Option(help=STORE_HELP, metavar="STORE"),
    Reads(files_of_store),
]


def sweep_option(help: str, metavar: str, panel: str = MORE, **more: Any) -> Any:
    """Return an option of the sweep."""
    return Option(help=help, metavar=metavar, rich_help_panel=panel, **more)


def sweep_flag(name: str, help: str, panel: str = OPTIONS) -> Any:
    """Return a flag of the sweep."""
    return Option(name, help=help, rich_help_panel=panel)


WORDS = ("all", "frontier", "none")


def parse_measure(text: str) -> str:
    """Return which runs to measure: all, frontier, none or a number.

    Raises:
        UsageError: if it is none of them.
    """
    if text not in WORDS:
        try:
            return str(whole("--measure", 1)(text))
        except UsageError:
            near = did_you_mean(text, WORDS)
            rule = "must be all, frontier, none or a number of runs"
            raise UsageError(Problem("--measure", rule, f"'{text}'", near)) from None
    return text


@dataclass(frozen=True)
class SweepOptions:
    """Which runs of the space are measured, and how."""

    measure: Annotated[
        str,
        sweep_option(
            "Measure all, frontier, none, or N runs along the frontier of MACs and capacity (default: all).",
            "RUNS",
            OPTIONS,
            parser=parse_measure,
            autocompletion=words(*WORDS),
        ),
    ] = "all"
    dry_run: Annotated[bool, sweep_flag("--dry-run", "Only show how many runs there are and how long they take.")] = (
        False
    )
    resume: Annotated[bool, sweep_flag("--resume", "Measure the runs that earlier sweeps of the store left.")] = False
    again: Annotated[bool, sweep_flag("--again", "Also measure runs that the store has results of.", MORE)] = False
    retry_failed: Annotated[bool, sweep_flag("--retry-failed", "Also measure runs that failed before.", MORE)] = False
    by_layer: Annotated[
        bool, sweep_flag("--by-layer", f"Also time each layer of {' and '.join(LAYERED)} runs.", MEASURING)
    ] = False
    baseline_every: Annotated[
        int | None,
        sweep_option(
            "Repeat the baseline run after every N runs (default: 10).", "N", parser=whole("--baseline-every", 1)
        ),
    ] = None
    run_timeout: Annotated[
        float | None,
        sweep_option("Stop a run after this many seconds (default: 900).", "SECONDS", parser=number("--run-timeout")),
    ] = None
    ray: Annotated[
        str | None,
        sweep_option("Measure on a Ray cluster: auto, local or ray://host:10001.", "ADDRESS"),
    ] = None
    accelerator: Annotated[str | None, sweep_option("With --ray: use only GPUs of this kind, as H100.", "NAME")] = None

    def measuring(self, sampling: SamplingOptions, latency_s: float | None) -> "MeasuringRecord":
        """Return how the runs are measured; ``latency_s`` is the limit of the budget.

        Raises:
            UsageError: if options of sampling contradict each other.
        """
        from mnfpn_cli.documents.sweep import MeasuringRecord

        return self.override(
            MeasuringRecord(sampling=sampling.record(), by_layer=self.by_layer, max_latency_s=latency_s)
        )

    def override(self, measuring: "MeasuringRecord") -> "MeasuringRecord":
        """Return the record with the values of --baseline-every and --run-timeout, which a resumed sweep may change."""
        every = measuring.baseline_every if self.baseline_every is None else self.baseline_every
        timeout_s = measuring.timeout_s if self.run_timeout is None else self.run_timeout
        return measuring.model_copy(update={"baseline_every": every, "timeout_s": timeout_s})

    def repeats(self) -> "Remeasure":
        """Return which runs are measured again although the store has a result of them."""
        from mnfpn_cli.store.sweeps import Remeasure

        return Remeasure(self.again, self.retry_failed, self.by_layer)

    def check(self, space: SpaceOptions, budget: BudgetOptions, sampling: SamplingOptions, store: str | None) -> None:
        """Check that options are within bounds, and do not contradict each other.

        Raises:
            UsageError: if not.
        """
        if self.run_timeout is not None and not 1 <= self.run_timeout <= 1e6:
            raise UsageError(f"--run-timeout: must be 1 to 1000000 seconds, got {self.run_timeout:g}")
        if self.accelerator is not None and self.ray is None:
            raise UsageError("--accelerator: requires --ray")
        if store is None and (self.resume or not (self.dry_run or self.measure == "none")):
            raise UsageError("--store: must be given, for the results: an SQLite file or PostgreSQL URL")
        if self.by_layer and space.train:
            raise UsageError("--by-layer: cannot be used with --train, since layers are timed in inference passes")
        unused = self._unused_without_store(budget, sampling) if store is None else []
        if unused:
            raise UsageError(f"{', '.join(unused)}: cannot be used without --store, since nothing is measured")
        if store is not None:
            from mnfpn_cli.store.store import store_url

            store_url(store)  # fail before a space is planned, which can take a minute
        if self.resume:
            self._check_resume(space, budget, sampling)

    def _check_resume(self, space: SpaceOptions, budget: BudgetOptions, sampling: SamplingOptions) -> None:
        """Check that no option changes what the sweeps of the store have chosen.

        Raises:
            UsageError: if one would.
        """
        fixed = [*space.given(), *_given(budget), *_given(sampling), *self._changed("measure", "by_layer")]
        if fixed:
            raise UsageError(f"{', '.join(fixed)}: cannot be used with --resume, which keeps the options of each sweep")
        contrary = self._changed("dry_run", "again")
        if contrary:
            raise UsageError(f"{', '.join(contrary)}: cannot be used with --resume, which measures what is left")

    def _unused_without_store(self, budget: BudgetOptions, sampling: SamplingOptions) -> list[str]:
        """Return the given options that have no effect without a store; a dry run still estimates its time."""
        timing = [*_given(sampling), *self._changed("by_layer", "baseline_every", "run_timeout")]
        latency = ["--max-latency"] if budget.max_latency is not None else []
        return [*([] if self.dry_run else timing), *self._changed("again", "retry_failed"), *latency]

    def _changed(self, *names: str) -> list[str]:
        return [as_option(name) for name in names if getattr(self, name) != getattr(SweepOptions, name)]


def _given(options: Any) -> list[str]:
    return [as_option(field.name) for field in fields(options) if getattr(options, field.name) is not None]
