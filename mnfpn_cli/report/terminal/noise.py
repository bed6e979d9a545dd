"""Which layer loses the precision of int8, as a table: the layers with the most noise, and what to leave in float32."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnfpn_cli.report.terminal.tables import Forms, Line, Report, note, table
from mnfpn_cli.text import counted, percent

if TYPE_CHECKING:
    from mnfpn_cli.documents.noise import LayerNoise, NoiseRecord
    from mnfpn_cli.report.terminal.tables import Table

MOST_ROWS = 8
"""The layers that have a row; of more, only their noise is added up."""

LEGEND = (
    "Noise: the layer's own, with it alone in int8, of the sum over all layers. Weights: what its weights add of that; "
    "the rest is of its map. Alone and So far: signal to noise of the outputs in dB with it in int8, and with all up "
    "to it. Float: the dB that leaving it alone in float32 gains; its map stays in int8 where another layer, an "
    "addition or a merge reads it."
)


def noise_tables(title: str, record: NoiseRecord) -> Report:
    """A row for each of the layers with the most noise, the advice, and the meaning of the columns."""
    everything = f"Everything in int8, simulated: {_decibels(record.overall_db)}"
    passes = f"{counted(record.passes, 'pass')}, calibrated on {record.calibrated_on:,}"
    forms = Forms((_table(title, record, with_map=True), _table(title, record, with_map=False)))
    return [forms, note(f"{everything} ({passes})."), *_advice(record), note(LEGEND, "dim")]


def _table(title: str, record: NoiseRecord, with_map: bool) -> Table:
    names = (">Noise", ">Weights", *((">Map",) if with_map else ()), ">Alone", ">So far", ">Float", ">MACs")
    made = table(title, "Layer", *names)
    made.columns[0].no_wrap = True
    for layer in record.layers[:MOST_ROWS]:
        made.add_row(layer.path, *_cells(layer, with_map))
    others = record.layers[MOST_ROWS:]
    if others:
        made.add_section()
        noise, macs = sum(one.noise_share for one in others), sum(one.macs_share for one in others)
        made.add_row(counted(len(others), "other"), percent(noise), *[""] * (len(names) - 2), percent(macs))
    return made


def _cells(layer: LayerNoise, with_map: bool) -> list[str]:
    gain = "" if layer.kept_gain_db is None else f"{round(layer.kept_gain_db, 1) + 0.0:+.1f}"  # never -0.0
    return [
        percent(layer.noise_share),
        "" if layer.weights_share is None else percent(layer.weights_share, ".0f"),
        *((f"{_bound(layer.low)} to {_bound(layer.high)}",) if with_map else ()),
        "" if layer.alone_db is None else f"{layer.alone_db:.1f}",
        "" if layer.cumulative_db is None else f"{layer.cumulative_db:.1f}",
        "float" if layer.left_float else gain,
        percent(layer.macs_share),
    ]


def _advice(record: NoiseRecord) -> Report:
    lines: Report = [_sentence(one.sentence) for one in record.advice]
    if record.advice:
        lines.append(note(f"{record.option} gives {_decibels(record.advised_db)}."))
    elif record.obstacle is None:
        lines.append(note("No layer is worth leaving in float32: none gains 1 dB for at most 5 % of the MACs."))
    return [*lines, *([_sentence(record.obstacle)] if record.obstacle else [])]


def _sentence(text: str) -> Line:
    """Make a line of a sentence, which may begin with a path: that has no capital letter."""
    return note(f"{text[0].upper() if text.startswith('leave ') else text[0]}{text[1:]}.")


def _bound(value: float) -> str:
    return f"{value:.2g}" if abs(value) < 10 else f"{value:.0f}"


def _decibels(value: float | None) -> str:
    return "no noise" if value is None else f"{value:.1f} dB"
