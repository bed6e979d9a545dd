"""`mnfpn settings`."""

from dataclasses import dataclass
from typing import ClassVar

from typer import Typer

from mnfpn_cli.cli.groups import grouped
from mnfpn_cli.cli.help import Command, CommandGroup
from mnfpn_cli.cli.options import NetworkOptions, OutputOptions

HELP = """Show settings and presets.

Examples:
    mnfpn settings presets
    mnfpn settings show --preset fpnssd
"""
settings = Typer(name="settings", cls=CommandGroup, help=HELP, add_completion=False)


@dataclass(frozen=True)
class SettingsOutputOptions(OutputOptions):
    """The output of `mnfpn settings show`: always JSON."""

    forms: ClassVar[tuple[str, ...]] = ("json",)

    @property
    def form(self) -> str:
        """The form that is printed."""
        return "json"


@settings.command("show", cls=Command)
@grouped
def show(network: NetworkOptions, output: SettingsOutputOptions) -> None:
    """Print the settings that the options give, as JSON for --config.

    The result is JSON with or without --json.

    Examples:
        mnfpn settings show --preset fpnssd
        mnfpn settings show --width-mult 0.75 --set pyramid.smooth=separable
    """
    from mnfpn_cli.cli.output import emit

    emit([], network.settings(), output)


@settings.command("presets", cls=Command)
@grouped
def presets(output: OutputOptions) -> None:
    """List the presets, one line each.

    Examples:
        mnfpn settings presets
        mnfpn settings presets --json
    """
    from mnfpn_cli.accuracy.presets import presets_document
    from mnfpn_cli.cli.output import emit
    from mnfpn_cli.report.terminal.settings import presets_tables

    document = presets_document()
    emit(presets_tables(document), document, output)
