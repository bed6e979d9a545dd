"""The options of `mnfpn sweep` that say what of a space is measured, and how."""

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

from mnfpn_cli.cli.completion import words
from mnfpn_cli.cli.help import MEASURING, MORE, OPTIONS
from mnfpn_cli.cli.measuring import SamplingOptions
from mnfpn_cli.cli.options import number, whole
from mnfpn_cli.cli.space import BudgetOptions, SpaceOptions
from mnfpn_cli.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from mnfpn_cli.sweep.how import How

StoreIfSaid = Annotated[
    str | None,
    Option(help="Keep results here: an SQLite file or the URL of a PostgreSQL server.", metavar="STORE"),
]
StoreOption = Annotated[
    str, Option(help="The store: an SQLite file or the URL of a PostgreSQL server.", metavar="STORE")
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
    retry_failed: Annotated[bool, sweep_flag("--retry-failed", "With --resume, try failed cells again too.", MORE)] = (
        False
    )
    by_layer: Annotated[
        bool, sweep_flag("--by-layer", "Also time each layer, where the runtime has layers.", MEASURING)
    ] = False
    reference_every: Annotated[
        int,
        sweep_option(
            "Time the reference cell after every N cells; 10 unless given.", "N", parser=whole("--reference-every", 1)
        ),
    ] = 10
    cell_timeout: Annotated[
        float,
        sweep_option("Give a cell up after this time; 900 unless given.", "SECONDS", parser=number("--cell-timeout")),
    ] = 900.0
    ray: Annotated[
        str | None,
        sweep_option("Measure on a Ray cluster: auto, local or ray://host:10001.", "ADDRESS"),
    ] = None
    accelerator: Annotated[str | None, sweep_option("With --ray, use GPUs of this kind, as H100.", "NAME")] = None

    def how(self, sampling: SamplingOptions, latency_s: float | None) -> "How":
        """How cells are measured.

        Raises:
            UsageError: where options are wrong, or contradict each other.
        """
        from mnfpn_cli.sweep.how import How

        if not 1 <= self.cell_timeout <= 1e6:
            raise UsageError(f"--cell-timeout: must be 1 to 1000000 seconds, got {self.cell_timeout:g}")
        arguments = tuple(sampling.arguments())
        return How(arguments, self.by_layer, self.cell_timeout, self.reference_every, latency_s)

    def check(self, space: SpaceOptions, budget: BudgetOptions, sampling: SamplingOptions, store: str | None) -> None:
        """Make sure that options do not contradict each other.

        Raises:
            UsageError: where they do.
        """
        if self.accelerator is not None and self.ray is None:
            raise UsageError("--accelerator: has no meaning without --ray")
        if store is None and (self.resume or not (self.dry_run or self.measure == "none")):
            raise UsageError("--store: must be given: a file or a server that keeps what is measured")
        if not self.resume:
            if self.retry_failed:
                raise UsageError("--retry-failed: has no meaning without --resume")
            return
        said = [*space.given(), *_given(budget), *_given(sampling)]
        said += [
            f"--{name.replace('_', '-')}" for name in OF_THE_START if getattr(self, name) != getattr(HowOptions, name)
        ]
        if said:
            raise UsageError(f"{', '.join(said)}: are as the sweep was begun with, and cannot be given beside --resume")


OF_THE_START = ("measure", "dry_run", "again", "by_layer", "reference_every", "cell_timeout")
"""Options that a sweep keeps."""


def _given(options: Any) -> list[str]:
    return [f"--{one.name.replace('_', '-')}" for one in fields(options) if getattr(options, one.name) is not None]
