"""The options of measuring that `bench`, `compare` and `sweep` share: runtimes, precision, passes, time."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

from mnfpn_cli.cli.completion import offering, runtime_words
from mnfpn_cli.cli.help import MEASURING, MORE
from mnfpn_cli.cli.options import RUNTIME_HELP, number, share_parser, whole
from mnfpn_cli.settings.measuring import (
    DEFAULT_MAX_TIME_S,
    DEFAULT_MIN_TIME_S,
    DEFAULT_PRECISION,
    LEAST_SAMPLES,
    Sampling,
    sampling,
)

if TYPE_CHECKING:
    from mnfpn_cli.documents.worker import SamplingRecord


def measuring_option(help: str, metavar: str, panel: str = MEASURING, **more: Any) -> Any:
    """Return an option of the panel on measuring."""
    return Option(help=help, metavar=metavar, rich_help_panel=panel, **more)


def measuring_flag(name: str, help: str, panel: str = MEASURING) -> Any:
    """Return a flag of the panel on measuring."""
    return Option(name, help=help, rich_help_panel=panel)


RuntimeOption = Annotated[
    list[str] | None,
    Option(
        help=f"{RUNTIME_HELP} Can be repeated.",
        metavar="NAME",
        autocompletion=offering(runtime_words),
    ),
]


def precision_option(usual: str) -> Any:
    """Return the option for the precision of the median; ``usual`` is its default."""
    return measuring_option(
        f"Time passes until the 95% interval of the median is within SHARE of it (default: {usual}).",
        "SHARE",
        parser=share_parser("--precision"),
    )


@dataclass(frozen=True)
class SamplingOptions:
    """When a measurement is warm, and when it ends."""

    precision: Annotated[float | None, precision_option(f"{DEFAULT_PRECISION:.0%}")] = None
    passes: Annotated[
        int | None,
        measuring_option("Time exactly N passes instead.", "N", parser=whole("--passes", 1)),
    ] = None
    max_time: Annotated[
        float | None,
        measuring_option(
            f"Stop timing after this many seconds, precise or not, but not before {LEAST_SAMPLES} passes "
            f"(default: {DEFAULT_MAX_TIME_S:g}; no limit with --passes).",
            "SECONDS",
            parser=number("--max-time"),
        ),
    ] = None
    min_time: Annotated[
        float | None,
        measuring_option(
            f"Spend at least this many seconds on timing (default: {DEFAULT_MIN_TIME_S:g}; 0 with --passes).",
            "SECONDS",
            MORE,
            parser=number("--min-time"),
        ),
    ] = None
    warmup: Annotated[
        int | None,
        measuring_option(
            "Run N untimed passes first (default: until their times are steady).",
            "N",
            MORE,
            parser=whole("--warmup", 0),
        ),
    ] = None

    def sampling(self, usual: float = DEFAULT_PRECISION) -> Sampling:
        """Return the sampling that these options ask for; ``usual`` is the precision where none is given.

        Raises:
            UsageError: if a value is out of bounds, or options contradict each other.
        """
        return sampling(self.warmup, self.passes, self.precision, self.min_time, self.max_time, usual)

    def record(self) -> "SamplingRecord":
        """Return the sampling as a document for a worker.

        Raises:
            UsageError: as `sampling`.
        """
        from mnfpn_cli.documents.worker import sampling_record

        return sampling_record(self.warmup, self.passes, self.precision, self.min_time, self.max_time)


@dataclass(frozen=True)
class PairSamplingOptions(SamplingOptions):
    """The same for a comparison, whose precision follows its margin."""

    precision: Annotated[float | None, precision_option("half the margin")] = None
