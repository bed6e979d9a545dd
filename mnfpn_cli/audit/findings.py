"""Make findings: what an audit reports."""

from collections.abc import Sequence

from mnfpn_cli.documents.audit import Finding, Kind


def finding(kind: Kind, paths: Sequence[str], parameters: int, message: str, remedy: str) -> Finding:
    """Make a finding; its paths are of modules, of parameters, or of levels."""
    return Finding(kind=kind, paths=tuple(paths), parameters=parameters, message=message, remedy=remedy)
