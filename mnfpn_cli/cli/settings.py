"""`mnfpn settings`."""

import sys

from typer import Typer

from mnfpn_cli.cli.groups import grouped
from mnfpn_cli.cli.options import NetworkOptions

settings_app = Typer(help="Show settings, their JSON Schema, and the presets.", no_args_is_help=True)


@settings_app.command("show")
@grouped
def show(network: NetworkOptions) -> None:
    """Print the resolved settings as JSON that --config reads back."""
    from mnfpn_cli.report.document import to_json

    sys.stdout.write(to_json(network.settings().model_dump(mode="json")))


@settings_app.command("schema")
def schema() -> None:
    """Print the JSON Schema of a settings file, for editors."""
    from mnfpn_cli.report.document import to_json
    from mnfpn_cli.settings.schema import settings_schema

    sys.stdout.write(to_json(settings_schema()))


@settings_app.command("presets")
def presets() -> None:
    """List the presets, one line each."""
    from mnfpn_cli.cli.output import print_text
    from mnfpn_cli.report.tables import pairs
    from mnfpn_cli.settings.files import preset_description, preset_names

    print_text([pairs("", [(name, preset_description(name)) for name in preset_names()])])
