"""The rows of a benchmark as people and programs read them."""

import json
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any

import pytest

from mnfpn_cli.bench.bench_document import bench_document
from mnfpn_cli.bench.results import BenchRun
from mnfpn_cli.devices.nvml import GpuState
from mnfpn_cli.documents.base import to_json
from mnfpn_cli.documents.bench import BenchDocument, GpuRecord
from mnfpn_cli.documents.read import parse_document, read_document
from mnfpn_cli.documents.records import WarningRecord
from mnfpn_cli.external.origin import FromSettings
from mnfpn_cli.measure.statistics import Latency
from mnfpn_cli.report.terminal.bench import bench_tables, latency_report
from mnfpn_cli.report.terminal.plain import as_text
from mnfpn_cli.settings.measuring import BenchCase
from mnfpn_cli.settings.network import NetworkSettings
from tests.bench.documents import COST, result
from tests.bench.made import benchmark, key, missing, timed
from tests.documents.validated import check_document

ORIGIN = FromSettings(NetworkSettings())
FAST = [0.1 + k / 1e5 for k in range(20)]
SLOW = [0.2 + k / 1e5 for k in range(20)]


def lines(*rows: object, **more: object) -> list[str]:
    """The lines of the report of these runs, with single spaces."""
    document = bench_document(benchmark(*rows, **more), ORIGIN)  # type: ignore[arg-type]
    return [" ".join(line.split()) for line in as_text(latency_report(document)).splitlines()]


def document_of(*rows: BenchRun) -> dict[str, Any]:
    """The document of these runs, as JSON."""
    made = to_json(bench_document(benchmark(*rows), ORIGIN))
    check_document(made)
    found: dict[str, Any] = json.loads(made)
    return found


def test_runs_stand_side_by_side_with_the_speed_up_over_the_first() -> None:
    """Median, interval, speed-up, throughput, time to the first result, and the difference."""
    text = lines(timed(SLOW, difference=0.0), timed(FAST, key("fused"), difference=1.9e-6))
    assert "Latency of a pass: input 1×3×600×900, float32, cpu, 2 threads" in text
    assert "Runtime Median × eager ±95 % Images/s Added First Differs" in text
    assert "eager 200.1 ms 1.00 4.998 1.500 s 0" in text
    assert "fused 100.1 ms 2.00 0.035 % 9.991 1.500 s 1.9e-06" in text


def test_a_cell_says_where_outputs_cannot_be_compared() -> None:
    """As where they overflow; the cell is empty where no difference was taken."""
    text = lines(timed(SLOW), timed(FAST, key("fused"), difference=inf))
    assert next(line for line in text if line.startswith("fused ")).endswith("1.500 s not comparable")
    assert next(line for line in text if line.startswith("eager ")).endswith("1.500 s")


@pytest.mark.parametrize(
    ("macs", "scaled", "text"),
    [
        ((100, 900, 0), False, "The pyramid takes 90.0 % of the MACs; width_mult scales only the backbone."),
        ((300, 100, 600), False, "The head takes 60.0 % of the MACs, the pyramid 10.0 %; width_mult scales only"),
        ((600, 100, 300), False, "The backbone takes 60.0 % of the MACs, the head 30.0 %, the pyramid 10.0 %; width"),
        ((600, 400, 0), True, "% of the MACs, the pyramid 40.0 %; width_mult scales the pyramid as well."),
    ],
)
def test_a_note_names_the_part_that_takes_most(macs: tuple[int, int, int], scaled: bool, text: str) -> None:
    """With the shares of the pyramid and the head, and what the width multiplier does about it."""
    parts = [{"parameters": 1, "macs": one} if one else None for one in macs]
    cost = {**COST, "macs": sum(macs), **dict(zip(("backbone", "pyramid", "head"), parts, strict=True))}
    settings = NetworkSettings.model_validate({"pyramid": {"scaled": scaled}}).model_dump(mode="json")
    sizes = [{"height": 33, "width": 47, "cost": cost}]
    document = parse_document(
        json.dumps(result(cost=cost, sizes=sizes, settings=settings)).encode(), BenchDocument, "d"
    )
    assert text in " ".join(as_text(bench_tables(document)).split())


def test_one_runtime_alone_has_no_speed_up() -> None:
    """And no difference where none was taken."""
    header = next(line for line in lines(timed(FAST)) if line.startswith("Runtime Median"))
    assert header == "Runtime Median ±95 % Images/s Added First"


def test_runs_are_named_by_what_differs() -> None:
    """What they have in common stands in the title."""
    text = lines(timed(FAST), timed(SLOW, key(batch=8)), timed(SLOW, key(device="cuda:0"), gpu_name="H100"))
    assert "Latency of a pass: float32" in text
    assert any(line.startswith("eager, cpu, batch 8 200.1 ms") for line in text)
    assert any(line.startswith("eager, cuda:0, batch 1 ") for line in text)


def test_a_run_that_was_not_run_keeps_its_place_and_says_why() -> None:
    """In the table, where it was asked for, and with the reason under it."""
    absent = missing(key("openvino"), "not installed: pip install 'mnfpn[openvino]'")
    text = lines(timed(FAST), absent, timed(SLOW, key("fused")))
    first = text.index("openvino not run")
    assert (text[first - 1].split()[0], text[first + 1].split()[0]) == ("eager", "fused")
    assert "openvino not installed: pip install 'mnfpn[openvino]'" in text


@pytest.mark.parametrize(
    ("status", "reason", "word"),
    [
        ("unavailable", "runs on CUDA alone", "not run"),
        ("too_large", "--size, --batch: must fit the memory", "too large"),
        ("failed", "could not run eager: the driver has gone", "failed"),
        ("failed", "out of memory in eager", "out of memory"),
    ],
)
def test_a_run_without_a_measurement_has_its_reason_in_short(status: str, reason: str, word: str) -> None:
    """The batch that runs out of memory is seen at a glance."""
    text = lines(timed(FAST), missing(key(batch=8), reason, status))
    assert f"eager, batch 8 {word}" in text
    assert f"eager, batch 8 {reason}" in text


def test_a_percentile_that_one_run_supports_is_empty_in_the_others() -> None:
    """It is not zero."""
    text = lines(timed(FAST * 40), timed(FAST, key(batch=8)))
    head = next(line for line in text if line.startswith("Runtime Passes"))
    few = next(line for line in text if line.startswith("eager, batch 8 20 "))
    assert head.endswith("MAD p90 p99")
    assert few.endswith(" 50.00 µs")


def test_percentiles_have_columns_once_there_are_samples_enough() -> None:
    """With fewer samples, a note gives the reason."""
    few, some, many = ("\n".join(lines(timed(FAST * n))) for n in (1, 5, 40))
    assert " p90" not in few.split("Ended by")[0]
    assert "p90 needs 64 samples and p99 662; the fewest here are 20 (`passes` 662)." in few
    assert " p90" in some.split("Ended by")[0]
    assert "p99 needs 662 samples; the fewest here are 100 (`passes` 662)." in some
    assert " p99" in many.split("Ended by")[0]
    assert "needs" not in many


def test_a_note_says_what_ended_each_measurement() -> None:
    """Once where it is the same for all."""
    assert "Ended by: precise enough. Passes of warm-up: 6, 6." in lines(timed(FAST), timed(SLOW, key("fused")))
    both = lines(timed(FAST), timed(SLOW, key("fused"), ended="failed", failure="x"))
    assert "Ended by: precise enough (eager), a failure (fused). Passes of warm-up: 6, 6." in both


def test_warnings_name_the_cause_and_what_helps() -> None:
    """Process names can hold anything, and are not read as markup."""
    text = lines(timed(FAST), warnings=(WarningRecord(kind="load", cause="[kworker] used 1.3 cores", helps="wait"),))
    assert "warning: [kworker] used 1.3 cores. What helps: wait." in text


def test_training_and_cold_caches_are_labelled() -> None:
    """They are other measurements."""
    case = BenchCase(train=True, cold_cache=True)
    title = "Time of a training step: input 1×3×600×900, float32, cpu, 2 threads, cold caches"
    assert title in lines(timed(FAST), case=case)


def test_the_document_has_all_samples_and_only_finite_numbers() -> None:
    """Infinity and what could not be read have no place in JSON."""
    run = timed(FAST, difference=inf, enqueue=Latency((0.01,)), gpu=GpuState(power_w=300.0), energy_j=30.0)
    document = document_of(run, missing(key("fused"), "why", "failed"))
    (row,) = document["runs"]
    assert row["latency_s"]["samples"] == FAST
    assert row["latency_s"]["ci95"] == [FAST[5], FAST[14]]
    assert row["max_difference"] is None
    assert row["gpu"] == {**dict.fromkeys(GpuRecord.model_fields), "power_w": 300.0}
    assert row["energy_j_per_image"] == 30.0
    assert row["enqueue_s"]["median"] == 0.01
    assert document["failures"] == ["fused on cpu, batch 1, 600x900: why"]
    assert document["not_run"][0]["status"] == "failed"
    assert (document["complete"], document["input"]["height"]) == (True, 600)


def test_what_does_not_apply_is_null_and_not_absent() -> None:
    """On a CPU, of images, without profiles and weights."""
    document = document_of(timed(FAST, gpu=GpuState()))
    (row,) = document["runs"]
    assert (row["gpu"], row["energy_j_per_image"], row["enqueue_s"], row["input"]["shapes"]) == (None,) * 4
    assert (document["profiles"], document["weights"], document["model"], document["cost"]["head"]) == (None,) * 4


def test_a_document_is_read_back_as_it_was(tmp_path: Path) -> None:
    """By the same model, to the last digit."""
    made = bench_document(benchmark(timed(FAST), missing(key("fused"))), ORIGIN)
    (tmp_path / "x.json").write_text(to_json(made))
    assert read_document(tmp_path / "x.json", BenchDocument) == made


@pytest.mark.parametrize("complete", [True, False])
def test_an_interrupted_benchmark_says_so(complete: bool) -> None:
    """At the end, where it is seen."""
    text = as_text(bench_tables(bench_document(replace(benchmark(timed(FAST)), complete=complete), ORIGIN)))
    assert text.rstrip().endswith("Interrupted: the measurement is incomplete.") is not complete
