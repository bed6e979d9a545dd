"""The options on how to measure, which `bench` and `compare` share."""

from dataclasses import dataclass, fields
from typing import Annotated, Any

from typer import Option

from mnfpn_cli.cli.options import number, share, whole
from mnfpn_cli.settings.measuring import (
    DEFAULT_MAX_TIME_S,
    DEFAULT_MIN_TIME_S,
    DEFAULT_PRECISION,
    DEFAULT_RUNTIME,
    LEAST_SAMPLES,
    Sampling,
    sampling,
)


def measuring_option(help: str, metavar: str | None = None, **more: Any) -> Any:
    """An option in the help's panel on measuring."""
    return Option(help=help, metavar=metavar, rich_help_panel="Measuring", **more)


RuntimeOption = Annotated[
    list[str] | None,
    measuring_option(
        "What executes the network: eager, channels-last, fused, …, or all; may repeat.",
        "NAME",
        show_default=DEFAULT_RUNTIME,
    ),
]


@dataclass(frozen=True)
class SamplingOptions:
    """When a measurement is warm, and when it is enough."""

    precision: Annotated[
        float | None,
        measuring_option(
            "Time passes until the 95% interval is within this share: of the median; in compare, of the ratio.",
            "SHARE",
            parser=share("--precision"),
            show_default=f"{DEFAULT_PRECISION:.0%}; in compare half the margin",
        ),
    ] = None
    max_time: Annotated[
        float | None,
        measuring_option(
            f"Stop after so many seconds of passes, precise or not, with {LEAST_SAMPLES} passes at least.",
            "SECONDS",
            parser=number("--max-time"),
            show_default=f"{DEFAULT_MAX_TIME_S:g}; none with --runs",
        ),
    ] = None
    min_time: Annotated[
        float | None,
        measuring_option(
            "Time passes for at least so many seconds.",
            "SECONDS",
            parser=number("--min-time"),
            show_default=f"{DEFAULT_MIN_TIME_S:g}; 0 with --runs",
        ),
    ] = None
    runs: Annotated[
        int | None,
        measuring_option(
            "Time so many passes, and more only where --min-time asks for it.",
            "N",
            parser=whole("--runs", 1),
            show_default="as many as the precision takes",
        ),
    ] = None
    warmup: Annotated[
        int | None,
        measuring_option(
            "Passes before the timed ones.", "N", parser=whole("--warmup", 0), show_default="until they are steady"
        ),
    ] = None

    def sampling(self) -> Sampling:
        """What these options ask for.

        Raises:
            UsageError: where they ask for no time that there is.
        """
        return sampling(self.warmup, self.runs, self.precision, self.min_time, self.max_time)

    def arguments(self) -> list[str]:
        """The same options for another process.

        Raises:
            UsageError: as `sampling`.
        """
        self.sampling()
        said = {one.name: getattr(self, one.name) for one in fields(self)}
        given = {f"--{name.replace('_', '-')}": str(value) for name, value in said.items() if value is not None}
        return [text for pair in given.items() for text in pair]
