"""Write the runs of a store for other programs: JSON, CSV, Parquet, Markdown."""

from __future__ import annotations

import json
from io import BytesIO, StringIO
from typing import TYPE_CHECKING, Any

from mnfpn_cli.errors import MnfpnError, Problem
from mnfpn_cli.report.rows import FIGURES, SAMPLES, TIMES, stored_rows
from mnfpn_cli.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mnfpn_cli.documents.runs import RunsExportDocument
    from mnfpn_cli.report.rows import FlatRow, FlatValue

FORMULAS = ("=", "+", "-", "@", "\t", "\r")
"""Starts of a text that a spreadsheet takes for a formula."""

WHOLE = ("batch", "threads", "sweep", "cost.")
NUMBERS = ("latency_s.", "drift", "corrected_s", "scores.")

NOT_IN_MARKDOWN = (
    SAMPLES,
    "command",
    "started",
    "machine",
    "drift",
    *(f"latency_s.{name}" for name in FIGURES[3:]),
)
"""Starts of the names of columns that a Markdown table leaves out."""


def runs_bytes(format_: str, document: RunsExportDocument, spell: Callable[[str], str]) -> bytes:
    """Return a file of runs in a format: ``json``, ``csv``, ``parquet`` or ``markdown``.

    ``spell`` spells the parameters that a reason names, in Markdown alone: other files are data.

    Raises:
        MnfpnError: where the format needs a package that is not installed.
    """
    if format_ == "json":
        return document.to_json().encode()
    columns, rows = stored_rows(document.runs)
    if format_ == "parquet":
        return _parquet(columns, rows)
    if format_ == "csv":
        return _csv(columns, rows).encode()
    read = [{**row, "reason": spell(str(row["reason"])) if row["reason"] else None} for row in rows]
    return _markdown(columns, read).encode()


def _csv(columns: Sequence[str], rows: Sequence[FlatRow]) -> str:
    """Return comma-separated values in base units, with a line of names; safe to open in a spreadsheet."""
    import csv  # which every other command would pay for

    buffer = StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_csv_cell(row.get(name)) for name in columns] for row in rows)
    return buffer.getvalue()


def _csv_cell(value: FlatValue) -> FlatValue:
    if isinstance(value, str):
        return "'" * value.startswith(FORMULAS) + printable(value, keep="\n")
    return json.dumps(value) if isinstance(value, tuple | bool) else value


def _markdown(columns: Sequence[str], rows: Sequence[FlatRow]) -> str:
    """Return a table as GitHub renders it, of the columns that `_in_markdown` selects."""
    names = [name for name in columns if _in_markdown(name, [row.get(name) for row in rows])]
    numbers = [name.startswith((*WHOLE, *NUMBERS)) for name in names]
    lines = [f"| {' | '.join(names)} |", f"|{'|'.join('---:' if right else '---' for right in numbers)}|"]
    lines += [f"| {' | '.join(_markdown_cell(row.get(name)) for name in names)} |" for row in rows]
    return "\n".join(lines) + "\n"


def _in_markdown(name: str, values: Sequence[FlatValue]) -> bool:
    """Return whether a column has values, and, of settings and levels, whether they differ."""
    if name == "train":
        return any(values)
    if name.startswith(NOT_IN_MARKDOWN) or all(value is None for value in values):
        return name in ("key", "status")
    return not name.startswith(("settings.", "cost.levels")) or len(set(values)) > 1


def _markdown_cell(value: FlatValue) -> str:
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, int | float):
        line = " ".join(str(value).splitlines())
        return printable(line).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")
    return f"{value:,}" if isinstance(value, int) else f"{value:.6g}"


def _parquet(columns: Sequence[str], rows: Sequence[FlatRow]) -> bytes:
    """Return a Parquet file whose columns have the types of their values."""
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        needs = "needs pyarrow, which is not installed: pip install 'mnfpn[parquet]'"
        raise MnfpnError(Problem("`format` parquet", needs)) from None

    def column(name: str) -> Any:
        from datetime import datetime

        values = [row.get(name) for row in rows]
        if name in TIMES:
            moments = [datetime.fromisoformat(str(value)) if value else None for value in values]
            return pa.array(moments, pa.timestamp("ms", tz="UTC"))
        return pa.array(*_typed(pa, name, values))

    buffer = BytesIO()
    parquet.write_table(pa.table({name: column(name) for name in columns}), buffer)
    return buffer.getvalue()


def _typed(pa: Any, name: str, values: Sequence[FlatValue]) -> tuple[Sequence[FlatValue], Any]:
    """Return the values of a Parquet column, converted to one type, and that type."""
    if name == SAMPLES:
        return values, pa.list_(pa.float64())
    if name.startswith(WHOLE):
        return values, pa.int64()
    if name.startswith(NUMBERS):
        return values, pa.float64()
    kinds = {type(value) for value in values if value is not None} if name.startswith(("settings.", "train")) else {str}
    for kind, type_ in ((bool, pa.bool_()), (int, pa.int64())):
        if kinds == {kind}:
            return values, type_
    if kinds and kinds <= {int, float}:
        return values, pa.float64()
    return [value if value is None or isinstance(value, str) else json.dumps(value) for value in values], pa.string()
