"""`mnfpn export` as tables, and what became of a checkpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnfpn_cli.report.terminal.tables import Report, note, table
from mnfpn_cli.report.units import count, size_in_bytes, tiny

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnfpn_cli.documents.export import ExportedFile, FileCheck
    from mnfpn_cli.documents.records import WeightsRecord
    from mnfpn_cli.export.formats import Format
    from mnfpn_cli.report.terminal.tables import Table

SHOWN = 4
"""Names that a line has at most; JSON has them all."""


def weights_report(weights: WeightsRecord | None) -> Report:
    """What matched, what was ignored and what is missing; nothing where nothing was loaded."""
    if weights is None:
        return []
    matched = f"{count(weights.matched)} tensors matched, {weights.layout} layout."
    report: Report = [note(f"Weights of {weights.file}: {matched}", "" if weights.missing else "green")]
    if weights.ignored:
        report.append(note(f"Ignored, the network has no use for them: {_listed(weights.ignored)}."))
    if weights.missing:
        report.append(note(f"Missing, left as initialised: {_listed(weights.missing)}.", "yellow"))
    if weights.overridden:
        others = _listed(weights.overridden)
        report.append(
            note(f"One layer is shared here: the last of its tensors counts, and differs from {others}.", "yellow")
        )
    if weights.settings_differ:
        report.append(note(f"Made with settings that differ from these in {_few(weights.settings_differ)}.", "yellow"))
    return report


def _listed(keys: Sequence[str]) -> str:
    """Keys by the part that they belong to, with how many there are; the first few parts."""
    modules = list(dict.fromkeys(".".join(key.split(".")[:2]) for key in keys))
    return f"{_few(modules)} ({count(len(keys))} tensor{'s' if len(keys) > 1 else ''})"


def _few(words: Sequence[str]) -> str:
    return ", ".join(words[:SHOWN]) + (f" and {len(words) - SHOWN} more" if len(words) > SHOWN else "")


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
