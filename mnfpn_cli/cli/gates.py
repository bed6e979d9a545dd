"""The gates of `mnfpn compare`: what makes its exit code 3."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

from mnfpn_cli.cli.help import GATES
from mnfpn_cli.cli.options import share
from mnfpn_cli.errors import CheckError, UsageError

if TYPE_CHECKING:
    from mnfpn_cli.bench.comparison import Comparison, Gates


def gate_option(name: str, help: str) -> Any:
    """A gate: an option that gives a share."""
    return Option(name, help=help, metavar="SHARE", parser=share(name, zero=True), rich_help_panel=GATES)


@dataclass(frozen=True)
class GateOptions:
    """What makes the exit code 3."""

    slower: Annotated[
        float | None, gate_option("--fail-if-slower", "Exit 3 if B is slower than A by more than this.")
    ] = None
    larger: Annotated[
        float | None,
        gate_option("--fail-if-larger", "Exit 3 if B has more parameters, MACs or memory by more than this."),
    ] = None
    strict: Annotated[
        bool,
        Option("--strict", help="Exit 3 also where --fail-if-slower is inconclusive.", rich_help_panel=GATES),
    ] = False

    def gates(self) -> "Gates":
        """What these options ask for.

        Raises:
            UsageError: where they ask for nothing.
        """
        from mnfpn_cli.bench.comparison import Gates

        if self.strict and self.slower is None:
            raise UsageError(
                "--strict: has no meaning without --fail-if-slower, the only gate that can be inconclusive"
            )
        return Gates(self.slower, self.larger, self.strict)


@dataclass(frozen=True)
class Judged:
    """What the gates say, a line each."""

    broken: list[str]
    undecided: list[str]


def judge(result: "Comparison", gates: "Gates") -> Judged:
    """Hold a comparison against the gates."""
    from mnfpn_cli.bench.comparison import broken_gates, open_gates

    return Judged(list(broken_gates(result, gates)), list(open_gates(result, gates)))


def apply(judged: Judged, strict: bool) -> None:
    """Tell what is undecided, and fail by what is broken.

    Raises:
        CheckError: where a gate is broken, or undecided and that is not allowed.
    """
    from mnfpn_cli.cli.output import warn

    if judged.broken or (judged.undecided and strict):
        raise CheckError("\n".join([*judged.broken, *judged.undecided]))
    for line in judged.undecided:
        warn(line)
