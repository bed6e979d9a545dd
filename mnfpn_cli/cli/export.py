"""`mnfpn export`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from typer import Option

from mnfpn_cli.cli.groups import grouped
from mnfpn_cli.cli.help import MORE
from mnfpn_cli.cli.interrupts import ending_at_once
from mnfpn_cli.cli.models import ModelOptions
from mnfpn_cli.cli.options import (
    BatchOption,
    DTypeOption,
    NetworkOptions,
    OutputOptions,
    SeedOption,
    SizeOption,
    WeightsOptions,
    choice_option,
    json_option,
    whole,
)
from mnfpn_cli.cli.paths import Writes
from mnfpn_cli.cli.quantization import QuantizationOptions
from mnfpn_cli.export.axes import DynamicAxis, parse_axes  # noqa: TID253 - needs no torch
from mnfpn_cli.export.formats import FORMATS, MAX_OPSET, ExportRequest, Format  # noqa: TID253 - needs no torch
from mnfpn_cli.text import either


@dataclass(frozen=True)
class FileOptions:
    """The file to write."""

    format: Annotated[Format, choice_option("--format", FORMATS, f"Write {either(FORMATS)}.", "FORMAT")]
    output: Annotated[
        Path,
        Option(help="Write the network to FILE: whole and checked, or not at all.", metavar="FILE"),
        Writes(folder=True),
    ]
    dtype: DTypeOption = "float32"
    dynamic: Annotated[
        frozenset[DynamicAxis] | None,
        Option(
            help="Leave axes open, of batch, height and width (default: height,width).",
            metavar="[AXES]",
            parser=parse_axes,
        ),
    ] = None
    opset: Annotated[
        int | None,
        Option(
            help="Write this version of ONNX's operators (default: 18).",
            metavar="N",
            parser=whole("--opset", 1, MAX_OPSET),
            rich_help_panel=MORE,
        ),
    ] = None

    def request(self) -> ExportRequest:
        """Return the file that these options ask for."""
        return ExportRequest(self.format, self.output, self.dtype, self.dynamic or frozenset(), self.opset)


@grouped
def export(
    *,
    file: FileOptions,
    size: SizeOption = None,
    batch: BatchOption = None,
    quantization: QuantizationOptions,
    network: NetworkOptions,
    weights: WeightsOptions,
    model: ModelOptions,
    json: Annotated[bool, json_option()] = False,
    seed: SeedOption = 0,
) -> None:
    """Write a network to a file, and check the file against the network.

    Examples:
        mnfpn export --format onnx --output net.onnx --dynamic
        mnfpn export --format onnx --output net.onnx --dtype int8 --calibration photos
        mnfpn export --format onnx --output net.onnx --model nets.py:Net --size 224
    """
    from mnfpn_cli.cli.output import emit
    from mnfpn_cli.cli.talk import progress_bar
    from mnfpn_cli.report.terminal.export import export_tables

    model.check_one_pass("export")
    model.check_batch(batch)
    (workload,) = model.workloads(network, [size], batch or 1, weights.file())
    request, case = file.request(), quantization.quantization()
    with progress_bar() as progress:
        progress("loading torch", 0.0)
        with ending_at_once():
            from mnfpn_cli.export.export import check_export, write_network

        check_export(workload, request, case, "--output")
        document = write_network(workload, seed, request, case, progress)
    emit(export_tables(document), document, OutputOptions(json))
