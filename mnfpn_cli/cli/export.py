"""`mnfpn export`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Option

from mnfpn_cli.cli.groups import grouped
from mnfpn_cli.cli.interrupts import ending_at_once
from mnfpn_cli.cli.options import (
    BatchOption,
    NetworkOptions,
    OutputOptions,
    SeedOption,
    SizeOption,
    WeightsOption,
    choice_option,
    json_option,
)
from mnfpn_cli.cli.paths import Writes, form_of_file
from mnfpn_cli.errors import UsageError
from mnfpn_cli.export.formats import FORMATS, Format  # noqa: TID253 - needs no torch
from mnfpn_cli.files import is_device
from mnfpn_cli.text import either

if TYPE_CHECKING:
    from mnfpn_cli.documents.export import ExportedFile
    from mnfpn_cli.documents.records import WeightsRecord
    from mnfpn_cli.external.origin import FromSettings
    from mnfpn_cli.settings.input import NetworkInput


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
    weights: WeightsOption = None,
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
    from mnfpn_cli.export.formats import check_dynamic
    from mnfpn_cli.external.origin import FromSettings
    from mnfpn_cli.plan.rules import choose_size, network_input
    from mnfpn_cli.report.terminal.export import export_tables

    _check_replaceable(output, format)
    settings, image = choose_size(network.settings(weights), size)
    input = network_input(settings, image, batch or 1)
    if dynamic:
        check_dynamic(settings, format)
    result, loaded = _exported(FromSettings(settings, weights), input, seed, format, output, dynamic=dynamic)
    from mnfpn_cli.export.export import export_document  # torch, which has been loaded by now

    document = export_document(settings, result, loaded)
    emit(export_tables(document), document, OutputOptions(json))


def _check_replaceable(output: Path, format: Format) -> None:
    """Check that the file can be replaced whole, and that its suffix is of its form.

    Raises:
        UsageError: if not.
    """
    form_of_file("--output", output, FORMATS, format)
    if is_device(output):
        raise UsageError(f"--output: must be a file, which is replaced whole, but '{output}' is a device or a pipe")


def _exported(
    origin: "FromSettings", input: "NetworkInput", seed: int, format: Format, output: Path, *, dynamic: bool
) -> "tuple[ExportedFile, WeightsRecord | None]":
    """Build a network and write it, with a progress bar; return the file, and how the checkpoint fits."""
    from mnfpn_cli.cli.stderr import progress_bar
    from mnfpn_cli.export.formats import import_packages

    with progress_bar() as progress:
        progress("loading torch", 0.0)
        with ending_at_once():
            import_packages(format)
            from mnfpn_cli.export.export import build_for_export, export_network

        built, loaded = build_for_export(origin, input, seed)
        return export_network(built, origin.settings, input, format, output, dynamic, progress), loaded
