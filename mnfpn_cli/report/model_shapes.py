"""The maps of a network that others wrote, as tables and as JSON."""

from __future__ import annotations

from dataclasses import asdict
from math import prod
from typing import TYPE_CHECKING, Any

from mnfpn_cli.report.audit import finding_lines
from mnfpn_cli.report.tables import Report, note, table
from mnfpn_cli.report.units import inputs_title, size_in_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from mnfpn_cli.inspection.maps import Maps, OutputMap


def maps_tables(results: Sequence[Maps]) -> Report:
    """A table for each input, and under it what is wrong with the levels."""
    report: Report = []
    for maps in results:
        report.append(_table(maps))
        for finding in maps.findings:
            report += finding_lines(finding)
        report += [note(text, "dim") for text in maps.notes]
    return report


def _table(maps: Maps) -> Table:
    shape = ">Shape" if maps.batched else ">Shape with batch"
    made = table(inputs_title(maps.inputs), "Output", ">Stride", shape, ">Bytes")
    for one in maps.outputs:
        sides = "×".join(map(str, one.shape[maps.batched :])) or "a number"
        made.add_row(one.name or "output", _stride(one), sides, size_in_bytes(one.bytes))
    made.add_section()
    made.add_row("all", "", "", size_in_bytes(sum(one.bytes for one in maps.outputs)))
    return made


def _stride(one: OutputMap) -> str:
    return "–" if one.stride is None else f"{float(one.stride):g}"


def maps_document(results: Sequence[Maps]) -> dict[str, Any]:
    """The same under the keys that scripts rely on; shapes with the batch, bytes for the whole of it."""
    return {
        "results": [
            {
                "inputs": [{"shape": list(one.shape), "dtype": one.dtype} for one in maps.inputs],
                "outputs": [
                    {
                        "name": one.name,
                        "stride": None if one.stride is None else float(one.stride),
                        "shape": list(one.shape),
                        "elements": prod(one.shape),
                        "bytes": one.bytes,
                    }
                    for one in maps.outputs
                ],
                "findings": [asdict(finding) for finding in maps.findings],
                "notes": list(maps.notes),
            }
            for maps in results
        ]
    }
