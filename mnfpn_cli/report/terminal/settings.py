"""`mnfpn settings presets` as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnfpn_cli.report.terminal.tables import Report, pairs
from mnfpn_cli.report.units import accuracies

if TYPE_CHECKING:
    from mnfpn_cli.documents.settings import Preset, PresetsDocument


def presets_tables(document: PresetsDocument) -> Report:
    """The presets, one line each, and another where scores were published of one."""
    return [pairs("", [row for one in document.presets for row in _rows(one)])]


def _rows(preset: Preset) -> list[tuple[str, str]]:
    rows = [(preset.name, preset.description)]
    if preset.published:
        rows.append(("", f"Published: {accuracies({one.size.height: one.score for one in preset.published})}."))
    return rows
