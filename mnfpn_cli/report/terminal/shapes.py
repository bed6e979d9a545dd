"""`mnfpn shapes` as tables: of networks from settings, and of others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mnfpn_cli.report.terminal.audit import finding_lines
from mnfpn_cli.report.terminal.tables import Report, Table, note, table
from mnfpn_cli.report.units import inputs_title, shape, sides, size_in_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnfpn_cli.audit.pyramid import Maps, OutputMap
    from mnfpn_cli.plan.shapes import HeadShape, NetworkShapes
    from mnfpn_cli.report.terminal.tables import Table
    from mnfpn_cli.settings.input import DType


def shapes_tables(results: Sequence[NetworkShapes], dtype: DType, verified: bool) -> Report:
    """A table for each input, and under it the levels whose size is not the input over the stride."""
    report: Report = []
    for shapes in results:
        if shapes.levels:
            report.append(_table(shapes, dtype))
        if shapes.head:
            report.append(_head_table(shapes, shapes.head, dtype))
        rounded = [level for level in shapes.levels if not level.is_exact]
        if rounded:
            exact = ", ".join(f"{level.name} {sides(level.exact_height, level.exact_width)}" for level in rounded)
            report.append(note(f"≠ not input / stride ({exact}): layers of stride 2 round up.", "dim"))
    if verified:
        report.append(note("Verified: the real network returns the same maps from the same taps.", "green"))
    return report


def _table(shapes: NetworkShapes, dtype: DType) -> Table:
    batch, channels, height, width = shapes.input.shape
    title = f"Input {batch}×{channels}×{height}×{width}, {dtype}"
    made = table(title, "Level", ">Stride", "Tap", ">Tap map", ">Top-down", ">Output", ">Bytes")
    for level in shapes.levels:
        made.add_row(
            level.name,
            str(level.stride or "–"),
            level.tap_path,
            shape(level.tap.channels, level.tap.size),
            f"{sides(*level.resized_from)} → {sides(*level.output.size)}" if level.resized_from else "–",
            shape(level.output.channels, level.output.size) + ("  " if level.is_exact else " ≠"),
            size_in_bytes(level.output.bytes(batch, dtype)),
        )
    total = sum(level.output.bytes(batch, dtype) for level in shapes.levels)
    made.add_section()
    made.add_row("all", *[""] * 5, size_in_bytes(total))
    return made


def _head_table(shapes: NetworkShapes, head: HeadShape, dtype: DType) -> Table:
    batch, channels, height, width = shapes.input.shape
    title = "Head" if shapes.levels else f"Input {batch}×{channels}×{height}×{width}, {dtype}"
    made = table(title, "From", ">Map", ">Logits", ">Bytes")
    for index, (path, map_shape) in enumerate(head.maps):
        logits = (str(head.classes), size_in_bytes(head.bytes(batch, dtype))) if index == 0 else ("", "")
        made.add_row(path, shape(map_shape.channels, map_shape.size), *logits)
    return made


def maps_tables(results: Sequence[Maps]) -> Report:
    """A table for each input, and under it what is wrong with the levels."""
    report: Report = []
    for maps in results:
        report.append(_model_table(maps))
        for finding in maps.findings:
            report += finding_lines(finding)
        report += [note(text, "dim") for text in maps.notes]
    return report


def _model_table(maps: Maps) -> Table:
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
