"""`mnfpn bench --model` and `mnfpn compare` of networks that others wrote."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.bench import others
from tests.bench.documents import INPUT, result, run_json, written
from tests.conftest import Mnfpn

FILE = others.__file__
PASSES = ("--device", "cpu", "--threads", "1", "--passes", "3", "--warmup", "1")
SMALL = ("--size", "16x32", *PASSES)
LEVELS = ("--model", f"{FILE}:Levels")
WORDS = ("--model", f"{FILE}:Words", "--input", "1x5:int64,1x5x1")
Bench = Callable[..., dict[str, Any]]

ROWS = [
    ([*WORDS, "--batch", "2"], "--batch: cannot be used with --input, which already gives the shape"),
    ([*WORDS, "--size", "8"], "--size: cannot be used with --input, which already gives the shape"),
    ([*LEVELS, "--by-layer"], "--by-layer: cannot be used with --model, whose network has no settings"),
    ([*LEVELS, "--roofline"], "--roofline: cannot be used with --model, whose network has no settings"),
    (
        [*LEVELS, "--preset", "resnet-fpn", "--weights", "x.pth", "--roofline"],
        "--preset, --weights, --roofline: cannot be used with --model, whose network has no settings",
    ),
    (["--model-arg", "width=3"], "--model-arg: requires --model"),
    (["--input", "1x3"], "--input: requires --model; networks from settings take --size"),
    (["--model", "none.py:Net"], "--model: there is no file 'none.py'"),
    ([*LEVELS, "--batch", "0"], "--batch: must be a whole number from 1 to 65536, got 0"),
]


@pytest.fixture
def bench(mnfpn: Mnfpn) -> Bench:
    """Measure a network, and read the result."""

    def call(*arguments: str) -> dict[str, Any]:
        outcome = mnfpn("bench", *arguments, "--json")
        assert outcome.code == 0, outcome.err
        document: dict[str, Any] = json.loads(outcome.out)
        return document

    return call


@pytest.mark.parametrize(("arguments", "message"), ROWS, ids=[" ".join(row[0])[-60:] for row in ROWS])
def test_a_wrong_argument_is_reported_before_any_code_is_run(mnfpn: Mnfpn, arguments: list[str], message: str) -> None:
    """One line, exit code 2, and nothing of the file's own."""
    outcome = mnfpn("bench", *arguments)
    assert (outcome.code, outcome.out, outcome.err) == (2, "", f"error: {message}\n")


def test_the_result_says_which_network_it_is_of(bench: Bench) -> None:
    """There are no settings; every other key is there as of networks from settings."""
    theirs = bench(*LEVELS, "--model-arg", "width=2", "--batch", "1,2", *SMALL)
    ours = bench("--stages", "2,8,1,2", "--set", "pyramid.channels=8", "--size", "33x47", *PASSES)
    assert theirs["settings"] is None
    assert theirs["model"] == {"target": f"{FILE}:Levels", "arguments": {"width": 2}}
    assert ours["model"] is None
    assert theirs.keys() == ours.keys()
    assert theirs["runs"][0].keys() == ours["runs"][0].keys()
    assert theirs["cost"].keys() == ours["cost"].keys()
    assert [theirs["cost"][part] for part in ("backbone", "pyramid", "head")] == [None] * 3
    assert theirs["input"] == {"batch": 1, "channels": 3, "height": 16, "width": 32, "shapes": None}
    assert [run["batch"] for run in theirs["runs"]] == [1, 2]


def test_tensors_are_in_the_result_by_their_shapes(bench: Bench) -> None:
    """Under the keys of images there is nothing but the batch."""
    document = bench(*WORDS, *PASSES)
    none = dict.fromkeys(("channels", "height", "width"))
    shapes = [{"shape": [1, 5], "dtype": "int64"}, {"shape": [1, 5, 1], "dtype": None}]
    assert document["input"] == document["runs"][0]["input"] == {"batch": 1, **none, "shapes": shapes}
    assert [(one["height"], one["width"]) for one in document["sizes"]] == [(None, None)]


def test_what_fvcore_cannot_count_is_null_and_said_in_words(bench: Bench, mnfpn: Mnfpn) -> None:
    """The rest of the cost is there."""
    loose = ("--model", f"{FILE}:Untraceable", *SMALL)
    cost = bench(*loose)["cost"]
    assert (cost["fvcore_total"], cost["fvcore_by_operator"]) == (None, None)
    assert cost["macs"] > 0
    assert "fvcore cannot count this network" in mnfpn("bench", *loose).out


def test_what_it_prints_is_not_in_the_result(mnfpn_process: Mnfpn, monkeypatch: pytest.MonkeyPatch) -> None:
    """At import and in every pass, by Python and below it, in buffers too: standard output is one JSON document."""
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    outcome = mnfpn_process("bench", "--model", f"{FILE}:Loud", *SMALL, "--runtime", "eager,onnxruntime", "--json")
    assert outcome.code == 0
    assert len(json.loads(outcome.out)["runs"]) == 2
    for who in ("the file", "forward", "Python's own", "C", "below"):
        assert f"hello from {who}" in outcome.err


@pytest.mark.slow
def test_all_runtimes_are_rows(bench: Bench) -> None:
    """Those that cannot run here or take no network of others say so, and are no failure."""
    document = bench(*LEVELS, *SMALL, "--runtime", "all")
    reasons = {one["runtime"]: one["reason"] for one in document["not_run"]}
    assert reasons["fused"] == "networks from settings only"
    assert {run["runtime"] for run in document["runs"]} >= {"eager", "channels-last", "onnxruntime", "openvino"}
    eager, *others = document["runs"]
    assert eager["max_difference"] is None  # the others are compared with it
    assert all(run["max_difference"] < 1e-5 for run in others)
    assert document["failures"] == []


def test_a_runtime_that_was_named_and_takes_none_of_others_is_a_failure(mnfpn: Mnfpn) -> None:
    """The other row is printed."""
    outcome = mnfpn("bench", *LEVELS, *SMALL, "--runtime", "eager,fused")
    assert outcome.code == 1
    assert outcome.err.endswith("error: fused on cpu, batch 1, 16x32: networks from settings only\n")
    assert "Latency of a pass" in outcome.out


@pytest.mark.parametrize(
    ("options", "first"),
    [
        (
            ["Fails", "--model-arg", "least=40"],
            "eager on cpu, batch 1, 16x32: running Fails failed: ValueError: no images of 32",
        ),
        (["Levels", "--model-arg", "width=-1"], "building {file}:Levels failed: RuntimeError: "),
    ],
    ids=["in a pass", "in its constructor"],
)
def test_code_that_fails_shows_its_own_frames(mnfpn: Mnfpn, options: list[str], first: str) -> None:
    """Exit code 1, nothing on standard output, and no frame of ours."""
    outcome = mnfpn("bench", "--model", f"{FILE}:{options[0]}", *options[1:], *SMALL)
    assert (outcome.code, outcome.out) == (1, "")
    assert f"error: {first.format(file=FILE)}" in outcome.err
    assert "Traceback, the network's own frames:" in outcome.err
    assert "mnfpn_cli" not in outcome.err


def test_a_network_that_is_not_finite_has_failed(mnfpn: Mnfpn, tmp_path: Path) -> None:
    """Exit code 1, and an error that names the output and the weights; the rows are written all the same."""
    path = tmp_path / "nan.py"
    path.write_text(
        "from torch import nn\n\ndef net():\n    made = nn.Conv2d(3, 3, 1)\n"
        "    nn.init.constant_(made.bias, float('nan'))\n    return made\n"
    )
    outcome = mnfpn(
        "bench", "--model", f"{path}:net", "--size", "8", *PASSES, "--runtime", "eager,channels-last", "--json"
    )
    why = "its output 0 is not finite in float32, nor are its weights bias"
    failures = [f"{runtime} on cpu, batch 1, 8x8: {why}" for runtime in ("eager", "channels-last")]
    assert outcome.code == 1
    assert outcome.err.splitlines()[-2:] == [f"error: {failures[0]}", f"error: {failures[1]}"]
    document = json.loads(outcome.out)
    assert document["failures"] == failures
    assert [len(run["latency_s"]["samples"]) for run in document["runs"]] == [3, 3]
    side = f"--model '{path}:net'"
    both = mnfpn("compare", "--a", side, "--b", side, "--size", "8", *PASSES, "--json")
    assert (both.code, json.loads(both.out)["failure"]) == (1, f"A: {why}\nB: {why}")


def test_training_steps_are_timed(bench: Bench) -> None:
    """Of outputs that are nested, some of whole numbers."""
    document = bench("--model", f"{FILE}:Detector", *SMALL, "--train")
    assert [run["train"] for run in document["runs"]] == [True]


def compared(mnfpn: Mnfpn, a: str, b: str, *more: str) -> dict[str, Any]:
    """Compare two networks, and read the result."""
    outcome = mnfpn("compare", "--a", a, "--b", b, *PASSES, "--json", *more)
    assert outcome.code == 0, outcome.err
    document: dict[str, Any] = json.loads(outcome.out)
    return document


def test_two_models_are_compared(mnfpn: Mnfpn) -> None:
    """By time and by what they cost."""
    a = f"--model '{FILE}:Levels'"
    document = compared(mnfpn, a, f"{a} --model-arg width=8 --runtime channels-last", "--size", "16x32")
    assert document["settings"] is None
    assert document["model"] == document["a"]["model"] == {"target": f"{FILE}:Levels", "arguments": {}}
    assert document["b"]["model"]["arguments"] == {"width": 8}
    assert document["b"]["macs"] > 2 * document["a"]["macs"]
    assert [len(document["runs"][0][side]["latency_s"]["samples"]) for side in "ab"] == [4, 4]


def test_a_model_is_compared_with_a_network_from_settings(mnfpn: Mnfpn) -> None:
    """Both take the size and the batch that were asked for."""
    ours = "--stages 2,8,1,2 --set pyramid.channels=8"
    document = compared(mnfpn, ours, f"--model '{FILE}:Levels'", "--size", "33x47", "--batch", "2")
    images = {"batch": 2, "channels": 3, "height": 33, "width": 47, "shapes": None}
    assert document["a"]["input"] == document["b"]["input"] == images
    assert (document["model"], document["b"]["settings"]) == (None, None)
    assert document["settings"] == document["a"]["settings"]
    assert "sizes" not in {one["kind"] for one in document["warnings"]}


def test_inputs_that_differ_are_warned_of(mnfpn: Mnfpn) -> None:
    """Nobody may have meant it."""
    words = f"--model '{FILE}:Words' --input 1x5:int64"
    document = compared(mnfpn, f"{words},1x5x1", f"{words},1x1x4")
    causes = [one["cause"] for one in document["warnings"] if one["kind"] == "sizes"]
    assert causes == ["A takes 1×5 int64, 1×5×1, B 1×5 int64, 1×1×4"]


@pytest.mark.parametrize(
    ("b", "more", "message"),
    [
        ("--model {file}:Words --input 1x5:int64", ["--batch", "2"], "--b: --batch: cannot be used with --input"),
        ("--model {file}:Words --input 1x5:int64", ["--size", "64"], "--b: --size: cannot be used with --input"),
        ("--model {file}:Levels --preset x", [], "--b: --preset: cannot be used with --model"),
        ("--model {file}:None", ["--size", "64"], "--b: --model: {file} has no 'None'"),
        ("--model {file}:Words", ["--size", "64"], "--b: --input: forward of Words takes"),
    ],
)
def test_a_wrong_side_is_reported_by_its_name(mnfpn: Mnfpn, b: str, more: list[str], message: str) -> None:
    """As the command line tells its own."""
    outcome = mnfpn("compare", "--a", "", "--b", b.format(file=FILE), *more)
    assert (outcome.code, outcome.out) == (2, "")
    assert f"error: {message.format(file=FILE)}" in outcome.err


@pytest.mark.parametrize(
    ("b", "message", "frame"),
    [
        ("Fails' --model-arg least=40", "B ({b}): running Fails failed: ValueError: no images of 32 pixels", "forward"),
        ("Levels' --model-arg width=-1", "--b: building {file}:Levels failed: RuntimeError: ", "__init__"),
    ],
    ids=["in a pass", "in its constructor"],
)
def test_a_side_whose_code_fails_shows_its_own_frames(mnfpn: Mnfpn, b: str, message: str, frame: str) -> None:
    """And whose it is."""
    side = f"--model '{FILE}:{b}"
    outcome = mnfpn("compare", "--a", f"--model '{FILE}:Levels'", "--b", side, *SMALL)
    assert (outcome.code, outcome.out) == (1, "")
    assert f"error: {message.format(b=side, file=FILE)}" in outcome.err
    assert f"in {frame}" in outcome.err


def test_results_of_models_are_compared(mnfpn: Mnfpn, tmp_path: Path) -> None:
    """Another target or argument is a warning; what grew breaks its gate."""
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    assert mnfpn("bench", *LEVELS, *SMALL, "--output", str(old)).code == 0
    assert mnfpn("bench", *LEVELS, "--model-arg", "width=8", *SMALL, "--output", str(new)).code == 0
    outcome = mnfpn("compare", str(old), str(new), "--json", "--fail-if-larger", "10%")
    assert outcome.code == 3
    assert "error: --fail-if-larger 10%: parameters: B has" in outcome.err
    document = json.loads(outcome.out)
    causes = [one["cause"] for one in document["warnings"] if one["kind"] == "other_model"]
    assert causes == [
        f"model differs: {FILE}:Levels() against {FILE}:Levels(width=8), as expected when comparing networks"
    ]
    assert (document["settings"], document["model"]["target"]) == (None, f"{FILE}:Levels")
    same = mnfpn("compare", str(old), str(old), "--fail-if-larger", "10%")
    assert (same.code, "model differs" in same.out) == (0, False)


def test_results_on_tensors_are_compared_row_by_row(mnfpn: Mnfpn, tmp_path: Path) -> None:
    """A row is another where a shape is."""
    paths = [str(tmp_path / name) for name in ("a.json", "b.json")]
    assert mnfpn("bench", *WORDS, *PASSES, "--output", paths[0]).code == 0
    assert mnfpn("bench", *WORDS[:-1], "1x5:int64,1x1x4", *PASSES, "--output", paths[1]).code == 0
    document = json.loads(mnfpn("compare", paths[0], paths[0], "--json").out)
    assert document["runs"][0]["name"] == "eager on cpu, batch 1, 1×5 int64, 1×5×1, float32"
    assert document["a"]["input"]["shapes"][1] == {"shape": [1, 5, 1], "dtype": None}
    apart = json.loads(mnfpn("compare", *paths, "--json").out)
    causes = [one["cause"] for one in apart["warnings"] if one["kind"] == "other_input"]
    assert causes == ["input differs: 1×5 int64, 1×5×1 against 1×5 int64, 1×1×4"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"settings": None}, "settings: must be there where there is no model, got null"),
        ({"input": {**INPUT, "height": None}}, "input: must have channels, height and width, or shapes"),
    ],
)
def test_a_result_of_no_network_is_none(mnfpn: Mnfpn, tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    """Nor is one of no input."""
    good, bad = written(tmp_path, "good.json", result()), written(tmp_path, "bad.json", result(run_json(), **changes))
    outcome = mnfpn("compare", str(good), str(bad))
    assert outcome.code == 2
    assert outcome.err.startswith(f"error: {bad}: {message}")


def test_code_that_fails_in_a_timed_pass_shows_its_own_frames(mnfpn: Mnfpn, tmp_path: Path) -> None:
    """As a detector does that is trained without targets."""
    path = tmp_path / "targets.py"
    path.write_text(
        "from torch import nn\n\nclass Net(nn.Conv2d):\n    def __init__(self):\n        super().__init__(3, 3, 1)\n\n"
        "    def forward(self, x):\n        assert not self.training, 'targets'\n        return super().forward(x)\n"
    )
    outcome = mnfpn("bench", "--model", f"{path}:Net", "--size", "8", "--train", "--passes", "1", "--warmup", "0")
    assert (outcome.code, outcome.out) == (1, "")
    assert "AssertionError: targets" in outcome.err.splitlines()[0]
    assert f'  File "{path}", line 8, in forward' in outcome.err.splitlines()
