"""Turning a detector's outputs into boxes is timed as a part of its own, in turn with the runtimes."""

import math

import pytest
import torch

from mnfpn_cli.bench import bench
from mnfpn_cli.bench.bench import benchmark
from mnfpn_cli.bench.bench_document import bench_document
from mnfpn_cli.bench.postprocess import RANDOM, random_outputs
from mnfpn_cli.bench.workload import PlannedWorkload
from mnfpn_cli.errors import MnfpnError
from mnfpn_cli.external.origin import FromSettings
from mnfpn_cli.network.network import build_network
from mnfpn_cli.plan.network import plan_network
from mnfpn_cli.report.rows import rows_of
from mnfpn_cli.settings.input import NetworkInput, Size
from mnfpn_cli.settings.measuring import BenchCase, Sampling
from mnfpn_cli.settings.network import NetworkSettings
from mnfpn_cli.text import counted
from tests.conftest import Mnfpn

SIZE = Size(64, 96)


def detector(kind: str = "retinanet") -> NetworkSettings:
    """A small detector of two levels."""
    pyramid = {"channels": 8, "levels": "p3-p4"}
    stages = [(1, 8, 1, 2), (1, 8, 1, 2), (1, 8, 1, 2)]
    head = {"kind": kind, "depth": 1} | ({"norm_groups": 4} if kind == "fcos" else {})
    return NetworkSettings.model_validate({"stages": stages, "pyramid": pyramid, "head": head})


@pytest.mark.parametrize("kind", ["retinanet", "fcos", "ssd", "ssdlite", "rpn"])
def test_random_outputs_have_the_shapes_of_the_network_s(kind: str) -> None:
    """In its order, of a batch, and the same each time; FCOS's distances are not negative, as in the network."""
    settings, input = detector(kind), NetworkInput(2, 3, SIZE)
    outputs = random_outputs(plan_network(settings), input)
    with torch.inference_mode():
        real = build_network(settings)(torch.rand(input.shape))
    assert [output.shape for output in outputs] == [output.shape for output in real]
    again = random_outputs(plan_network(settings), input)
    assert all(torch.equal(one, other) for one, other in zip(outputs, again, strict=True))
    assert (outputs[1].min() >= 0) == (kind == "fcos")


def test_postprocessing_is_timed_in_turn_with_the_runtimes() -> None:
    """As many samples; the document and the table say what the boxes are of, and their share of both together."""
    case = BenchCase(
        runtimes=("eager", "channels-last"),
        threads=1,
        postprocess=True,
        sampling=Sampling(warmup=1, passes=4, min_time_s=0.0),
    )
    origin = FromSettings(detector())
    result = benchmark([PlannedWorkload(origin, SIZE)], case, ["cpu"], lambda: "a CPU", lambda *_: None)
    document = bench_document(result, origin)
    (record,) = document.postprocess or ()
    assert len(record.latency_s.samples) == len(document.runs[0].latency_s.samples) == 4
    assert (record.measured_on, record.batch, record.device) == (RANDOM, 1, "cpu")
    assert 0 < record.boxes <= 300
    text = str(document)
    for run in document.runs:
        both = run.latency_s.median + record.latency_s.median
        row = next(line for line in text.split("From outputs to boxes")[1].splitlines() if line.startswith(run.runtime))
        assert math.isclose(float(row.split()[-4]), 100 * record.latency_s.median / both, abs_tol=0.6)
    assert f"Postprocessing: of random logits, {counted(record.boxes, 'box')}. Its time depends" in text
    columns, rows = rows_of(document)
    assert {row["postprocess.boxes"] for row in rows} == {record.boxes}
    assert {row["postprocess.latency_s.median"] for row in rows} == {record.latency_s.median}
    assert columns.index("postprocess.boxes") > columns.index("latency_s.median")


@pytest.mark.parametrize("isolate", [False, True])
def test_boxes_have_the_memory_that_runs_have(monkeypatch: pytest.MonkeyPatch, isolate: bool) -> None:
    """They are made in this process, also where runs have processes of their own."""
    used = list[str]()

    def use(allocator: str) -> None:
        used.append(allocator)
        raise MnfpnError("enough seen")

    monkeypatch.setattr(bench, "use_allocator", use)
    case, workload = (
        BenchCase(allocator="keep", isolate=isolate, postprocess=True),
        PlannedWorkload(FromSettings(detector()), SIZE),
    )
    with pytest.raises(MnfpnError, match="enough seen"):
        benchmark([workload], case, ["cpu"], lambda: "a CPU", lambda *_: None)
    assert used == ["keep"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--postprocess",), "--postprocess: requires a network that detects: head.kind retinanet, fcos, ssd, ssdlite"),
        (("--postprocess", "--train", "--set", "head.kind=fcos"), "--postprocess: cannot be used with --train"),
        (
            ("--postprocess", "--model", "torch.nn:Identity", "--input", "1x3"),
            "cannot be used with --model",
        ),
        (
            ("--postprocess", "--set", "head.kind=fcos", "--allocator", "jemalloc"),
            "--postprocess: cannot be used with --allocator jemalloc, which a process starts with",
        ),
    ],
)
def test_postprocess_is_refused_where_there_are_no_boxes(mnfpn: Mnfpn, words: tuple[str, ...], message: str) -> None:
    """With the option and the reason; exit code 2."""
    outcome = mnfpn("bench", "--size", "64", *words)
    assert (outcome.code, outcome.out) == (2, "")
    assert message in outcome.err
