"""What `--a` and `--b` hold: options of their own, read as the command line reads its own."""

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from typer.main import get_command

from mnfpn_cli.cli.groups import grouped
from mnfpn_cli.cli.measuring import RuntimeOption
from mnfpn_cli.cli.options import DTypeOption, NetworkOptions, WeightsOption
from mnfpn_cli.errors import MnfpnError, UsageError
from mnfpn_cli.settings.input import DType, Size, network_input, sized
from mnfpn_cli.settings.measuring import DEFAULT_RUNTIME, choose_runtimes

if TYPE_CHECKING:
    from mnfpn_cli.settings.models import NetworkSettings

QUOTES = "; what has spaces takes quotes of its own, as \"--stages '1,16,1,1 6,24,2,2'\""


@dataclass(frozen=True)
class SideOptions:
    """One side: a network, and what executes it."""

    network: NetworkOptions
    runtime: str
    dtype: DType
    weights: Path | None

    def settings(self, size: str | None, batch: int) -> "tuple[NetworkSettings, Size]":
        """The network's settings, and the size of its images.

        Raises:
            UsageError: where they are none, or the size does not fit.
        """
        settings, image = sized(self.network.settings(self.weights), size)
        network_input(settings, image, batch)
        return settings, image


@grouped
def side(
    network: NetworkOptions,
    runtime: RuntimeOption = None,
    dtype: DTypeOption = "float32",
    weights: WeightsOption = None,
) -> SideOptions:
    """One side of a comparison."""
    chosen = choose_runtimes(runtime or [DEFAULT_RUNTIME])
    if len(chosen) > 1:
        raise UsageError(f"--runtime: must be one, got {', '.join(chosen)}")
    return SideOptions(network, chosen[0], dtype, weights)


@contextmanager
def naming(option: str) -> Iterator[None]:
    """Put the name of an option before every line of an error.

    Raises:
        MnfpnError: the same, with the name.
    """
    try:
        yield
    except MnfpnError as error:
        raise type(error)("\n".join(f"{option}: {line}" for line in str(error).splitlines())) from None


def parse_side(option: str, text: str) -> SideOptions:
    """Read a side: ``--width-mult 0.75 --runtime fused``.

    Raises:
        UsageError: where it is no such text, naming the option.
    """
    try:
        words = shlex.split(text)
    except ValueError as error:
        reason = str(error).lower()
        raise UsageError(f"{option}: must be options as a shell reads them, but has {reason}, got {text!r}") from None
    app = typer.Typer(add_completion=False, context_settings={"help_option_names": []})
    app.command()(side)
    with naming(option):
        try:
            made: SideOptions = get_command(app)(words, prog_name=option, standalone_mode=False)
        except typer.TyperException as error:
            message = " ".join(error.format_message().split())
            raise UsageError(f"{message}{QUOTES if 'extra argument' in message else ''}") from None
    return made
