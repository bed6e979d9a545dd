"""`mnfpn compare` at the prompt: what it takes, what it prints, and how it exits."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mnfpn_cli.bench import workload
from mnfpn_cli.runtimes import channels_last
from tests.bench.broken import broken
from tests.bench.documents import COST, MACHINE, result, run_json, times, written
from tests.cli.test_imports import loaded
from tests.conftest import Mnfpn, Outcome

SMALL = "--stages 2,8,1,2 --set pyramid.channels=8"
HERE = ("--size", "33x47", "--device", "cpu", "--threads", "1", "--warmup", "1", "--passes", "6")

Compare = Callable[..., Outcome]


@pytest.fixture
def of_files(mnfpn: Mnfpn, tmp_path: Path) -> Compare:
    """Compare a steady result with another, by its factor in time or as a document."""

    def call(b: float | dict[str, Any], *arguments: str, a: dict[str, Any] | None = None) -> Outcome:
        other = b if isinstance(b, dict) else result(run_json(times(b)))
        old, new = written(tmp_path, "old.json", a or result()), written(tmp_path, "new.json", other)
        return mnfpn("compare", str(old), str(new), *arguments)

    return call


def noisy() -> dict[str, Any]:
    """A result that may be anything from as fast as the steady one to half as fast."""
    return result(run_json([1.0 + k / 40 for k in range(40)]))


def test_two_files_are_compared(of_files: Compare) -> None:
    """The verdict in a sentence, and always that they were not timed in turn."""
    outcome = of_files(1.1)
    assert (outcome.code, outcome.err) == (0, "")
    assert "A is faster: B takes 1.1000 × A's time" in outcome.out
    assert "warning: the two files were not timed in turn" in outcome.out


def test_json_is_one_document(of_files: Compare) -> None:
    """With the keys that scripts rely on; of files there is no machine here that matters."""
    document = json.loads(of_files(1.1, "--json").out)
    assert (document["command"], document["format_version"], document["verdict"]) == ("compare", 2, "a_faster")
    assert document["ratio"] == pytest.approx(1.1)
    assert document["ratio_ci95"][0] < document["ratio"] < document["ratio_ci95"][1]
    assert len(document["runs"][0]["b"]["latency_s"]["samples"]) == 40
    assert document["environment"] is None


@pytest.mark.parametrize(
    ("factor", "gates", "code", "err"),
    [
        (
            1.1,
            ["--fail-if-slower", "5%"],
            3,
            "error: --fail-if-slower 5%: eager on cpu, batch 1, 33x47, float32: B takes",
        ),
        (1.1, ["--fail-if-slower", "0.05"], 3, "error: --fail-if-slower 5%: "),
        (1.1, ["--fail-if-slower", "20%"], 0, ""),
        (1.1, ["--fail-if-slower", "20%", "--strict"], 0, ""),
        (1.1, ["--fail-if-slower", "0"], 3, "error: --fail-if-slower 0%: "),
        (0.5, ["--fail-if-slower", "5%", "--strict"], 0, ""),
        (1.1, ["--fail-if-larger", "2%"], 0, ""),
        (1.1, [], 0, ""),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_gate_decides_the_exit_code(of_files: Compare, factor: float, gates: list[str], code: int, err: str) -> None:
    """3 where it is broken; the result is printed all the same."""
    outcome = of_files(factor, *gates)
    assert outcome.code == code
    assert outcome.err.startswith(err) if err else outcome.err == ""
    assert "Time of a pass" in outcome.out


def test_what_is_inconclusive_is_a_warning_and_3_only_where_that_was_asked_for(of_files: Compare) -> None:
    """The same line on standard error either way."""
    outcome = of_files(noisy(), "--fail-if-slower", "50%")
    line = "--fail-if-slower 50%: eager on cpu, batch 1, 33x47, float32: inconclusive: B takes "
    assert (outcome.code, outcome.err.startswith(f"warning: {line}")) == (0, True)
    outcome = of_files(noisy(), "--fail-if-slower", "50%", "--strict", "--json")
    assert (outcome.code, outcome.err.startswith(f"error: {line}")) == (3, True)
    assert json.loads(outcome.out)["verdict"] == "a_faster"  # by more than the margin, but by 50 %?


def test_a_larger_network_breaks_its_gate(of_files: Compare) -> None:
    """Each figure that grew has a line; a gate that is broken hides none that is open."""
    larger = noisy() | {"cost": {**COST, "parameters": 1100, "macs": 60_000}}
    outcome = of_files(larger, "--fail-if-larger", "2%", "--fail-if-slower", "50%")
    assert outcome.code == 3
    assert [line.split(":")[1:3] for line in outcome.err.splitlines()] == [
        [" --fail-if-larger 2%", " parameters"],
        [" --fail-if-larger 2%", " MACs"],
        [" --fail-if-slower 50%", " eager on cpu, batch 1, 33x47, float32"],
    ]


def test_a_document_names_the_parameter_of_a_gate_and_the_prompt_its_option(of_files: Compare) -> None:
    """One text: whoever prints it for a person spells the parameters."""
    outcome = of_files(1.1, "--fail-if-slower", "5%", "--json")
    (broken,) = json.loads(outcome.out)["gates"]["broken"]
    assert broken.startswith("`fail_if_slower` 5%: eager on cpu")
    assert outcome.err == f"error: {broken.replace('`fail_if_slower`', '--fail-if-slower')}\n"


def test_a_warning_of_a_document_names_parameters_and_its_table_options(of_files: Compare) -> None:
    """In the sentence on what helps."""
    (warning, *_) = json.loads(of_files(1.1, "--json").out)["warnings"]
    assert warning["helps"] == "mnfpn compare with `a` and `b`, which times the two in turn: A B B A"
    assert "What helps: mnfpn compare with --a and --b, which times the two in turn: A B B A." in of_files(1.1).out


def test_a_gate_between_machines_is_refused(of_files: Compare) -> None:
    """Without it they are compared, with a warning."""
    other = result(run_json(times(2.0)), environment={**MACHINE, "cpu": "another CPU"})
    outcome = of_files(other, "--fail-if-slower", "5%")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == (
        "error: --fail-if-slower: needs results measured under the same conditions, "
        "but cpu differs: a CPU against another CPU\n"
    )
    assert of_files(other, "--fail-if-larger", "5%").code == 0
    outcome = of_files(other)
    assert (outcome.code, "warning: cpu differs: a CPU against another CPU." in outcome.out) == (0, True)


def test_an_interrupted_result_is_compared_and_said_to_be_one(of_files: Compare) -> None:
    """It was not this command that was interrupted."""
    outcome = of_files(result(complete=False))
    assert outcome.code == 0
    assert "the measurement was interrupted" in outcome.out


def test_the_margin_decides_what_is_the_same(of_files: Compare) -> None:
    """1 % unless another is asked for."""
    assert json.loads(of_files(1.05, "--json").out)["verdict"] == "a_faster"
    document = json.loads(of_files(1.05, "--margin", "10%", "--json").out)
    assert (document["verdict"], document["margin"]) == ("same", 0.1)


ROWS: list[tuple[list[str], str]] = [
    ([], "compare: takes two result files, or --a and --b, or sides that differ as by --a-ref"),
    (["--width-mult", "0.5"], "compare: takes two result files, or --a and --b, or sides that differ as by --a-ref"),
    (["--processes", "2"], "compare: takes two result files, or --a and --b, or sides that differ as by --a-ref"),
    (["--processes", "0", "--a", "", "--b", ""], "--processes: must be a whole number from 1 to 64, got 0"),
    (["--runtime", "all", "--a", "", "--b", ""], "--runtime: must be one, got eager, "),
    (["--runtime", "fast", "--a", "", "--b", ""], "--runtime: must be one of eager, "),
    (
        ["--runtime", "eager", "--a", "--dtype bfloat16", "--b", "--runtime fused"],
        "--b: --runtime: must be one, got eager, fused",
    ),
    (
        ["--dtype", "float32", "--a", "--dtype bfloat16", "--b", ""],
        "--a: --dtype: must be given once, got 'float32' and 'bfloat16'",
    ),
    (["--config", "-", "--a", "", "--b", ""], "--config: must be a file where both sides read it, got '-'"),
    (["--a", "--config -", "--b", "--config -"], "--config: must be a file where both sides read it, got '-'"),
    (["--width-mult", "0", "--a-env", "A=1"], "--width-mult: must be greater than 0, got 0.0"),
    (["--model", "none.py:Net", "--a", "", "--b", ""], "--a: --model: "),
    (["--model-arg", "x=1", "--a", "", "--b", ""], "--a: --model-arg: requires --model"),
    (
        ["x.json", "y.json", "--a-ref", "main", "--b-env", "A=1", "--processes", "2", "--runtime", "fused"],
        "--runtime, --a-ref, --b-env, --processes: cannot be used with result files, which are measured already",
    ),
    (["--a-env", "A"], "--a-env: must be KEY=VALUE, as OMP_NUM_THREADS=1, got 'A'"),
    (["--b-env", "A=1", "--b-env", "A=2"], "--b-env: must give A once, got '1' and '2'"),
    (["--a-python", ""], "--a-python: must be the name of a file, got ''"),
    (["--a-python", "none"], "--a-python: must be a Python interpreter, but there is no such file, got 'none'"),
    (["--b-python", "."], "--b-python: must be a Python interpreter, but it is a folder, got '.'"),
    (["--b-ref", ""], "--b-ref: must be a commit of this repository, got ''"),
    (["--a-ref", "no-such-branch"], "--a-ref: must be a commit of this repository, got 'no-such-branch'"),
    (["--a-ref", "HEAD", "--a-ref", "main"], "--a-ref: must be given once, got 'HEAD' and 'main'"),
    (["x.json"], "compare: takes two result files, got 1"),
    (["x.json", "y.json", "z.json"], "compare: takes two result files, got 3"),
    (["x.json", "y.json"], "x.json: no such file"),
    (["", "y.json"], "compare: must be the name of a file, got ''"),
    ([".", "y.json"], ".: must be a file, but it is a folder"),
    (["x.json", "y.json", "--output", ""], "--output: must be the name of a file, got ''"),
    (["x.json", "y.json", "--seed", "1"], "--seed: cannot be used with result files, which are measured already"),
    (["--a", "", "--b", "", "--seed", "-1"], "--seed: must be a whole number from 0 to 9223372036854775807, got -1"),
    (["x.json", "y.json", "--a", ""], "compare: takes either two result files, or --a and --b"),
    (["x.json", "y.json", "--b", ""], "compare: takes either two result files, or --a and --b"),
    (
        ["x.json", "y.json", "--device", "cpu", "--batch", "2", "--max-time", "1"],
        "--batch, --device, --max-time: cannot be used with result files, which are measured already",
    ),
    (["--a", ""], "--b: must be given; a comparison takes --a and --b"),
    (["--b", ""], "--a: must be given; a comparison takes --a and --b"),
    (
        ["--a", "--stages '2,8,1,2", "--b", ""],
        '--a: must be options as in a shell, but has no closing quotation, got "--stages \'2,8,1,2"',
    ),
    (
        ["--a", "", "--b", "x\\"],
        "--b: must be options as in a shell, but has no escaped character, got 'x\\\\'",
    ),
    (["--a", "--widht-mult 1", "--b", ""], "--a: --widht-mult: no such option; did you mean '--width-mult'?"),
    (["--a", "", "--b", "--help"], "--b: --help: no such option"),
    (["--a", "", "--b", "--size 64"], "--b: --size: no such option"),
    (
        ["--a", "--stages 2,8,1,2 2,8,1,2", "--b", ""],
        "--a: unexpected argument '2,8,1,2'; put quotes around a value with spaces, as "
        "\"--stages '1,16,1,1 6,24,2,2'\"",
    ),
    (["--a", "--stages", "--b", ""], "--a: --stages: requires a value"),
    (["--a", "--width-mult wide", "--b", ""], "--a: --width-mult: must be a number, got 'wide'"),
    (["--a", "", "--b", "--width-mult 0"], "--b: --width-mult: must be greater than 0, got 0.0"),
    (["--a", "", "--b", "--preset none"], "--b: --preset: must be one of fpn-classifier, "),
    (["--a", "--config none.json", "--b", ""], "--a: none.json: no such file"),
    (["--a", "--weights none.pth", "--b", ""], "--a: none.pth: no such file"),
    (["--a", "--runtime all", "--b", ""], "--a: --runtime: must be one, got eager, "),
    (["--a", "--runtime fast", "--b", ""], "--a: --runtime: must be one of eager, "),
    (
        ["--a", "--dtype float64", "--b", ""],
        "--a: --dtype: must be one of float32, bfloat16, float16, int8, got 'float64'",
    ),
    (["--a", "", "--b", "", "--size", "6oo"], "--size: must be HxW in pixels, as 600x900 or 512, got '6oo'"),
    (["--a", "", "--b", "", "--size", "16"], "--a: --size: each side must be at least 32 pixels"),
    (["--a", "", "--b", "", "--device", "gpu"], "--device: must be auto, cpu, cuda, cuda:N or mps, got 'gpu'"),
    (["--a", "", "--b", "", "--batch", "0"], "--batch: must be a whole number from 1 to 65536, got 0"),
    (
        ["--a", "", "--b", "", "--margin", "0"],
        "--margin: must be more than 0 and less than 100%, as 1% or 0.01, got '0'",
    ),
    (["--a", "", "--b", "", "--margin", "200%"], "--margin: must be more than 0 and less than 100%"),
    (["--a", "", "--b", "", "--margin", "nan"], "--margin: must be more than 0 and less than 100%"),
    (["--a", "", "--b", "", "--passes", "0"], "--passes: must be a whole number, 1 or more, got 0"),
    (["--a", "", "--b", "", "--max-time", "-1"], "--max-time: must be a finite number of seconds, 0 or more, got -1"),
    (
        ["--a", "", "--b", "", "--fail-if-slower", "-5%"],
        "--fail-if-slower: must be 0 or more and less than 100%, as 1% or 0.01, got '-5%'",
    ),
    (["--a", "", "--b", "", "--fail-if-larger", "x"], "--fail-if-larger: must be a share, as 1% or 0.01, got 'x'"),
    (["--a", "", "--b", "", "--strict"], "--strict: requires --fail-if-slower, the only gate that can"),
    (
        ["--a", "", "--b", "", "--output", "none/x.json"],
        "--output: folder 'none' does not exist",
    ),
]


@pytest.mark.parametrize(("arguments", "message"), ROWS, ids=[" ".join(row[0])[:60] for row in ROWS])
@pytest.mark.parametrize("json", [False, True], ids=["text", "json"])
def test_a_wrong_argument_is_reported(mnfpn: Mnfpn, arguments: list[str], message: str, json: bool) -> None:
    """One line that begins with `error:`, exit code 2, nothing on standard output, and no traceback."""
    outcome = mnfpn("compare", *(["--json"] if json else []), *arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith(f"error: {message}")
    assert len(outcome.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--format", "sarif"], "--format: must be one of text, json, github, markdown, got 'sarif'"),
        (["--format", "github", "--json"], "--json: is --format json, and cannot be used with --format github"),
        (["--format", "markdown", "--output", "z.json"], "--output: must not end in .json, as markdown is written"),
        (["--format", "github", "--output", "z.csv"], "--output: must not end in .csv, as markdown is written"),
    ],
)
def test_a_wrong_format_is_reported(mnfpn: Mnfpn, arguments: list[str], message: str) -> None:
    """Before a file is read."""
    outcome = mnfpn("compare", "x.json", "y.json", *arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith(f"error: {message}")


def test_a_pipeline_gets_annotations_and_a_summary(of_files: Compare, tmp_path: Path) -> None:
    """The file of a job's summary has no suffix; options are spelled as at the prompt in both."""
    summary = tmp_path / "step_summary_0123"
    outcome = of_files(1.1, "--fail-if-slower", "5%", "--format", "github", "--output", str(summary))
    error, *others = outcome.out.splitlines()
    assert outcome.code == 3
    assert error.startswith("::error title=mnfpn compare%3A a gate is broken::--fail-if-slower 5%25: eager on cpu")
    assert [line.partition(" ")[0] for line in others] == ["::warning", "::notice"]
    assert "::A is faster: B takes 1.1000 × A's time" in others[-1]
    lines = summary.read_text(encoding="utf-8").splitlines()
    assert lines[0] == "### mnfpn compare"
    assert lines[2].startswith("**❌ --fail-if-slower 5%: eager on cpu")
    assert any("--a and --b, which times the two in turn" in line for line in lines)
    markdown = of_files(1.1, "--fail-if-slower", "5%", "--format", "markdown")
    assert markdown.out.splitlines() == lines
    of_files(1.1, "--output", str(tmp_path / "x.md"))
    assert (tmp_path / "x.md").read_text(encoding="utf-8").startswith("### mnfpn compare")


def test_options_of_both_are_those_of_each_side(mnfpn: Mnfpn) -> None:
    """Those of a side come on top; the name of a side has both."""
    outcome = mnfpn(
        "compare", "--stages", "2,8,1,2", "--set", "pyramid.channels=8", "--dtype", "bfloat16",
        "--a", "", "--b", "--set pyramid.smooth=separable", *HERE, "--json",
    )  # fmt: skip
    document = json.loads(outcome.out)
    assert (outcome.code, outcome.err) == (0, "")
    both = "--set pyramid.channels=8 --stages 2,8,1,2 --dtype bfloat16"
    assert (document["a"]["name"], document["b"]["name"]) == (both, f"{both} --set pyramid.smooth=separable")
    assert [document[side]["dtype"] for side in "ab"] == ["bfloat16", "bfloat16"]
    assert [document[side]["settings"]["pyramid"]["channels"] for side in "ab"] == [8, 8]
    assert [document[side]["settings"]["pyramid"]["smooth"] for side in "ab"] == ["conv", "separable"]


def test_a_result_that_may_not_be_read_is_exit_code_1(mnfpn: Mnfpn, monkeypatch: pytest.MonkeyPatch) -> None:
    """In our words: the name, and the system's reason."""

    def denied(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", denied)
    monkeypatch.setattr(os, "access", lambda *_: False)
    outcome = mnfpn("compare", "old.json", "new.json")
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err == "error: old.json: could not be read: Permission denied\n"


def test_the_seed_is_that_of_both_sides(mnfpn: Mnfpn, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in bench; 0 unless given."""
    seeds = list[int]()
    build = workload.PlannedWorkload.build

    def seen(self: workload.PlannedWorkload) -> object:
        seeds.append(self.seed)
        return build(self)

    monkeypatch.setattr(workload.PlannedWorkload, "build", seen)
    sides = ("--a", SMALL, "--b", SMALL)
    assert mnfpn("compare", *sides, *HERE, "--seed", "7").code == 0
    assert mnfpn("compare", *sides, *HERE).code == 0
    assert seeds == [7, 7, 0, 0]


def test_two_networks_are_timed(mnfpn: Mnfpn, tmp_path: Path) -> None:
    """Each by its own options; what is written is what is printed."""
    path = tmp_path / "x.json"
    outcome = mnfpn(
        "compare", "--a", f" {SMALL} ", "--b", f"{SMALL} --runtime channels-last --dtype bfloat16", *HERE,
        "--json", "--output", str(path),
    )  # fmt: skip
    assert (outcome.code, outcome.err) == (0, "")
    document = json.loads(outcome.out)
    assert document == json.loads(path.read_text())
    assert (document["a"]["name"], document["a"]["runtime"], document["a"]["dtype"]) == (SMALL, "eager", "float32")
    assert (document["b"]["runtime"], document["b"]["dtype"], document["b"]["threads"]) == (
        "channels-last",
        "bfloat16",
        1,
    )
    samples = [document["runs"][0][side]["latency_s"]["samples"] for side in "ab"]
    assert [len(each) for each in samples] == [6, 6]
    assert document["settings"]["pyramid"]["channels"] == 8
    assert document["environment"]["torch"]


def test_no_options_are_the_default_network(mnfpn: Mnfpn) -> None:
    """And are said to be; the machine is printed too."""
    outcome = mnfpn("compare", "--a", "", "--b", SMALL, *HERE)
    assert outcome.code == 0
    assert "(default)" in outcome.out
    assert "Measured on" in outcome.out


@pytest.mark.usefixtures("one_pass_settles")
def test_ctrl_c_in_the_middle_prints_and_writes_what_there_is(mnfpn: Mnfpn, tmp_path: Path) -> None:
    """Marked incomplete, exit code 130, and no gate is judged by it."""
    path = tmp_path / "x.json"
    gates = ("--fail-if-slower", "1%", "--strict")
    sides = ("--a", SMALL, "--b", f"{SMALL} --runtime channels-last")
    with broken(channels_last, 6, KeyboardInterrupt()):
        outcome = mnfpn("compare", *sides, *HERE, *gates, "--output", str(path))
    assert (outcome.code, outcome.err) == (130, "")
    assert outcome.out.splitlines()[-1] == "Interrupted: the measurement is incomplete."
    assert json.loads(path.read_text())["complete"] is False


@pytest.mark.usefixtures("one_pass_settles")
def test_a_side_that_fails_in_the_middle_is_exit_code_1(mnfpn: Mnfpn) -> None:
    """What was measured is printed."""
    with broken(channels_last, 6, RuntimeError("the driver has gone")):
        outcome = mnfpn("compare", "--a", SMALL, "--b", f"{SMALL} --runtime channels-last", *HERE, "--json")
    assert (outcome.code, json.loads(outcome.out)["complete"]) == (1, False)
    assert outcome.err == (
        "error: B: could not run channels-last on cpu at batch 1, 33x47, float32: the driver has gone\n"
    )


def test_a_file_that_cannot_be_written_loses_no_verdict(
    of_files: Compare, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The disk may be full: it is printed, and the exit code is 1."""

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    outcome = of_files(1.1, "--json", "--output", str(tmp_path / "out.json"))
    assert (outcome.code, json.loads(outcome.out)["verdict"]) == (1, "a_faster")
    assert "could not be written: No space left on device" in outcome.err
    assert not (tmp_path / "out.json").exists()


def test_comparing_files_imports_no_torch(tmp_path: Path) -> None:
    """It answers at once, and in a pipeline that has no torch."""
    path = str(written(tmp_path, "x.json", result()))
    assert loaded("compare", path, path, "--fail-if-slower", "5%") == "0 ['pydantic']"
