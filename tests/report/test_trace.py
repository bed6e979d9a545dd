"""The trace of operators: what Perfetto and chrome://tracing read."""

import json

from mnfpn_cli.bench.profile import profile_record
from mnfpn_cli.documents.bench import BenchDocument, RunProfile
from mnfpn_cli.measure.layer_times import LayerOperator, LayerTime, LayerTimes
from mnfpn_cli.plan.roofline import LayerWork
from mnfpn_cli.report.trace import trace_text
from tests.bench.documents import result

WORKS = (
    LayerWork("stem", "stem", "conv", 1_000, 4_000),
    LayerWork("stages.0.0", "stages.0", "conv", 5_000, 4_000),
)


def traced() -> BenchDocument:
    """A result with two operators of a run: one changes the layout, the other joins two layers."""
    rows = (LayerTime("stages.0.0", "stages.0", 0.003, joined=(WORKS[0].id,)),)
    operators = (
        LayerOperator("reorder", "Reorder", 0.0001, 0.0005, (WORKS[1].id,)),
        LayerOperator("conv_1", "Conv", 0.0006, 0.0025, (WORKS[1].id, WORKS[0].id)),
    )
    record = profile_record(WORKS, 0.003, LayerTimes(rows, 0.003, 0.003, operators))
    document = BenchDocument.model_validate(result())
    run = document.runs[0]
    conditions = {name: getattr(run, name) for name in ("runtime", "device", "dtype", "batch", "input", "train")}
    profile = RunProfile(**conditions, cold_cache=run.cold_cache, **dict(record))
    return document.model_copy(update={"profiles": (profile, profile)})


def test_each_run_is_a_process_and_each_operator_a_complete_event() -> None:
    """In microseconds, with the paths and the MACs; a layer's MACs are those of the operator that computes it."""
    events = json.loads(trace_text(traced()))["traceEvents"]
    assert {event["pid"] for event in events} == {1, 2}
    names = [event for event in events if event["name"] == "process_name"]
    assert [event["ph"] for event in names] == ["M", "M"]
    assert " on " in names[0]["args"]["name"]
    reorder, conv = (event for event in events if event["ph"] == "X" and event["pid"] == 1)
    assert (reorder["ts"], reorder["dur"], reorder["args"]["macs"]) == (100.0, 500.0, 0)
    assert (conv["ts"], conv["dur"], conv["name"], conv["cat"]) == (600.0, 2500.0, "stages.0.0", "stages.0")
    assert conv["args"] == {
        "operator": "conv_1",
        "kind": "Conv",
        "part": "stages.0",
        "paths": ["stages.0.0", "stem"],
        "macs": 6_000,
    }


def test_a_result_without_profiles_is_an_empty_trace() -> None:
    """Which both programs open."""
    document = traced().model_copy(update={"profiles": None})
    assert json.loads(trace_text(document))["traceEvents"] == []
