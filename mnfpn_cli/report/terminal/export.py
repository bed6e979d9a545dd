"""`mnfpn export` as tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnfpn_cli.report.terminal.tables import Report, note, table
from mnfpn_cli.report.units import size_in_bytes, tiny

if TYPE_CHECKING:
    from rich.table import Table

    from mnfpn_cli.documents.export import ExportedFile, FileCheck
    from mnfpn_cli.export.formats import Format

CHECKED: dict[Format, str] = {
    "onnx": "Checked: onnx's checker finds no fault, and ONNX Runtime's outputs are the network's.",
    "torch-export": "Checked: loaded back, the program's outputs are the network's.",
    "safetensors": "Checked: loaded back into another network, its outputs are the same to the last bit.",
}


def export_tables(result: ExportedFile) -> Report:
    """A table for each input that was tried, and under them what was written and how it was checked."""
    sides = ", height and width free" if result.dynamic else ""
    return [
        *(_table(check) for check in result.checks),
        note(f"Written: {result.file} ({result.format}, {size_in_bytes(result.bytes)}{sides})"),
        note(CHECKED[result.format], "green"),
    ]


def _table(check: FileCheck) -> Table:
    sides = "×".join(str(side) for _, side in check.input)
    made = table(f"File and network at {sides}", "Output", ">Shape", ">Largest difference", ">Relative", ">Allowed")
    for output in check.outputs:
        shape = "×".join(map(str, output.shape))
        made.add_row(output.name, shape, *map(tiny, (output.max_abs_difference, output.relative, output.allowed)))
    return made
