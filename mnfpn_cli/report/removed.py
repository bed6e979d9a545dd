"""What `mnfpn runs prune` and `mnfpn runs merge` did, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnfpn_cli.report.tables import Report, note
from mnfpn_cli.report.units import counted

if TYPE_CHECKING:
    from mnfpn_cli.store.change import Removed


def removed_report(removed: Removed, dry_run: bool) -> Report:
    """What was removed, or would be, and what stays."""
    verb = "Would remove" if dry_run else "Removed"
    report: Report = [note(f"{verb}: {counted(removed.cells, 'cell')}, {counted(removed.results, 'result')}.")]
    if removed.restored:
        report.append(
            note(f"{counted(removed.restored, 'cell')} that were to be measured again stay as they were measured.")
        )
    if removed.busy:
        report.append(note(f"{counted(removed.busy, 'cell')} being measured right now stay."))
    return report


def merged_report(results: int, source: str, target: str) -> Report:
    """What was copied from where to where."""
    return [note(f"Merged: {counted(results, 'new result')} from {source} into {target}.")]
