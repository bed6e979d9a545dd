"""Where the tables of each document are made. They lie above documents, so they are named here, and imported by use."""

from collections.abc import Mapping
from pkgutil import resolve_name
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel

TABLES: Mapping[str, str] = MappingProxyType(
    {
        "shapes": "mnfpn_cli.report.terminal.shapes:shapes_tables",
        "summary": "mnfpn_cli.report.terminal.summary:summary_tables",
        "audit": "mnfpn_cli.report.terminal.audit:audit_tables",
        "bench": "mnfpn_cli.report.terminal.bench:bench_tables",
        "compare": "mnfpn_cli.report.terminal.compare:compare_tables",
        "export": "mnfpn_cli.report.terminal.export:export_tables",
        "detect": "mnfpn_cli.report.terminal.detect:detect_tables",
        "runtimes": "mnfpn_cli.report.terminal.runtimes:runtimes_tables",
        "settings presets": "mnfpn_cli.report.terminal.settings:presets_tables",
        "sweep": "mnfpn_cli.report.terminal.sweep:sweep_tables",
        "runs list": "mnfpn_cli.report.terminal.runs:list_report",
        "runs show": "mnfpn_cli.report.terminal.runs:show_report",
        "runs score": "mnfpn_cli.report.terminal.runs:scored_report",
        "runs merge": "mnfpn_cli.report.terminal.runs:merged_report",
        "runs prune": "mnfpn_cli.report.terminal.runs:removed_report",
        "predict": "mnfpn_cli.report.terminal.predict:predict_report",
        "report": "mnfpn_cli.report.terminal.frontier:frontier_report",
        "recommend": "mnfpn_cli.report.terminal.recommend:recommend_report",
    }
)
"""The function that makes the tables of a document, by its command, as ``module:function``.

The other documents have no tables: `runs export` prints data, and those of workers are not printed.
"""

TEXT = "mnfpn_cli.report.terminal.plain:as_text"
HTML = "mnfpn_cli.report.html:as_html"
"""The functions that write tables."""

FRAME = "mnfpn_cli.report.rows:frame_of"
"""The function that makes a data frame of a document."""


def written(command: str, document: BaseModel, form: str) -> str | None:
    """Return the tables of a document in a form, ``TEXT`` or ``HTML``; None where its command has no tables."""
    if command not in TABLES:
        return None
    made: str = resolve_name(form)(resolve_name(TABLES[command])(document))
    return made


def frame(document: BaseModel) -> Any:
    """Return the rows of a document as a data frame of pandas.

    Raises:
        MnfpnError: where pandas is not installed.
    """
    return resolve_name(FRAME)(document)
