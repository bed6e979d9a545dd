"""`mnfpn export`."""

from pathlib import Path
from typing import Annotated

from typer import Option

from mnfpn_cli.cli.groups import grouped
from mnfpn_cli.cli.interrupts import ending_at_once
from mnfpn_cli.cli.options import (
    BatchOption,
    NetworkOptions,
    OutputOptions,
    SeedOption,
    SizeOption,
    WeightsOptions,
    choice_option,
    json_option,
)
from mnfpn_cli.cli.paths import Writes
from mnfpn_cli.export.formats import FORMATS, Format  # noqa: TID253 - needs no torch
from mnfpn_cli.text import either


@grouped
def export(
    *,
    format: Annotated[Format, choice_option("--format", FORMATS, f"Write {either(FORMATS)}.", "FORMAT")],
    output: Annotated[
        Path, Option(help="Write the network to FILE: whole and checked, or not at all.", metavar="FILE"), Writes()
    ],
    size: SizeOption = None,
    batch: BatchOption = None,
    dynamic: Annotated[bool, Option("--dynamic", help="Let the file accept images of other sizes.")] = False,
    network: NetworkOptions,
    weights: WeightsOptions,
    json: Annotated[bool, json_option()] = False,
    seed: SeedOption = 0,
) -> None:
    """Write a network to a file, and check the file against the network.

    Examples:
        mnfpn export --format onnx --output net.onnx
        mnfpn export --format onnx --output net.onnx --size 320 --dynamic
        mnfpn export --format safetensors --output net.safetensors
    """
    from mnfpn_cli.cli.output import emit
    from mnfpn_cli.cli.stderr import progress_bar
    from mnfpn_cli.export.formats import check_dynamic, check_replaceable, import_packages
    from mnfpn_cli.external.origin import FromSettings
    from mnfpn_cli.plan.rules import choose_size, network_input
    from mnfpn_cli.report.terminal.export import export_tables

    check_replaceable("--output", output, format)
    checkpoint = weights.file()
    settings, image = choose_size(network.settings(checkpoint), size)
    input = network_input(settings, image, batch or 1)
    if dynamic:
        check_dynamic(settings, format)
    with progress_bar() as progress:
        progress("loading torch", 0.0)
        with ending_at_once():
            import_packages(format)
            from mnfpn_cli.export.export import write_network

        document = write_network(FromSettings(settings, checkpoint), input, seed, format, output, dynamic, progress)
    emit(export_tables(document), document, OutputOptions(json))
