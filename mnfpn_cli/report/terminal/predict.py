"""`mnfpn predict` as tables: predicted times of runs, and how good the models are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnfpn_cli.report.terminal.models import model_lines
from mnfpn_cli.report.terminal.run_tables import RunNames, columns_of, dtype_of_all, runs_report
from mnfpn_cli.report.terminal.sweep import reasons_report
from mnfpn_cli.report.terminal.tables import Report, note, warning
from mnfpn_cli.report.units import count, half_width_text, scaled, seconds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnfpn_cli.documents.predict import PredictDocument, PredictedRun

MOST_ROWS = 50
"""The most rows of a table; JSON has all."""


def predict_report(document: PredictDocument) -> Report:
    """A row for each run with its predicted time, how well the models do, and what could not be predicted."""
    runs = document.runs
    left = len(runs) - MOST_ROWS
    more = [note(f"{count(left)} more: `json` has all.", "dim")] if left > 0 else []
    return [
        *_table(runs[:MOST_ROWS], document.machine),
        *more,
        *model_lines(document.models),
        *reasons_report(document.invalid),
        *map(warning, document.warnings),
    ]


def _table(runs: Sequence[PredictedRun], machine: str) -> Report:
    predictions = [one.prediction for one in runs]
    execution = {
        ">Size": [one.size for one in runs],
        "Runtime": [one.runtime for one in runs],
        **dtype_of_all([one.dtype for one in runs]),
        "Device": [one.device for one in runs],
    }
    figures = {
        ">Predicted": [seconds(one.seconds) for one in predictions],
        ">±90 %": [half_width_text(one.seconds, (one.low, one.high)) for one in predictions],
        ">Measured": [seconds(one.measured_s) if one.measured_s else "" for one in runs],
        ">MACs": [scaled(one.cost.macs) for one in runs],
        "Beyond": [one.extrapolated for one in predictions],
    }
    names = RunNames(columns_of([one.identity for one in runs]), execution)
    return runs_report(f"Predicted times on {machine}", names, figures, fold=True)
