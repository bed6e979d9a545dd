"""What `--a` and `--b` hold: options of their own, read as the command line reads its own."""

import shlex
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import typer
from typer.main import get_command

from mnfpn_cli.cli.groups import grouped
from mnfpn_cli.cli.help import told
from mnfpn_cli.cli.measuring import RuntimeOption
from mnfpn_cli.cli.models import Making, ModelOptions, find
from mnfpn_cli.cli.options import DTypeOption, NetworkOptions, WeightsOption
from mnfpn_cli.cli.paths import files_of
from mnfpn_cli.errors import MnfpnError, Problem, UsageError, within
from mnfpn_cli.settings.execution import DEFAULT_RUNTIME, choose_runtimes
from mnfpn_cli.settings.input import DType
from mnfpn_cli.text import as_option

QUOTES = "; what has spaces takes quotes of its own, as \"--stages '1,16,1,1 6,24,2,2'\""


@dataclass(frozen=True)
class SideOptions:
    """One side: a network, and what executes it."""

    network: NetworkOptions
    model: ModelOptions
    runtime: str
    dtype: DType
    weights: Path | None

    @property
    def files(self) -> Iterator[Path]:
        """Those that are read."""
        yield from (*files_of(self.network), *files_of(self.model), *([self.weights] if self.weights else []))

    def find(self, size: str | None, batch: int | None) -> Making:
        """What makes the network; ``batch`` is None where it was not said.

        Raises:
            UsageError: where the options are wrong, the size does not fit, or they contradict each other.
        """
        return find(self.network, self.model, [size], batch, self.weights)


@grouped
def side(
    network: NetworkOptions,
    model: ModelOptions,
    runtime: RuntimeOption = None,
    dtype: DTypeOption = "float32",
    weights: WeightsOption = None,
) -> SideOptions:
    """One side of a comparison."""
    chosen = choose_runtimes(runtime or [DEFAULT_RUNTIME])
    if len(chosen) > 1:
        raise UsageError(Problem("--runtime", "must be one", ", ".join(chosen)))
    return SideOptions(network, model, chosen[0], dtype, weights)


def files_of_side(text: str) -> Iterator[Path]:
    """The files that a side reads; none where it is no such text, which its option tells."""
    with suppress(MnfpnError):
        yield from parse_side("", text).files


def parse_side(name: str, text: str) -> SideOptions:
    """Read a side: ``--width-mult 0.75 --runtime fused``; ``name``: of the parameter that it is given to.

    Raises:
        UsageError: where it is no such text.
    """
    try:
        words = shlex.split(text)
    except ValueError as error:
        reason = str(error).lower()
        rule = f"must be options as a shell reads them, but has {reason}"
        raise UsageError(Problem(f"`{name}`", rule, repr(text))) from None
    app = typer.Typer(add_completion=False, context_settings={"help_option_names": []})
    app.command()(side)
    with within(f"`{name}`"):
        try:
            made: SideOptions = get_command(app)(words, prog_name=as_option(name), standalone_mode=False)
        except typer.TyperException as error:
            message = told(error)
            raise UsageError(f"{message}{QUOTES if 'extra argument' in message else ''}") from None
    return made
