"""`mnfpn export` as tables, and how a checkpoint fits a network."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnfpn_cli.report.terminal.tables import Report, note, table
from mnfpn_cli.report.units import count, size_in_bytes, tiny
from mnfpn_cli.text import few

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnfpn_cli.documents.export import ExportDocument, FileCheck
    from mnfpn_cli.documents.records import WeightsRecord
    from mnfpn_cli.export.formats import Format
    from mnfpn_cli.report.terminal.tables import Table

MOST_NAMES = 4
"""The most names on a line; JSON has them all."""


def weights_report(weights: WeightsRecord | None) -> Report:
    """Which tensors of a checkpoint matched, were ignored, or are missing; nothing without a checkpoint."""
    if weights is None:
        return []
    matched = f"{count(weights.matched)} tensors matched, {weights.layout} layout."
    partly = bool(weights.missing or weights.skipped)
    report: Report = [note(f"Weights of {weights.file}: {matched}", "" if partly else "green")]
    if weights.ignored:
        report.append(note(f"Ignored, the network has no use for them: {_listed(weights.ignored)}."))
    if weights.missing:
        report.append(note(f"Missing, left as initialised: {_listed(weights.missing)}.", "yellow"))
    if weights.skipped:
        report.append(note(f"Of other shapes in the file, left as initialised: {_listed(weights.skipped)}.", "yellow"))
    if weights.overridden:
        others = _listed(weights.overridden)
        report.append(
            note(f"One layer is shared here: the last of its tensors counts, and differs from {others}.", "yellow")
        )
    if weights.settings_differ:
        differing = few(weights.settings_differ, MOST_NAMES)
        report.append(note(f"Made with settings that differ from these in {differing}.", "yellow"))
    return report


def _listed(keys: Sequence[str]) -> str:
    """The first few modules that keys belong to, and how many keys there are."""
    modules = list(dict.fromkeys(".".join(key.split(".")[:-1][:2]) for key in keys))
    return f"{few(modules, MOST_NAMES)} ({count(len(keys))} tensor{'s' if len(keys) > 1 else ''})"


CHECKED: dict[Format, str] = {
    "onnx": "Checked: onnx's checker finds no fault, and ONNX Runtime's outputs are the network's.",
    "torch-export": "Checked: loaded back, the program's outputs are the network's.",
    "safetensors": "Checked: loaded back into another network, its outputs are the same to the last bit.",
}


def export_tables(document: ExportDocument) -> Report:
    """How the checkpoint fits, a table for each input that was tried, the file, and how it was checked."""
    sides = ", height and width free" if document.dynamic else ""
    return [
        *weights_report(document.weights),
        *(_table(check) for check in document.checks),
        note(f"Written: {document.file} ({document.format}, {size_in_bytes(document.bytes)}{sides})"),
        note(CHECKED[document.format], "green"),
    ]


def _table(check: FileCheck) -> Table:
    sides = "×".join(str(side) for _, side in check.input)
    made = table(f"File and network at {sides}", "Output", ">Shape", ">Largest difference", ">Relative", ">Allowed")
    for output in check.outputs:
        shape = "×".join(map(str, output.shape))
        made.add_row(output.name, shape, *map(tiny, (output.max_abs_difference, output.relative, output.allowed)))
    return made
