"""Looking at warnings."""

from mnfpn_cli.documents.records import WarningRecord


def kinds(found: tuple[WarningRecord, ...]) -> list[str]:
    """The kinds of warnings."""
    return [one.kind for one in found]


def only(found: tuple[WarningRecord, ...]) -> WarningRecord:
    """The one warning that there must be."""
    (one,) = found
    return one
