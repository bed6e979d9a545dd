"""The options of a sweep: which runs are measured, and how."""

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

from mnfpn_cli.cli.completion import words
from mnfpn_cli.cli.help import MEASURING, MORE, OPTIONS
from mnfpn_cli.cli.measuring import SamplingOptions
from mnfpn_cli.cli.options import number, whole
from mnfpn_cli.cli.space_options import BudgetOptions, SpaceOptions
from mnfpn_cli.errors import UsageError
from mnfpn_cli.settings.measuring import LAYERED, check_timeout
from mnfpn_cli.sweep.parameters import (  # noqa: TID253 - imports nothing heavy
    MEASURES,
    check_measure,
    check_parameters,
    check_predict,
)

if TYPE_CHECKING:
    from mnfpn_cli.sweep.case import SweepCase


def sweep_option(help: str, metavar: str, panel: str = MORE, **more: Any) -> Any:
    """Return an option of the sweep."""
    return Option(help=help, metavar=metavar, rich_help_panel=panel, **more)


def sweep_flag(name: str, help: str, panel: str = OPTIONS) -> Any:
    """Return a flag of the sweep."""
    return Option(name, help=help, rich_help_panel=panel)


def parse_measure(text: str) -> str:
    """Return which runs to measure: all, none or a number.

    Raises:
        UsageError: if it is none of them.
    """
    try:
        return str(whole("--measure", 1)(text))
    except UsageError:
        return check_measure(text)


@dataclass(frozen=True)
class SweepOptions:
    """Which runs of the space are measured, and how."""

    measure: Annotated[
        str,
        sweep_option(
            "Measure all, none, or N runs from the fewest MACs to the most (default: all).",
            "RUNS",
            OPTIONS,
            parser=parse_measure,
            autocompletion=words(*MEASURES),
        ),
    ] = "all"
    predict: Annotated[bool, sweep_flag("--predict", "Measure only until the other runs can be predicted.")] = False
    dry_run: Annotated[bool, sweep_flag("--dry-run", "Only show how many runs there are, and their time.")] = False
    resume: Annotated[bool, sweep_flag("--resume", "Measure what earlier sweeps of the store left.")] = False
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
    score_command: Annotated[
        str | None,
        sweep_option(
            "Train each measured network with this command, and store its scores: 'python train.py --config {config} "
            "--output {output}'; {size}, {dtype} and {key} may follow.",
            "COMMAND",
        ),
    ] = None
    score_timeout: Annotated[
        float | None,
        sweep_option(
            "Stop a training after this many seconds (default: 86400).", "SECONDS", parser=number("--score-timeout")
        ),
    ] = None
    ray: Annotated[
        str | None,
        sweep_option("Measure on a Ray cluster: auto, local or ray://host:10001.", "ADDRESS"),
    ] = None
    accelerator: Annotated[str | None, sweep_option("With --ray: use only GPUs of this kind, as H100.", "NAME")] = None

    def case(self, sampling: SamplingOptions) -> "SweepCase":
        """Return what the sweep measures, and how.

        Raises:
            UsageError: if options of sampling contradict each other.
        """
        from mnfpn_cli.sweep.case import SweepCase

        return SweepCase(**vars(self), sampling=sampling.record())

    def check(self, space: SpaceOptions, budget: BudgetOptions, sampling: SamplingOptions, store: str | None) -> None:
        """Check that options are within bounds, and do not contradict each other.

        Raises:
            UsageError: if not.
        """
        if self.run_timeout is not None:
            check_timeout("--run-timeout", self.run_timeout)
        if self.score_timeout is not None:
            check_timeout("--score-timeout", self.score_timeout)
        if store is None and (self.resume or not (self.dry_run or self.measure == "none")):
            raise UsageError("--store: must be given, for the results: an SQLite file or PostgreSQL URL")
        check_predict(self.predict, self.measure)
        if self.by_layer and space.train:
            raise UsageError("--by-layer: cannot be used with --train, since layers are timed in inference passes")
        given = [*_given(budget), *_given(sampling), *_given(self)]
        check_parameters(given, _given(space), store)
        if store is not None:
            from mnfpn_cli.store.store import store_url

            store_url(store)  # fail before a space is planned, which can take a minute


def _given(options: Any) -> list[str]:
    """Return the names of the parameters whose values are not the usual ones."""
    return [field.name for field in fields(options) if getattr(options, field.name) != field.default]
