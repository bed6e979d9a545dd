"""`mnfpn settings presets` as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnfpn_cli.report.terminal.tables import Report, pairs

if TYPE_CHECKING:
    from mnfpn_cli.documents.settings import PresetsDocument


def presets_tables(document: PresetsDocument) -> Report:
    """The presets, one line each."""
    return [pairs("", [(one.name, one.description) for one in document.presets])]
