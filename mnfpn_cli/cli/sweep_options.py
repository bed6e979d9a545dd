"""The options of `mnfpn sweep` that say what of a space is measured, and how."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

from mnfpn_cli.cli.completion import words
from mnfpn_cli.cli.help import MEASURING, MORE, OPTIONS
from mnfpn_cli.cli.measuring import SamplingOptions
from mnfpn_cli.cli.options import number, whole
from mnfpn_cli.cli.paths import Reads
from mnfpn_cli.cli.space import BudgetOptions, SpaceOptions
from mnfpn_cli.errors import UsageError
from mnfpn_cli.text import did_you_mean

if TYPE_CHECKING:
    from mnfpn_cli.documents.sweep import HowRecord
    from mnfpn_cli.store.sweeps import Again


def files_of_store(name: str) -> tuple[Path, ...]:
    """The file that a store is; none where it is a server.

    Raises:
        UsageError: where it is neither.
    """
    from mnfpn_cli.store.connect import store_files

    return store_files(name)


StoreIfSaid = Annotated[
    str | None,
    Option(help="Keep results here: an SQLite file or the URL of a PostgreSQL server.", metavar="STORE"),
    Reads(files_of_store),
]
StoreOption = Annotated[
    str,
    Option(help="The store: an SQLite file or the URL of a PostgreSQL server.", metavar="STORE"),
    Reads(files_of_store),
]


def sweep_option(help: str, metavar: str, panel: str = MORE, **more: Any) -> Any:
    """An option on the sweep."""
    return Option(help=help, metavar=metavar, rich_help_panel=panel, **more)


def sweep_flag(name: str, help: str, panel: str = OPTIONS) -> Any:
    """A switch on the sweep."""
    return Option(name, help=help, rich_help_panel=panel)


WORDS = ("all", "frontier", "none")


def parse_measure(text: str) -> str:
    """Which cells to measure: a word or a number.

    Raises:
        UsageError: where it is neither.
    """
    if text not in WORDS:
        try:
            return str(whole("--measure", 1)(text))
        except UsageError:
            near = did_you_mean(text, WORDS)
            rule = "must be all, frontier, none or a number of cells"
            raise UsageError(f"--measure: {rule}, got '{text}'{near}") from None
    return text


@dataclass(frozen=True)
class HowOptions:
    """What of the space is measured, and how."""

    measure: Annotated[
        str,
        sweep_option(
            "Measure all (unless given), frontier, none, or a number of cells along the frontier of MACs and capacity.",
            "CELLS",
            OPTIONS,
            parser=parse_measure,
            autocompletion=words(*WORDS),
        ),
    ] = "all"
    dry_run: Annotated[bool, sweep_flag("--dry-run", "Only say how many cells there are, and how long they take.")] = (
        False
    )
    resume: Annotated[bool, sweep_flag("--resume", "Measure what the sweeps of the store have left.")] = False
    again: Annotated[bool, sweep_flag("--again", "Measure again what the store already has.", MORE)] = False
    retry_failed: Annotated[bool, sweep_flag("--retry-failed", "Measure also the cells that failed before.", MORE)] = (
        False
    )
    by_layer: Annotated[
        bool, sweep_flag("--by-layer", "Also time each layer, where the runtime has layers.", MEASURING)
    ] = False
    reference_every: Annotated[
        int | None,
        sweep_option(
            "Time the reference cell after every N cells; 10 unless given.", "N", parser=whole("--reference-every", 1)
        ),
    ] = None
    cell_timeout: Annotated[
        float | None,
        sweep_option("Give a cell up after this time; 900 unless given.", "SECONDS", parser=number("--cell-timeout")),
    ] = None
    ray: Annotated[
        str | None,
        sweep_option("Measure on a Ray cluster: auto, local or ray://host:10001.", "ADDRESS"),
    ] = None
    accelerator: Annotated[str | None, sweep_option("With --ray, use GPUs of this kind, as H100.", "NAME")] = None

    def how(self, sampling: SamplingOptions, latency_s: float | None) -> "HowRecord":
        """How cells are measured.

        Raises:
            UsageError: where options on sampling contradict each other.
        """
        from mnfpn_cli.documents.sweep import HowRecord

        return self.going_on(HowRecord(sampling=sampling.record(), by_layer=self.by_layer, max_latency_s=latency_s))

    def going_on(self, how: "HowRecord") -> "HowRecord":
        """The same with what can be said anew each time, as far as it is."""
        every = how.reference_every if self.reference_every is None else self.reference_every
        timeout_s = how.timeout_s if self.cell_timeout is None else self.cell_timeout
        return how.model_copy(update={"reference_every": every, "timeout_s": timeout_s})

    def measured_again(self) -> "Again":
        """Which cells are measured though the store has a result of them."""
        from mnfpn_cli.store.sweeps import Again

        return Again(self.again, self.retry_failed, self.by_layer)

    def check(self, space: SpaceOptions, budget: BudgetOptions, sampling: SamplingOptions, store: str | None) -> None:
        """Make sure that options are in their bounds, and do not contradict each other.

        Raises:
            UsageError: where they are not, or do.
        """
        if self.cell_timeout is not None and not 1 <= self.cell_timeout <= 1e6:
            raise UsageError(f"--cell-timeout: must be 1 to 1000000 seconds, got {self.cell_timeout:g}")
        if self.accelerator is not None and self.ray is None:
            raise UsageError("--accelerator: has no meaning without --ray")
        if store is None and (self.resume or not (self.dry_run or self.measure == "none")):
            raise UsageError("--store: must be given: a file or a server that keeps what is measured")
        if self.by_layer and space.train:
            raise UsageError("--by-layer: must not be given beside --train, as layers are timed in inference passes")
        idle = self._without_effect(budget, sampling) if store is None else []
        if idle:
            raise UsageError(f"{', '.join(idle)}: must not be given where there is no --store and nothing is measured")
        if store is not None:
            from mnfpn_cli.store.connect import store_url

            store_url(store)  # before a space is planned, which can take a minute
        if not self.resume:
            return
        kept = [*space.given(), *_given(budget), *_given(sampling), *self._said("measure", "by_layer")]
        if kept:
            raise UsageError(f"{', '.join(kept)}: must not be given beside --resume: they stay as a sweep began")
        begun = self._said("dry_run", "again")
        if begun:
            raise UsageError(f"{', '.join(begun)}: must not be given beside --resume, which measures what is left")

    def _without_effect(self, budget: BudgetOptions, sampling: SamplingOptions) -> list[str]:
        """The options that say nothing of what is shown without a store: a dry run still tells how long it takes."""
        timing = [] if self.dry_run else [*_given(sampling), *self._said("by_layer", "reference_every", "cell_timeout")]
        latency = ["--max-latency"] if budget.max_latency is not None else []
        return [*timing, *self._said("again", "retry_failed"), *latency]

    def _said(self, *names: str) -> list[str]:
        return [f"--{name.replace('_', '-')}" for name in names if getattr(self, name) != getattr(HowOptions, name)]


def _given(options: Any) -> list[str]:
    return [f"--{one.name.replace('_', '-')}" for one in fields(options) if getattr(options, one.name) is not None]
