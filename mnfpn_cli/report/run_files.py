"""The runs of a store as files that other programs read: JSON, CSV, Parquet, Markdown."""

from __future__ import annotations

import json
from io import BytesIO, StringIO
from typing import TYPE_CHECKING, Any

from mnfpn_cli.documents.base import to_json
from mnfpn_cli.documents.records import CapacityRecord, PlannedCost
from mnfpn_cli.errors import MnfpnError, Problem
from mnfpn_cli.settings.overrides import flatten
from mnfpn_cli.text import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnfpn_cli.documents.runs import RunsExportDocument, StoredRunRecord

FORMULAS = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet takes for a formula where a text begins with it."""

WHOLE = ("batch", "threads", "sweep", "cost.")
NUMBERS = ("latency_s.", "drift", "corrected_s")
SAMPLES = "latency_s.samples"
TIMES = ("started", "finished")

FIGURES = ("median", "ci95_low", "ci95_high", "iqr", "min", "mad", "p90", "p99")
"""Of a latency, in columns of their own."""

NOT_SHOWN = (SAMPLES, "command", "started", "machine", "drift", *(f"latency_s.{name}" for name in FIGURES[3:]))
"""What a table in Markdown can do without, besides all that is the same in every row."""

Value = str | int | float | bool | tuple[float, ...] | None
Flat = dict[str, Value]
"""A row, by the names of its columns; settings and what they hold have dotted names."""


def runs_bytes(form: str, document: RunsExportDocument) -> bytes:
    """The runs of a store in a form.

    Raises:
        MnfpnError: where the form needs a package that is not installed.
    """
    if form == "json":
        return to_json(document).encode()
    columns, rows = flattened(document.runs)
    if form == "parquet":
        return _parquet(columns, rows)
    return (_csv if form == "csv" else _markdown)(columns, rows).encode()


def flattened(runs: Sequence[StoredRunRecord]) -> tuple[list[str], list[Flat]]:
    """One value a column: the names of all columns, and the rows."""
    made = [_flat(one) for one in runs]
    said = (key for row in made for key, value in row.items() if key.startswith("settings.") and value is not None)
    settings = dict.fromkeys(said)
    first = _flat_names()
    names = [*first[:2], *settings, *first[2:]]
    return names, made


def _flat_names() -> list[str]:
    latency = [f"latency_s.{name}" for name in (*FIGURES, "samples")]
    cost = [f"cost.{name}" for name in PlannedCost.model_fields if name != "capacity"]
    capacity = [f"cost.capacity.{name}" for name in CapacityRecord.model_fields]
    what = ["size", "batch", "runtime", "device", "dtype", "threads", "train", "machine", "worker"]
    return [
        *("key", "status"),
        *what,
        *latency,
        *("drift", "corrected_s"),
        *cost,
        *capacity,
        "sweep",
        *TIMES,
        *("reason", "command"),
    ]


def _flat(run: StoredRunRecord) -> Flat:
    latency, nested = run.latency_s, ("settings", "input", "latency_s", "cost")
    low, high = (latency and latency.ci95) or (None, None)
    figures = {**dict(latency or ()), "ci95_low": low, "ci95_high": high}
    return {
        **{name: value for name, value in run if name not in nested},
        **{f"settings.{key}": _scalar(value) for key, value in flatten(run.settings).items()},
        **{f"latency_s.{name}": figures.get(name) for name in (*FIGURES, "samples")},
        **{f"cost.{name}": value for name, value in run.cost if name != "capacity"},
        **{f"cost.capacity.{name}": value for name, value in run.cost.capacity},
    }


def _scalar(value: object) -> Value:
    """What is no single value, a table of stages say, as JSON."""
    return value if isinstance(value, str | int | float | None) else json.dumps(value)


def _csv(columns: Sequence[str], rows: Sequence[Flat]) -> str:
    """Comma-separated values, raw, with a line of names; safe to open in a spreadsheet."""
    import csv  # which every other command would pay for

    buffer = StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_csv_cell(row.get(name)) for name in columns] for row in rows)
    return buffer.getvalue()


def _csv_cell(value: Value) -> Value:
    if isinstance(value, str):
        return "'" * value.startswith(FORMULAS) + printable(value, keep="\n")
    return json.dumps(value) if isinstance(value, tuple | bool) else value


def _markdown(columns: Sequence[str], rows: Sequence[Flat]) -> str:
    """A table as GitHub shows it: of the columns that differ, and of those that have anything in them."""
    shown = [name for name in columns if _worth_showing(name, [row.get(name) for row in rows])]
    numbers = [name.startswith((*WHOLE, *NUMBERS)) for name in shown]
    lines = [f"| {' | '.join(shown)} |", f"|{'|'.join('---:' if right else '---' for right in numbers)}|"]
    lines += [f"| {' | '.join(_markdown_cell(row.get(name)) for name in shown)} |" for row in rows]
    return "\n".join(lines) + "\n"


def _worth_showing(name: str, values: Sequence[Value]) -> bool:
    if name == "train":
        return any(values)
    if name.startswith(NOT_SHOWN) or all(value is None for value in values):
        return name in ("key", "status")
    return not name.startswith(("settings.", "cost.capacity.")) or len(set(values)) > 1


def _markdown_cell(value: Value) -> str:
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, int | float):
        line = " ".join(str(value).splitlines())
        return printable(line).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")
    return f"{value:,}" if isinstance(value, int) else f"{value:.6g}"


def _parquet(columns: Sequence[str], rows: Sequence[Flat]) -> bytes:
    """A Parquet file whose columns have the types of their values."""
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


def _typed(pa: Any, name: str, values: Sequence[Value]) -> tuple[Sequence[Value], Any]:
    """The values of a column as it takes them, and its type."""
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
