"""Two result files: which runs are compared, and what the verdict cannot know."""

import re
from pathlib import Path
from typing import Any

import pytest

from mnfpn_cli.bench.compare_files import compare_files
from mnfpn_cli.bench.comparison import growth
from mnfpn_cli.documents.bench import RunConditions
from mnfpn_cli.documents.compare import CompareDocument
from mnfpn_cli.documents.records import InputRecord
from mnfpn_cli.errors import UsageError
from mnfpn_cli.external.origin import recorded_inputs
from mnfpn_cli.plan.cost import activation_bytes, network_cost
from mnfpn_cli.plan.network import plan_network
from mnfpn_cli.settings.input import ITEM_BYTES, DType, NetworkInput, Size
from mnfpn_cli.settings.network import NetworkSettings
from tests.bench.documents import COST, FIGURES, INPUT, MACHINE, result, run_json, times, written


def compared(folder: Path, a: dict[str, Any], b: dict[str, Any]) -> CompareDocument:
    """Two documents as files, compared."""
    return compare_files((written(folder, "a.json", a), written(folder, "b.json", b)), 0.01)


def causes(made: CompareDocument, kind: str) -> list[str]:
    """What is said of one kind."""
    return [one.cause for one in made.warnings if one.kind == kind]


@pytest.mark.parametrize(
    ("factor", "verdict"), [(1.1, "a_faster"), (0.9, "b_faster"), (1.0, "same"), (1.01, "inconclusive")]
)
def test_the_verdict_comes_from_the_samples(tmp_path: Path, factor: float, verdict: str) -> None:
    """With the ratio, its interval, and the method for samples that were not taken in turn."""
    (run,) = compared(tmp_path, result(), result(run_json(times(factor)))).runs
    assert run.verdict == verdict
    assert run.ratio == pytest.approx(factor, rel=1e-6)
    assert run.method is not None
    assert "independent samples" in run.method


def test_runs_are_paired_by_their_conditions(tmp_path: Path) -> None:
    """Their order does not matter; a run that only one file has is named."""
    fused, training = run_json(times(0.5), runtime="fused"), run_json(train=True)
    made = compared(
        tmp_path, result(run_json(), fused, training), result(run_json(runtime="compiled"), fused, run_json(times(2.0)))
    )
    names = ["eager on cpu, batch 1, 33x47, float32", "fused on cpu, batch 1, 33x47, float32"]
    assert [run.name for run in made.runs] == names
    assert [run.verdict for run in made.runs] == ["a_faster", "same"]
    assert causes(made, "runs") == [
        "not in both files: eager on cpu, batch 1, 33x47, float32, training; compiled on cpu, batch 1, 33x47, float32"
    ]


def test_a_run_that_a_file_has_twice_is_refused(tmp_path: Path) -> None:
    """Nothing says which of the two times counts."""
    twice = result(run_json(), run_json(runtime="fused"), run_json(times(2.0)))
    message = "b.json: runs[2]: must not repeat runs[0], eager on cpu, batch 1, 33x47, float32"
    with pytest.raises(UsageError, match=re.escape(message) + "$"):
        compared(tmp_path, result(), twice)


def test_gpus_of_different_numbers_are_paired_only_where_there_is_one_of_each(tmp_path: Path) -> None:
    """Equal numbers are paired first; one of several others is never chosen."""
    first, second = run_json(device="cuda:0"), run_json(times(2.0), device="cuda:1")
    assert compared(tmp_path, result(first, second), result(second, first)).runs[0].verdict == "same"
    made = compared(tmp_path, result(first, run_json()), result(second, run_json(runtime="fused")))
    assert [run.name.partition(",")[0] for run in made.runs] == ["eager on cuda:0"]
    assert causes(made, "other_device") == ["device differs: cuda:0 against cuda:1"]
    with pytest.raises(UsageError, match="must have a run in common"):
        compared(tmp_path, result(first, second), result(run_json(device="cuda:2")))


def test_two_files_of_one_run_are_a_pair_whatever_the_runs_are(tmp_path: Path) -> None:
    """Every difference is a warning."""
    other = {**INPUT, "batch": 2, "height": 64, "width": 64}
    b = run_json(runtime="fused", dtype="bfloat16", input=other, threads=4, cold_cache=True, train=True)
    made = compared(tmp_path, result(), result(b, input=other))
    assert made.runs[0].name == (
        "eager on cpu, batch 1, 33x47, float32 against fused on cpu, batch 2, 64x64, bfloat16, training, cold caches"
    )
    causes_by_kind = {one.kind: one.cause for one in made.warnings}
    assert causes_by_kind == {
        "not_interleaved": causes_by_kind["not_interleaved"],
        "other_runtime": "runtime differs: eager against fused",
        "other_dtype": "dtype differs: float32 against bfloat16",
        "other_input": "input differs: 1×3×33×47 against 2×3×64×64",
        "other_threads": "threads differs: 2 against 4",
        "other_train": "train differs: False against True",
        "other_cold_cache": "cold_cache differs: False against True",
    }


def test_another_allocator_is_another_condition(tmp_path: Path) -> None:
    """It is no matter of software: the same versions are slower without kept memory."""
    made = compared(tmp_path, result(), result(environment={**MACHINE, "allocator": "keep"}))
    assert causes(made, "other_allocator") == ["allocator differs: system against keep"]
    assert [one.kind for one in made.warnings] == ["not_interleaved", "other_allocator"]


def test_files_without_a_run_in_common_are_refused(tmp_path: Path) -> None:
    """The error lists the runs of each."""
    a, b = result(run_json(), run_json(runtime="fused")), result(run_json(runtime="compiled"))
    with pytest.raises(UsageError) as caught:
        compared(tmp_path, a, b)
    assert str(caught.value).splitlines() == [
        f"{tmp_path / 'a.json'}, {tmp_path / 'b.json'}: must have a run in common, but have",
        f"{tmp_path / 'a.json'}: eager on cpu, batch 1, 33x47, float32; fused on cpu, batch 1, 33x47, float32",
        f"{tmp_path / 'b.json'}: compiled on cpu, batch 1, 33x47, float32",
    ]


def test_it_is_always_warned_that_files_were_not_timed_in_turn(tmp_path: Path) -> None:
    """For one machine it is the only warning: neither the date nor a little memory is a difference."""
    later = {**MACHINE, "date": "2027-01-01T00:00:00+00:00", "memory_bytes": 7_990_000_000}
    made = compared(tmp_path, result(), result(environment=later))
    assert [one.kind for one in made.warnings] == ["not_interleaved"]
    assert made.complete


@pytest.mark.parametrize(
    ("key", "value", "kind", "cause"),
    [
        ("cpu", "another CPU", "other_machine", "cpu differs: a CPU against another CPU"),
        ("cores", 4, "other_machine", "cores differs: 2 against 4"),
        ("gpu_name", "NVIDIA H100", "other_machine", "gpu_name differs: none against NVIDIA H100"),
        ("memory_bytes", 10**9, "other_machine", "memory_bytes differs: 8,000,000,000 against 1,000,000,000"),
        ("torch", "2.14.0", "other_software", "torch differs: 2.13.0 against 2.14.0"),
        ("driver", "550.1", "other_software", "driver differs: none against 550.1"),
    ],
)
def test_another_machine_or_other_software_is_warned_of(
    tmp_path: Path, key: str, value: object, kind: str, cause: str
) -> None:
    """The machine apart from its software."""
    made = compared(tmp_path, result(), result(environment={**MACHINE, key: value}))
    assert causes(made, kind) == [cause]


def test_settings_that_differ_are_listed(tmp_path: Path) -> None:
    """Each place with both values; the first of many."""
    a, b = result(), result(settings={"width_mult": 0.75, "pyramid": {"channels": 64}})
    assert causes(compared(tmp_path, a, b), "other_settings") == [
        "settings differ: width_mult 1.0 against 0.75; pyramid.channels 256 against 64, "
        "as expected when comparing networks"
    ]
    (cause,) = causes(compared(tmp_path, a, result(settings={"stages": [[1, 8, 1, 2]]})), "other_settings")
    assert "stages[1] 6,24,2,2 against none" in cause
    assert cause.endswith("; and 2 more, as expected when comparing networks")


def test_settings_that_describe_no_network_are_refused(tmp_path: Path) -> None:
    """Each value may be right by itself."""
    file = result(run_json(), settings={"pyramid": {"levels": "p3-p7"}})
    rule = r"settings\.pyramid\.levels: must be among the levels that the stages give \(p2, p3, p4, p5\), got p6, p7"
    with pytest.raises(UsageError, match=rf"b\.json: {rule}"):
        compared(tmp_path, result(run_json()), file)


def test_what_a_file_says_against_itself_is_passed_on(tmp_path: Path) -> None:
    """Interrupted, a run that failed half way, and a machine that was busy."""
    busy = {"kind": "load", "cause": "chrome used 1.5 cores", "helps": "close it"}
    made = compared(tmp_path, result(complete=False), result(run_json(failure="out of memory"), warnings=[busy]))
    a, b = tmp_path / "a.json", tmp_path / "b.json"
    assert not made.complete
    assert causes(made, "incomplete") == [f"{a}: the measurement was interrupted"]
    assert causes(made, "failed") == [f"{b}: eager on cpu, batch 1, 33x47, float32: out of memory"]
    assert [(one.cause, one.helps) for one in made.warnings if one.kind == "load"] == [
        (f"{b}: chrome used 1.5 cores", "close it")
    ]


def test_figures_are_those_of_the_input_that_is_compared(tmp_path: Path) -> None:
    """A file's own are those of its first size and batch."""
    large = {**INPUT, "batch": 4, "height": 64, "width": 64}
    sizes = [{"height": 33, "width": 47, "cost": COST}, {"height": 64, "width": 64, "cost": {**COST, "macs": 200_000}}]
    a = result(run_json(), run_json(input={**large, "batch": 2}), run_json(input=large), sizes=sizes)
    b = result(run_json(input=large), input=large, cost={**COST, "macs": 200_000, "activation_bytes": 2400})
    made = compared(tmp_path, a, b)
    assert recorded_inputs(made.a.input) == recorded_inputs(made.b.input) == NetworkInput(4, 3, Size(64, 64))
    assert {figure: growth(made, figure) for figure in FIGURES} == dict.fromkeys(FIGURES, 1.0)
    assert INPUT["batch"] == 1


@pytest.mark.parametrize("planned", [True, False])
def test_bytes_are_those_of_the_dtype_that_is_compared(tmp_path: Path, planned: bool) -> None:
    """A file's own are those of its first run, which may have failed; where the network is planned, counters stay."""
    settings = NetworkSettings()
    plan, input = plan_network(settings), recorded_inputs(InputRecord.model_validate(INPUT))
    assert isinstance(input, NetworkInput)

    def costs(dtype: DType) -> dict[str, Any]:
        if not planned:
            return {**COST, "model_bytes": 1000 * ITEM_BYTES[dtype], "activation_bytes": 150 * ITEM_BYTES[dtype]}
        model_bytes = network_cost(plan, input.size).state_bytes(dtype)
        return {**COST, "model_bytes": model_bytes, "activation_bytes": activation_bytes(plan, input, dtype)}

    of = {} if planned else {"settings": None, "model": {"target": "nets.py:Net", "arguments": {}}}
    int8 = run_json(dtype="int8", position=1)
    failed = {key: run_json()[key] for key in RunConditions.model_fields} | {"status": "failed", "reason": "why"}
    made = compared(
        tmp_path,
        result(int8, cost=costs("int8"), **of),
        result(int8, not_run=[failed], cost=costs("float32"), **of),
    )
    for side in (made.a, made.b):
        assert {name: getattr(side, name) for name in FIGURES} == {name: costs("int8")[name] for name in FIGURES}


def test_samples_far_apart_are_no_overflow(tmp_path: Path) -> None:
    """A file can hold anything."""
    (run,) = compared(tmp_path, result(run_json([1e-12] * 40)), result(run_json([1e9] * 40))).runs
    assert run.verdict == "a_faster"


def test_one_sample_each_is_inconclusive(tmp_path: Path) -> None:
    """It has no interval."""
    (run,) = compared(tmp_path, result(run_json([1.0])), result(run_json([9.0]))).runs
    assert run.ratio is not None
    assert (run.verdict, run.ratio_ci95) == ("inconclusive", None)


@pytest.mark.parametrize(
    ("recorded", "comparable"), [({"comparable": False}, False), ({"max_difference": 1e-6}, True), ({}, None)]
)
def test_a_file_says_whether_outputs_could_be_compared(
    tmp_path: Path, recorded: dict[str, Any], comparable: bool | None
) -> None:
    """So does the document of the comparison; a file of an earlier version has no such key."""
    document = compared(tmp_path, result(run_json(times(1.0), **recorded)), result(run_json(times(1.0))))
    assert (document.a.comparable, document.b.comparable) == (comparable, None)
