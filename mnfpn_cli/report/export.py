"""`mnfpn export` as tables and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mnfpn_cli.report.document import input_document
from mnfpn_cli.report.tables import Report, note, table
from mnfpn_cli.report.units import size_in_bytes

if TYPE_CHECKING:
    from rich.table import Table

    from mnfpn_cli.export.compare import Comparison
    from mnfpn_cli.export.export import Exported
    from mnfpn_cli.export.formats import Format

CHECKED: dict[Format, str] = {
    "onnx": "Checked: onnx's checker finds no fault, and ONNX Runtime's outputs are the network's.",
    "torch-export": "Checked: loaded back, the program's outputs are the network's.",
    "safetensors": "Checked: loaded back into another network, its outputs are the same to the last bit.",
}


def export_tables(result: Exported) -> Report:
    """A table for each input that was tried, and under them what was written and how it was checked."""
    sides = ", height and width free" if result.dynamic else ""
    return [
        *(_table(comparison) for comparison in result.checks),
        note(f"Written: {result.file} ({result.format}, {size_in_bytes(result.bytes)}{sides})"),
        note(CHECKED[result.format], "green"),
    ]


def _table(comparison: Comparison) -> Table:
    sides = "×".join(map(str, comparison.input.shape))
    made = table(f"File and network at {sides}", "Output", ">Shape", ">Largest difference", ">Relative", ">Allowed")
    for output in comparison.outputs:
        shape = "×".join(map(str, output.shape))
        made.add_row(output.name, shape, *map(_small, (output.largest, output.relative, output.allowed)))
    return made


def _small(number: float) -> str:
    return f"{number:.1e}" if number else "0"


def export_document(result: Exported) -> dict[str, Any]:
    """The result under the keys that scripts rely on; differences absolute, and relative to the largest value."""
    return {
        "format": result.format,
        "file": result.file,
        "bytes": result.bytes,
        "dynamic": result.dynamic,
        "checks": [
            {
                "input": input_document(comparison.input),
                "outputs": [
                    {
                        "name": output.name,
                        "shape": list(output.shape),
                        "max_abs_difference": output.largest,
                        "relative": output.relative,
                        "allowed": output.allowed,
                    }
                    for output in comparison.outputs
                ],
            }
            for comparison in result.checks
        ],
    }
