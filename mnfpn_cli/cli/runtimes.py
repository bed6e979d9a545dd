"""`mnfpn runtimes`."""

from typing import Annotated

from mnfpn_cli.cli.groups import grouped
from mnfpn_cli.cli.interrupts import ending_at_once
from mnfpn_cli.cli.options import OutputOptions, device_option, json_option


@grouped
def runtimes(
    *,
    device: Annotated[
        list[str] | None,
        device_option("Show what runs on this device: auto, cpu, cuda, cuda:N or mps (default: all). Can be repeated."),
    ] = None,
    json: Annotated[bool, json_option()] = False,
) -> None:
    """Show which runtimes and dtypes this machine has, and what is missing.

    Examples:
        mnfpn runtimes
        mnfpn runtimes --device cpu --json
    """
    from mnfpn_cli.api.machine import runtimes as list_runtimes
    from mnfpn_cli.cli.output import emit
    from mnfpn_cli.cli.talk import progress_bar
    from mnfpn_cli.report.terminal.runtimes import runtimes_tables

    with progress_bar() as progress:
        progress("loading torch", 0.0)
        with ending_at_once():
            document = list_runtimes(device)
    emit(runtimes_tables(document), document, OutputOptions(json))
