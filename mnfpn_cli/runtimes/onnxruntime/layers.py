"""The times of layers from ONNX Runtime's own profile of a session."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mnfpn_cli.measure.layer_times import LayerCall
from mnfpn_cli.measure.operator_times import OperatorTime

KERNEL = "_kernel_time"
"""The end of the name of an event that is the execution of a node."""

MICRO = 1e-6
"""Seconds of the unit of an event's times."""


def read_profile(path: Path, sources: Mapping[str, Sequence[LayerCall]]) -> list[tuple[OperatorTime, ...]]:
    """Return the operators of each pass of a profile.

    Args:
        path: the file that a session wrote.
        sources: the modules that each node of the session's graph executes, by the names of the nodes.
    """
    events: list[dict[str, Any]] = json.loads(path.read_text())
    runs = sorted((one for one in events if one["name"] == "model_run"), key=lambda one: one["ts"])
    nodes = [one for one in events if one["cat"] == "Node" and one["name"].endswith(KERNEL)]
    return [tuple(_operators(run, nodes, sources)) for run in runs]


def _operators(
    run: Mapping[str, Any], nodes: Sequence[Mapping[str, Any]], sources: Mapping[str, Sequence[LayerCall]]
) -> Iterator[OperatorTime]:
    begin, end = run["ts"], run["ts"] + run["dur"]
    for one in nodes:
        if begin <= one["ts"] <= end:
            name = one["name"].removesuffix(KERNEL)
            kind, start, seconds = one["args"]["op_name"], (one["ts"] - begin) * MICRO, one["dur"] * MICRO
            yield OperatorTime(name, kind, start, seconds, tuple(sources.get(name, ())))
