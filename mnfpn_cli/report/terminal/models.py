"""What predictions rest on: a line for each model, and for the runs that were considered by predicted times."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnfpn_cli.report.terminal.tables import Line, Report, note
from mnfpn_cli.report.units import share
from mnfpn_cli.settings.measuring import DEFAULT_ALLOCATOR
from mnfpn_cli.text import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnfpn_cli.documents.records import LatencyModelRecord


def model_lines(models: Sequence[LatencyModelRecord]) -> Report:
    """A line for each model: what it was fitted on, and its errors on runs that it was not fitted on."""
    return [
        note(
            f"{_kind(one)} was learned from {counted(one.learned_from, 'measured run')}; each of them predicted from "
            f"the others: median error {share(one.median_error)}, {share(one.within_10)} of them within 10 %.",
            "dim",
        )
        for one in models
    ]


def _kind(model: LatencyModelRecord) -> str:
    batch = f", batch {model.batch}" if model.batch > 1 else ""
    threads = f", {counted(model.threads, 'thread')}" if model.threads else ""
    dtype = f", {model.dtype}" if model.dtype != "float32" else ""
    allocator = f", allocator {model.allocator}" if model.allocator != DEFAULT_ALLOCATOR else ""
    return f"{model.runtime} on {model.device}{dtype}{batch}{threads}{', training' * model.train}{allocator}"


def predicted_note(number: int, checked: int) -> Line:
    """Say how many runs were considered by their predicted times, and how many of them were measured."""
    promising = "promising run" if checked == 1 else "promising runs"
    then = f"; {checked:,} {promising} {'was' if checked == 1 else 'were'} measured" if checked else ""
    more = "run was" if number == 1 else "runs were"
    return note(f"{number:,} more {more} considered by predicted times{then}.")
