"""The options on how to measure, which `bench` and `compare` share."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

from mnfpn_cli.cli.completion import offering, runtime_words
from mnfpn_cli.cli.help import MEASURING, MORE
from mnfpn_cli.cli.options import RUNTIME_HELP, number, share, whole
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
    """An option on how to measure."""
    return Option(help=help, metavar=metavar, rich_help_panel=panel, **more)


def measuring_flag(name: str, help: str, panel: str = MEASURING) -> Any:
    """A switch in the same panel."""
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
    """The option on how sure a median must be; ``usual``: what it is unless given."""
    return measuring_option(
        f"Time passes until the 95% interval of the median is within SHARE of it (default: {usual}).",
        "SHARE",
        parser=share("--precision"),
    )


@dataclass(frozen=True)
class SamplingOptions:
    """When a measurement is warm, and when it is enough."""

    precision: Annotated[float | None, precision_option(f"{DEFAULT_PRECISION:.0%}")] = None
    passes: Annotated[
        int | None,
        measuring_option("Time exactly N passes instead.", "N", parser=whole("--passes", 1)),
    ] = None
    max_time: Annotated[
        float | None,
        measuring_option(
            f"Stop after this many seconds, precise or not, but not before {LEAST_SAMPLES} passes "
            f"(default: {DEFAULT_MAX_TIME_S:g}; no limit with --passes).",
            "SECONDS",
            parser=number("--max-time"),
        ),
    ] = None
    min_time: Annotated[
        float | None,
        measuring_option(
            f"Time passes for at least this many seconds (default: {DEFAULT_MIN_TIME_S:g}; 0 with --passes).",
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

    def sampling(self) -> Sampling:
        """What these options ask for.

        Raises:
            UsageError: where they ask for no time that there is.
        """
        return sampling(self.warmup, self.passes, self.precision, self.min_time, self.max_time)

    def record(self) -> "SamplingRecord":
        """The same for another process.

        Raises:
            UsageError: as `sampling`.
        """
        from mnfpn_cli.documents.worker import SamplingRecord

        self.sampling()
        return SamplingRecord(
            precision=self.precision,
            passes=self.passes,
            max_time_s=self.max_time,
            min_time_s=self.min_time,
            warmup=self.warmup,
        )


@dataclass(frozen=True)
class PairSamplingOptions(SamplingOptions):
    """The same where two networks are compared."""

    precision: Annotated[float | None, precision_option("half the margin")] = None
