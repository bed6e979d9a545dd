"""`mnfpn export` as tables and as JSON, and what became of a checkpoint."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from mnfpn_cli.report.documents import input_document
from mnfpn_cli.report.terminal.tables import Report, note, table
from mnfpn_cli.report.units import count, size_in_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from mnfpn_cli.export.check import Comparison
    from mnfpn_cli.export.export import Exported
    from mnfpn_cli.export.formats import Format
    from mnfpn_cli.weights.load import Loaded

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


SHOWN = 4


def weights_report(loaded: Loaded | None) -> Report:
    """What matched, what was ignored and what is missing; nothing where nothing was loaded."""
    if loaded is None:
        return []
    matched = f"{count(loaded.matched)} tensors matched, {loaded.layout} layout."
    report: Report = [note(f"Weights of {loaded.file}: {matched}", "" if loaded.missing else "green")]
    if loaded.ignored:
        report.append(note(f"Ignored, the network has no use for them: {_listed(loaded.ignored)}."))
    if loaded.missing:
        report.append(note(f"Missing, left as initialised: {_listed(loaded.missing)}.", "yellow"))
    if loaded.overridden:
        others = _listed(loaded.overridden)
        report.append(
            note(f"One layer is shared here: the last of its tensors counts, and differs from {others}.", "yellow")
        )
    if loaded.settings_differ:
        report.append(note(f"Made with settings that differ from these in {_few(loaded.settings_differ)}.", "yellow"))
    return report


def weights_document(loaded: Loaded | None) -> dict[str, Any]:
    """The same under the key ``weights``; no key where nothing was loaded."""
    return {"weights": asdict(loaded)} if loaded else {}


def _listed(keys: Sequence[str]) -> str:
    """Keys by the part that they belong to, with how many there are; the first few parts."""
    modules = list(dict.fromkeys(".".join(key.split(".")[:2]) for key in keys))
    return f"{_few(modules)} ({count(len(keys))} tensor{'s' if len(keys) > 1 else ''})"


def _few(words: Sequence[str]) -> str:
    return ", ".join(words[:SHOWN]) + (f" and {len(words) - SHOWN} more" if len(words) > SHOWN else "")
