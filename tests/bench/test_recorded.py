"""Result files read back: what is wrong with one, which rows are compared, and what the verdict cannot know."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from mnfpn_cli.bench import recorded as result_files
from mnfpn_cli.bench.comparison import Comparison
from mnfpn_cli.bench.counterparts import compare_recorded
from mnfpn_cli.bench.recorded import read_result
from mnfpn_cli.errors import MnfpnError, UsageError
from mnfpn_cli.settings.input import NetworkInput, Size
from tests.bench.documents import COST, INPUT, MACHINE, result, row, times, written

WHOLE = json.dumps(result())


def compared(folder: Path, a: dict[str, Any], b: dict[str, Any]) -> Comparison:
    """Two documents as files, compared."""
    return compare_recorded((written(folder, "a.json", a), written(folder, "b.json", b)), 0.01)


def causes(made: Comparison, kind: str) -> list[str]:
    """What is said of one kind."""
    return [one.cause for one in made.warnings if one.kind == kind]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "must be JSON: it is empty"),
        (WHOLE[:-200], "must be JSON: .*the file ends too early"),
        (WHOLE[: WHOLE.index("eager") + 2], "must be JSON: unterminated string .*the file ends too early"),
        (WHOLE[: WHOLE.index("true") + 2], "must be JSON: expecting value .*the file ends too early"),
        (WHOLE + "}", r"must be JSON: extra data at line 1, column \d+$"),
        ("x" * 99, r"must be JSON: expecting value at line 1, column 1$"),
        ("[" * 100_000, "must be JSON: nested too deeply"),
        (f'{{"x": {"1" * 5000}}}', "must be JSON: Exceeds the limit"),
        ('{"command": "bench", "command": "bench"}', "must be JSON: the key 'command' is given twice"),
        ("[]", "must be a result of mnfpn bench, as --output writes it in JSON"),
        ('{"width_mult": 1.0}', "must be a result of mnfpn bench, as --output writes it in JSON"),
    ],
    ids=["empty", "cut", "cut in text", "cut in true", "longer", "text", "deep", "number", "twice", "list", "other"],
)
def test_what_is_no_result_is_refused(tmp_path: Path, content: str, message: str) -> None:
    """With the file's name, and the place if it is JSON that ends too early."""
    path = written(tmp_path, "x.json", content)
    with pytest.raises(UsageError, match=message) as caught:
        read_result(path)
    assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"command": "shapes"}, "must be a result of mnfpn bench, got one of mnfpn shapes"),
        (
            {"format_version": 2, "mnfpn_version": "9.0"},
            "must be of format_version 1, which this mnfpn reads, got 2, of mnfpn 9.0",
        ),
        ({"format_version": "1"}, "must be of format_version 1, which this mnfpn reads, got '1', of mnfpn 0.1.0"),
        ({"runs": ...}, "runs: is required"),
        ({"runs": []}, r"runs: must have at least 1 item, got \[\]"),
        ({"runs": {}}, "runs: must be a list, got {}"),
        ({"runs": [7]}, r"runs\[0\]: must be an object, got 7"),
        ({"runs": [row(runtime=...)]}, r"runs\[0\].runtime: is required"),
        ({"runs": [row(), row(threads="2")]}, r"runs\[1\].threads: must be a whole number, got '2'"),
        ({"runs": [row(device="[red]")]}, r"runs\[0\].device: string should match"),
        ({"runs": [row(latency_s={})]}, r"runs\[0\].latency_s.samples: is required"),
        ({"runs": [row([])]}, r"runs\[0\].latency_s.samples: must have at least 1 item, got \[\]"),
        ({"runs": [row([1.0, -1.0])]}, r"runs\[0\].latency_s.samples\[1\]: must be at least 1e-12, got -1.0"),
        ({"runs": [row([0.0])]}, r"runs\[0\].latency_s.samples\[0\]: must be at least 1e-12, got 0.0"),
        ({"runs": [row([float("nan")])]}, r"runs\[0\].latency_s.samples\[0\]: must be a finite number, got NaN"),
        (
            {"runs": [row([1.0, float("inf")])]},
            r"runs\[0\].latency_s.samples\[1\]: must be a finite number, got Infinity",
        ),
        ({"runs": [row([1e300])]}, r"runs\[0\].latency_s.samples\[0\]: must be at most 1e\+09, got 1e\+300"),
        ({"runs": [row(["0.1"])]}, r"runs\[0\].latency_s.samples\[0\]: must be a number, got '0.1'"),  # type: ignore[list-item]
        ({"runs": [row([True])]}, r"runs\[0\].latency_s.samples\[0\]: must be a number, got true"),
        ({"cost": {**COST, "macs": -1}}, "cost.macs: must be at least 0, got -1"),
        ({"cost": None}, "cost: must be an object, got null"),
        ({"settings": {"width_mult": 0}}, "settings.width_mult: must be greater than 0, got 0"),
        (
            {"settings": {"pyramid": {"levels": "p3-p7"}}},
            "settings.pyramid.levels: must be among the levels that the stages give .*, got p6, p7",
        ),
        ({"settings": None}, "settings: must be there where there is no model, got None"),
        ({"environment": ...}, "environment: is required"),
        ({"complete": "perhaps"}, "complete: must be true or false, got 'perhaps'"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_what_is_wrong_with_a_result_is_told(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    """Where, the rule, the value."""
    path = written(tmp_path, "x.json", result(**changes))
    with pytest.raises(UsageError, match=f"^{path}: {message}"):
        read_result(path)


def test_of_many_problems_the_first_are_told(tmp_path: Path) -> None:
    """A line each."""
    path = written(tmp_path, "x.json", result(row([-1.0] * 99)))
    with pytest.raises(UsageError) as caught:
        read_result(path)
    lines = str(caught.value).splitlines()
    assert len(lines) == 5
    assert all(line.startswith(f"{path}: runs[0].latency_s.samples[") for line in lines)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    """A folder, a name that nothing has, bytes that are no text."""
    binary = tmp_path / "x.bin"
    binary.write_bytes(b"\x80\x02\x00\xff")
    rows = {
        tmp_path: "must be a file, but it is a folder",
        tmp_path / "none.json": "must be a file, but there is none of that name",
        binary: "must be JSON, but byte 0 is no text",
    }
    for path, message in rows.items():
        with pytest.raises(UsageError) as caught:
            read_result(path)
        assert str(caught.value) == f"{path}: {message}"


def test_a_file_that_cannot_be_read_is_no_usage_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's reason is passed on."""

    def denied(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", denied)
    with pytest.raises(MnfpnError, match=r"^x\.json: could not be read: Permission denied$") as caught:
        read_result(Path("x.json"))
    assert caught.value.exit_code == 1


def test_a_file_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By what was read, not by its size: a device has none."""
    monkeypatch.setattr(result_files, "MAX_BYTES", 1000)
    path = written(tmp_path, "x.json", " " * 1001)
    with pytest.raises(UsageError, match=r"a result file must have at most 0\.001 MB$"):
        read_result(path)


@pytest.mark.skipif(not Path("/dev/fd").exists(), reason="open files have no names")
def test_a_pipe_is_read() -> None:
    """A shell's `<(…)` is one."""
    reader, writer = os.pipe()
    os.write(writer, json.dumps(result(row([1.0]))).encode())
    os.close(writer)
    try:
        assert len(read_result(Path(f"/dev/fd/{reader}")).runs) == 1
    finally:
        os.close(reader)


def test_the_first_files_of_this_version_are_read(tmp_path: Path) -> None:
    """Their rows said neither what executed them nor on what."""
    old = result(row(runtime=..., input=...), row(runtime=..., input=..., channels_last=True), complete=...)
    assert [run.name for run in read_result(written(tmp_path, "old.json", old)).runs] == [
        "eager on cpu, batch 1, 33x47, float32",
        "channels-last on cpu, batch 1, 33x47, float32",
    ]


@pytest.mark.parametrize(
    ("factor", "verdict"), [(1.1, "a_faster"), (0.9, "b_faster"), (1.0, "same"), (1.01, "inconclusive")]
)
def test_the_verdict_comes_from_the_samples(tmp_path: Path, factor: float, verdict: str) -> None:
    """With the ratio, its interval, and the method for samples that were not taken in turn."""
    (pair,) = compared(tmp_path, result(), result(row(times(factor)))).pairs
    assert pair.verdict == verdict
    assert pair.ratio is not None
    assert pair.ratio.value == pytest.approx(factor, rel=1e-6)
    assert "independent samples" in pair.ratio.method


def test_rows_are_paired_by_what_they_are(tmp_path: Path) -> None:
    """Not by their order; what only one file has is named."""
    fused, training = row(times(0.5), runtime="fused"), row(train=True)
    made = compared(tmp_path, result(row(), fused, training), result(row(runtime="compiled"), fused, row(times(2.0))))
    names = ["eager on cpu, batch 1, 33x47, float32", "fused on cpu, batch 1, 33x47, float32"]
    assert [pair.name for pair in made.pairs] == names
    assert [pair.verdict for pair in made.pairs] == ["a_faster", "same"]
    assert causes(made, "rows") == [
        "not in both files: eager on cpu, batch 1, 33x47, float32, training; compiled on cpu, batch 1, 33x47, float32"
    ]


def test_a_gpu_of_another_number_is_a_counterpart_only_where_there_is_no_doubt(tmp_path: Path) -> None:
    """The same number first; of several others, none."""
    first, second = row(device="cuda:0"), row(times(2.0), device="cuda:1")
    assert compared(tmp_path, result(first, second), result(second, first)).pairs[0].verdict == "same"
    made = compared(tmp_path, result(first, row()), result(second, row(runtime="fused")))
    assert [pair.name.partition(",")[0] for pair in made.pairs] == ["eager on cuda:0"]
    assert causes(made, "other_device") == ["device differs: cuda:0 against cuda:1"]
    with pytest.raises(UsageError, match="must have a row in common"):
        compared(tmp_path, result(first, second), result(row(device="cuda:2")))


def test_a_row_each_is_a_pair_whatever_they_are(tmp_path: Path) -> None:
    """Everything in which they differ is told."""
    other = {"batch": 2, "channels": 3, "height": 64, "width": 64}
    b = row(runtime="fused", dtype="bfloat16", input=other, threads=4, cold_cache=True, train=True)
    made = compared(tmp_path, result(), result(b, input=other))
    assert made.pairs[0].name == (
        "eager on cpu, batch 1, 33x47, float32 against fused on cpu, batch 2, 64x64, bfloat16, training, cold caches"
    )
    told = {one.kind: one.cause for one in made.warnings}
    assert told == {
        "not_interleaved": told["not_interleaved"],
        "other_runtime": "runtime differs: eager against fused",
        "other_dtype": "dtype differs: float32 against bfloat16",
        "other_input": "input differs: 1×3×33×47 against 2×3×64×64",
        "other_threads": "threads differs: 2 against 4",
        "other_train": "train differs: False against True",
        "other_cold_cache": "cold_cache differs: False against True",
    }


def test_no_row_in_common_is_refused(tmp_path: Path) -> None:
    """With what each has."""
    a, b = result(row(), row(runtime="fused")), result(row(runtime="compiled"))
    with pytest.raises(UsageError) as caught:
        compared(tmp_path, a, b)
    assert str(caught.value).splitlines() == [
        f"{tmp_path / 'a.json'}, {tmp_path / 'b.json'}: must have a row in common, but have",
        f"{tmp_path / 'a.json'}: eager on cpu, batch 1, 33x47, float32; fused on cpu, batch 1, 33x47, float32",
        f"{tmp_path / 'b.json'}: compiled on cpu, batch 1, 33x47, float32",
    ]


def test_it_is_always_said_that_they_were_not_timed_in_turn(tmp_path: Path) -> None:
    """Of a file and itself, it is all that is said: the date is no difference, nor is some memory."""
    later = {**MACHINE, "date": "2027-01-01T00:00:00+00:00", "memory_bytes": 7_990_000_000}
    made = compared(tmp_path, result(), result(environment=later))
    assert [one.kind for one in made.warnings] == ["not_interleaved"]
    assert made.complete


@pytest.mark.parametrize(
    ("key", "value", "kind", "cause"),
    [
        ("cpu", "another CPU", "other_machine", "cpu differs: a CPU against another CPU"),
        ("cores", 4, "other_machine", "cores differs: 2 against 4"),
        ("gpu", "NVIDIA H100", "other_machine", "gpu differs: none against NVIDIA H100"),
        ("memory_bytes", 10**9, "other_machine", "memory_bytes differs: 8,000,000,000 against 1,000,000,000"),
        ("torch", "2.14.0", "other_software", "torch differs: 2.13.0 against 2.14.0"),
        ("openvino", "2026.1", "other_software", "openvino differs: none against 2026.1"),
    ],
)
def test_another_machine_or_other_software_is_told(
    tmp_path: Path, key: str, value: object, kind: str, cause: str
) -> None:
    """The machine apart from its software."""
    made = compared(tmp_path, result(), result(environment={**MACHINE, key: value}))
    assert causes(made, kind) == [cause]


def test_settings_that_differ_are_listed(tmp_path: Path) -> None:
    """Each place with both values; the first of many."""
    a, b = result(), result(settings={"width_mult": 0.75, "pyramid": {"channels": 64}})
    assert causes(compared(tmp_path, a, b), "other_settings") == [
        "settings differ: width_mult 1.0 against 0.75; pyramid.channels 256 against 64"
    ]
    (cause,) = causes(compared(tmp_path, a, result(settings={"stages": [[1, 8, 1, 2]]})), "other_settings")
    assert "stages[1] 6,24,2,2 against none" in cause
    assert cause.endswith("; and 2 more")


def test_what_a_file_says_against_itself_is_passed_on(tmp_path: Path) -> None:
    """Interrupted, a row that failed half way, and a machine that was busy."""
    busy = {"kind": "load", "cause": "chrome used 1.5 cores", "helps": "close it"}
    made = compared(tmp_path, result(complete=False), result(row(failure="out of memory"), warnings=[busy]))
    a, b = tmp_path / "a.json", tmp_path / "b.json"
    assert not made.complete
    assert causes(made, "incomplete") == [f"{a}: the measurement was interrupted"]
    assert causes(made, "failed") == [f"{b}: eager on cpu, batch 1, 33x47, float32: out of memory"]
    assert [(one.cause, one.helps) for one in made.warnings if one.kind == "load"] == [
        (f"{b}: chrome used 1.5 cores", "close it")
    ]


def test_figures_are_those_of_the_input_that_is_compared(tmp_path: Path) -> None:
    """A file's own are those of its first size and batch."""
    large = {"batch": 4, "channels": 3, "height": 64, "width": 64}
    sizes = [{"height": 33, "width": 47, "cost": COST}, {"height": 64, "width": 64, "cost": {**COST, "macs": 200_000}}]
    a = result(row(), row(input={**large, "batch": 2}), row(input=large), sizes=sizes)
    b = result(row(input=large), input=large, cost={**COST, "macs": 200_000, "activation_bytes": 2400})
    made = compared(tmp_path, a, b)
    assert made.a.input == made.b.input == NetworkInput(4, 3, Size(64, 64))
    assert {figure: made.growth(figure) for figure in made.a.figures} == dict.fromkeys(COST, 1.0)
    assert INPUT["batch"] == 1


def test_samples_far_apart_are_no_overflow(tmp_path: Path) -> None:
    """A file can hold anything."""
    (pair,) = compared(tmp_path, result(row([1e-12] * 40)), result(row([1e9] * 40))).pairs
    assert pair.verdict == "a_faster"


def test_one_sample_each_is_inconclusive(tmp_path: Path) -> None:
    """It has no interval."""
    (pair,) = compared(tmp_path, result(row([1.0])), result(row([9.0]))).pairs
    assert pair.ratio is not None
    assert (pair.verdict, pair.ratio.interval) == ("inconclusive", None)
