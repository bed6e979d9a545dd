"""What `--a` and `--b` hold: options of their own, read as the command line reads its own."""

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from typer.main import get_command

from mnfpn_cli.cli.groups import grouped
from mnfpn_cli.cli.measuring import RuntimeOption
from mnfpn_cli.cli.options import DTypeOption, NetworkOptions, WeightsOption
from mnfpn_cli.errors import UsageError
from mnfpn_cli.settings.input import DType, Size, network_input, sized
from mnfpn_cli.settings.measuring import DEFAULT_RUNTIME, choose_runtimes

if TYPE_CHECKING:
    from mnfpn_cli.settings.models import NetworkSettings


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


def parse_side(option: str, text: str) -> SideOptions:
    """Read a side: ``--width-mult 0.75 --runtime fused``.

    Raises:
        UsageError: where it is no such text, naming the option.
    """
    app = typer.Typer(add_completion=False, context_settings={"help_option_names": []})
    app.command()(side)
    try:
        made: SideOptions = get_command(app)(shlex.split(text), prog_name=option, standalone_mode=False)
    except (typer.TyperException, UsageError, ValueError) as error:
        message = error.format_message() if isinstance(error, typer.TyperException) else str(error)
        raise UsageError("\n".join(f"{option}: {line}" for line in message.splitlines())) from None
    return made
