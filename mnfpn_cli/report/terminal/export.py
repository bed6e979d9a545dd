"""`mnfpn export` as tables, and how a checkpoint fits a network."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnfpn_cli.report.terminal.tables import Report, note, table
from mnfpn_cli.report.units import count, inputs_title, share, size_in_bytes, tiny
from mnfpn_cli.text import counted, either, few

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mnfpn_cli.documents.export import ExportDocument, FileCheck
    from mnfpn_cli.documents.quality import QualityRecord
    from mnfpn_cli.documents.records import InputRecord, WeightsRecord
    from mnfpn_cli.export.formats import Format
    from mnfpn_cli.report.terminal.tables import Line, Table

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
    "onnx": "onnx's checker finds no fault, and ONNX Runtime's outputs are the network's",
    "torch-export": "loaded back, the program's outputs are the network's",
    "safetensors": "loaded back into another network, its outputs are the same to the last bit",
    "openvino": "read back, OpenVINO's outputs are the network's",
    "executorch": "read back, ExecuTorch's outputs are the network's",
    "coreml": "read back, Core ML's outputs are the network's",
}
"""How a file in float32 was checked."""

JUDGED = "read back and run, its outputs are finite, and nearer to the network's than zeros are"
"""How a file in another dtype was checked."""


def export_tables(document: ExportDocument) -> Report:
    """How the checkpoint fits, a table for each input that was tried, the file, and how it was checked."""
    return [
        *weights_report(document.weights),
        *(_table(check) for check in document.checks),
        *(_quality(document.quality, document.dtype) if document.quality else ()),
        *([note(f"Left in float32: {few(document.keep_float, MOST_NAMES)}.", "dim")] if document.keep_float else ()),
        note(f"Written: {' and '.join(document.files)} ({', '.join(_properties(document))})"),
        _checked(document),
    ]


def _properties(document: ExportDocument) -> Iterator[str]:
    yield document.format
    if document.dtype != "float32":
        yield document.dtype
    if document.opset is not None:
        yield f"opset {document.opset}"
    yield size_in_bytes(document.bytes)
    if document.dynamic_axes:
        yield f"{either(document.dynamic_axes, 'and')} free"


def _checked(document: ExportDocument) -> Line:
    if document.unchecked is not None:
        return note(f"Not checked: {document.unchecked}.", "yellow")
    how = CHECKED[document.format] if document.dtype == "float32" else JUDGED
    return note(f"Checked: {how}.", "green")


def _table(check: FileCheck) -> Table:
    in_float32 = all(output.allowed is not None for output in check.outputs)
    own = (">Relative", ">Allowed") if in_float32 else (">Relative",)
    made = table(f"File and network at {_sides(check.input)}", "Output", ">Shape", ">Largest difference", *own)
    for output in check.outputs:
        bound = [] if output.allowed is None else [tiny(output.allowed)]
        shape = "×".join(map(str, output.shape))
        made.add_row(output.name, shape, tiny(output.max_abs_difference), tiny(output.relative), *bound)
    return made


def _sides(input: InputRecord) -> str:
    if input.shapes:
        return inputs_title(input.shapes).partition(" ")[2]
    return "×".join(str(side) for side in (input.batch, input.channels, input.height, input.width))


def _decibels(snr_db: float | None) -> str:
    """The signal over the noise of an output: ``21.3 dB``; without noise it is equal."""
    return "equal" if snr_db is None else f"{snr_db:.1f} dB"


def _quality(quality: QualityRecord, dtype: str) -> Report:
    """What a dtype costs, output by output, and what the figures are of."""
    made = table(f"What {dtype} costs", "Output", ">Signal/noise", ">Cosine")
    for output in quality.outputs:
        made.add_row(output.name, _decibels(output.snr_db), f"{output.cosine:.4f}")
    return [made, *(note(line, "dim") for line in _notes(quality))]


def _notes(quality: QualityRecord) -> Iterator[str]:
    yield f"Judged on {counted(quality.images, 'image')} ({quality.source})."
    if quality.first_choices is not None:
        yield f"Images with the same class as in float32: {share(quality.first_choices)}."
    if quality.boxes is not None:
        yield f"Boxes that float32 finds too: {share(quality.boxes)}."
    if not quality.trained:
        yield "Random weights: the dB tell nothing about a trained network (`weights`)."
    elif not quality.real:
        yield "Random images: the dB tell nothing about real ones (`calibration`)."
