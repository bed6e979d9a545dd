"""`mnfpn settings`."""

import sys

from typer import Typer

from mnfpn_cli.cli.groups import grouped
from mnfpn_cli.cli.help import Command, Group
from mnfpn_cli.cli.options import NetworkOptions

HELP = """Show settings and presets.

Examples:
    mnfpn settings presets
    mnfpn settings show --preset fpnssd
"""
settings = Typer(name="settings", cls=Group, help=HELP, add_completion=False)


@settings.command("show", cls=Command)
@grouped
def show(network: NetworkOptions) -> None:
    """Print the settings that options give, as JSON for --config.

    Examples:
        mnfpn settings show --preset fpnssd
        mnfpn settings show --width-mult 0.75 --set pyramid.smooth=separable
    """
    from mnfpn_cli.documents.base import to_json

    sys.stdout.write(to_json(network.settings().model_dump(mode="json")))


@settings.command("presets", cls=Command)
def presets() -> None:
    """List the presets, one line each.

    Examples:
        mnfpn settings presets
    """
    from mnfpn_cli.cli.output import print_text
    from mnfpn_cli.report.terminal.tables import pairs
    from mnfpn_cli.settings.files import preset_description, preset_names

    print_text([pairs("", [(name, preset_description(name)) for name in preset_names()])])
