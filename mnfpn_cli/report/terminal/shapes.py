"""`mnfpn shapes` as tables: the maps that come out of a network for each input."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnfpn_cli.documents.shapes import LevelMap, ObservedMaps, TapMap
from mnfpn_cli.report.terminal.audit import finding_lines
from mnfpn_cli.report.terminal.export import weights_report
from mnfpn_cli.report.terminal.tables import Report, note, table
from mnfpn_cli.report.units import count, inputs_title, sides, size_in_bytes
from mnfpn_cli.text import counted

if TYPE_CHECKING:
    from mnfpn_cli.documents.records import ImageInput
    from mnfpn_cli.documents.shapes import HeadMaps, OutputRecord, PlannedMaps, ShapesDocument
    from mnfpn_cli.report.terminal.tables import Table


def shapes_tables(document: ShapesDocument) -> Report:
    """A table for each input with its notes, whether the maps were verified, and how the checkpoint fits."""
    report: Report = []
    for maps in document.results:
        report += _observed(maps) if isinstance(maps, ObservedMaps) else _planned(maps, f"{document.dtype}")
    if document.verified:
        same = "has the same taps, maps and anchors, and returns the same outputs"
        if not any(_has_anchors(maps) for maps in document.results):
            same = "returns the same maps from the same taps"
        report.append(note(f"Verified: the real network {same}.", "green"))
    return [*report, *weights_report(document.weights)]


def _has_anchors(maps: PlannedMaps | ObservedMaps) -> bool:
    """Whether the maps are those of a detector from settings."""
    head = None if isinstance(maps, ObservedMaps) else maps.head
    return head is not None and any(one.anchors is not None for one in head.maps)


def _planned(maps: PlannedMaps, dtype: str) -> Report:
    """The levels and the head of a network from settings, and the levels whose size is not the input / stride."""
    title = f"Input {maps.input.batch}×{maps.input.channels}×{maps.input.height}×{maps.input.width}, {dtype}"
    report: Report = []
    if maps.levels:
        report.append(_levels_table(maps, title))
    if maps.head and _has_anchors(maps):
        report += [_anchors_table(maps.head), _head_outputs_table(maps.head)]
    elif maps.head:
        report.append(_head_table(maps.head, "Head" if maps.levels else title))
    rounded = [_exact_size(level, maps.input) for level in maps.levels if not level.exact]
    if rounded:
        report.append(note(f"≠ not input / stride ({', '.join(rounded)}): layers of stride 2 round up.", "dim"))
    return report


def _exact_size(level: LevelMap, image: ImageInput) -> str:
    """The input / stride, as ``p6 9.375×14.0625``."""
    stride = level.stride or 1
    return f"{level.name} {sides(image.height / stride, image.width / stride)}"


def _levels_table(maps: PlannedMaps, title: str) -> Table:
    made = table(title, "Level", ">Stride", "Tap", ">Tap map", ">Top-down", ">Output", ">Bytes")
    for level in maps.levels:
        coarser = level.resized_from
        made.add_row(
            level.name,
            str(level.stride or "–"),
            level.tap.path,
            _map(level.tap),
            f"{sides(coarser.height, coarser.width)} → {sides(level.height, level.width)}" if coarser else "–",
            _map(level) + ("  " if level.exact else " ≠"),
            size_in_bytes(level.bytes),
        )
    made.add_section()
    made.add_row("all", *[""] * 5, size_in_bytes(sum(level.bytes for level in maps.levels)))
    return made


def _map(one: LevelMap | TapMap) -> str:
    """Channels, height and width of a map, as ``256×150×225``."""
    return f"{one.channels}×{one.height}×{one.width}"


def _head_table(head: HeadMaps, title: str) -> Table:
    made = table(title, "From", ">Map", ">Logits", ">Bytes")
    for index, one in enumerate(head.maps):
        logits = (str(head.classes), size_in_bytes(head.bytes)) if index == 0 else ("", "")
        made.add_row(one.path, _map(one), *logits)
    return made


def _anchors_table(head: HeadMaps) -> Table:
    """The anchors of a detector on each level."""
    of_classes = f", {counted(head.classes, 'class')}" if head.classes else ""
    made = table(f"Head: {head.kind}{of_classes}", "Level", ">Map", ">Anchors a cell", ">Anchors")
    for one in head.maps:
        anchors = one.anchors or 0
        made.add_row(one.path, _map(one), str(anchors // (one.height * one.width)), count(anchors))
    made.add_section()
    made.add_row("all", "", "", count(sum(one.anchors or 0 for one in head.maps)))
    return made


def _head_outputs_table(head: HeadMaps) -> Table:
    """The outputs of a detector."""
    made = table("Outputs", "Output", ">Anchors × values", ">Bytes")
    for output in head.outputs:
        _, anchors, values = output.shape
        made.add_row(output.name, f"{count(anchors)} × {values}", size_in_bytes(output.bytes))
    made.add_section()
    made.add_row("all", "", size_in_bytes(head.bytes))
    return made


def _observed(maps: ObservedMaps) -> Report:
    """The outputs of a network that others wrote, and what is wrong with them as a pyramid."""
    report: Report = [_outputs_table(maps)]
    for finding in maps.findings:
        report += finding_lines(finding)
    return [*report, *(note(text, "dim") for text in maps.notes)]


def _outputs_table(maps: ObservedMaps) -> Table:
    batched = _is_batched(maps)
    made = table(inputs_title(maps.inputs), "Output", ">Stride", ">Shape" if batched else ">Shape with batch", ">Bytes")
    for output in maps.outputs:
        shape = "×".join(map(str, output.shape[batched:])) or "a number"
        made.add_row(output.name or "output", _stride(output), shape, size_in_bytes(output.bytes))
    made.add_section()
    made.add_row("all", "", "", size_in_bytes(sum(output.bytes for output in maps.outputs)))
    return made


def _is_batched(maps: ObservedMaps) -> bool:
    """Whether the batch comes first in every output, before more dimensions: not in a detector's list of boxes."""
    batches = {one.shape[:1] for one in maps.inputs}
    return all(len(output.shape) > 1 and {output.shape[:1]} == batches for output in maps.outputs)


def _stride(output: OutputRecord) -> str:
    return "–" if output.stride is None else f"{output.stride:g}"
