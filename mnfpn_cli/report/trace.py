"""The operators of profiled runs as a trace in the Trace Event Format, which Perfetto and chrome://tracing read.

The format: "Trace Event Format" by the Chromium project. Times are in microseconds.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mnfpn_cli.documents.bench import BenchDocument, OperatorTimeRecord, RunProfile

PER_S = 1e6
"""Microseconds in a second."""


def trace_text(document: BenchDocument) -> str:
    """Return a trace of one pass of each profiled run: a process for each, a complete event for each operator."""
    events = [event for number, run in enumerate(document.profiles or (), 1) for event in _events(number, run)]
    return json.dumps({"traceEvents": events, "displayTimeUnit": "ms"}, allow_nan=False, separators=(",", ":")) + "\n"


def _events(number: int, run: RunProfile) -> Iterator[dict[str, Any]]:
    place = {"pid": number, "tid": 1}
    name = f"{run.runtime} on {run.device}, {run.dtype}, batch {run.batch}"
    yield {"ph": "M", "name": "process_name", **place, "args": {"name": name}}
    yield {"ph": "M", "name": "process_sort_index", **place, "args": {"sort_index": number}}
    yield {"ph": "M", "name": "thread_name", **place, "args": {"name": "operators of a pass"}}
    for operator in run.operators:
        yield {"ph": "X", **place, **_complete(operator)}


def _complete(operator: OperatorTimeRecord) -> dict[str, Any]:
    start, end = (round(PER_S * time, 3) for time in (operator.start_s, operator.start_s + operator.seconds))
    return {
        "name": operator.paths[0] or operator.name,
        "cat": operator.part,
        "ts": start,
        "dur": round(end - start, 3),  # of what is rounded: events of one thread must not overlap
        "args": {
            "operator": operator.name,
            "kind": operator.kind,
            "part": operator.part,
            "paths": list(operator.paths),
            "macs": operator.macs,
        },
    }
