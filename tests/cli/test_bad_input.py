"""Each wrong argument: its message, its exit code, and nothing on standard output."""

import os
from pathlib import Path

import pytest
import torch

from mnfpn_cli.devices.cpu import Cpu
from mnfpn_cli.settings.files import preset_names
from mnfpn_cli.settings.measuring import runtime_names
from tests.conftest import Mnfpn

ROWS: list[tuple[list[str], int, str]] = [
    (["shapes", "--size", "600"], 0, ""),
    (["shapes", "--size", "6oo"], 2, "--size: must be HxW in pixels, as 600x900 or 512, got '6oo'"),
    (["shapes", "--size", "0"], 2, "--size: each side must be 1 to 65536 pixels, got 0x0"),
    (
        ["summary", "--size", "16"],
        2,
        "--size: each side must be at least 32 pixels, the stride of p5, got 16x16",
    ),
    (
        ["shapes", "--stages", " ".join(["1,16,1,2"] * 30)],
        2,
        "stages: must halve the resolution to 1/65536 at most, got 1/2147483648",
    ),
    (["shapes", "--size", "600", "--size", "x"], 2, "--size: must be HxW in pixels, as 600x900 or 512, got 'x'"),
    (["shapes", "--batch", "0"], 2, "--batch: must be a whole number from 1 to 65536, got 0"),
    (["shapes", "--batch", "two"], 2, "--batch: must be a whole number from 1 to 65536, got 'two'"),
    (["summary", "--depth", "0"], 2, "--depth: must be a whole number, 1 or more, got 0"),
    (["shapes", "--width-mult", "nan"], 2, "--width-mult: must be a finite number, got NaN"),
    (["shapes", "--width-mult", "inf"], 2, "--width-mult: must be a finite number, got Infinity"),
    (["shapes", "--width-mult", "0"], 2, "--width-mult: must be greater than 0, got 0.0"),
    (["shapes", "--width-mult", "wide"], 2, "--width-mult: must be a number, got 'wide'"),
    (["shapes", "--pyramid-channels", "0"], 2, "--pyramid-channels: must be at least 1, got 0"),
    (["shapes", "--in-channels", "-3"], 2, "--in-channels: must be at least 1, got -3"),
    (["shapes", "--in-channels", "3.5"], 2, "--in-channels: must be a whole number, got '3.5'"),
    (["shapes", "--stages", "6,24,2,3"], 2, "--stages: stages[0].stride: must be 1 or 2, got 3"),
    (["shapes", "--stages", ""], 2, "--stages: must have at least 1 item, got []"),
    (["shapes", "--stages", "6,24,2,1"], 2, "--stages: must have a stage of stride 2"),
    (["shapes", "--set", "pyramid.levels=p9"], 2, "--set pyramid.levels: must be among the levels that the stages"),
    (
        ["export", "--output", "x"],
        2,
        "--format: must be given. Write onnx, torch-export, safetensors, openvino, executorch or coreml.",
    ),
    (
        ["export", "--format", "onnx"],
        2,
        "--output: must be given. Write the network to FILE: whole and checked,",
    ),
    (["shapes", "--preset", "resnet"], 2, "--preset: must be one of fpn-classifier, fpnssd, "),
    (["shapes", "--config", "none.json"], 2, "none.json: no such file"),
    (["shapes", "--config", "."], 2, ".: must be a file, but it is a folder"),
    (["shapes", "--output", "none/out.json"], 2, "--output: folder 'none' does not exist"),
    (["shapes", "--output", "-"], 2, "--output: must be a file, not standard output, got '-'"),
    (["shapes", "--output", "x" * 300], 2, "--output: must be a name that a file can have"),
    (["shapes", "--config", ""], 2, "--config: must be the name of a file, or -, got ''"),
    (["shapes", "--config", "/dev/zero"], 2, "/dev/zero: a settings file must have at most 1 MB"),
    (["shapes", "--in-channels", "1_000"], 2, "--in-channels: must be a whole number, got '1_000'"),
    (["shapes", "--output", "."], 2, "--output: must be a file, but '.' is a folder"),
    (["shapes", "--bacth", "2"], 2, "--bacth: no such option; did you mean '--batch'?"),
    (["shapes", "600x900"], 2, "unexpected argument '600x900'"),
    (["shapes", "--size"], 2, "--size: requires a value"),
    (["shapes", "--dtype", "float64"], 2, "--dtype: must be one of float32, bfloat16, float16, int8, got 'float64'"),
    (["shaeps"], 2, "shaeps: no such command; did you mean 'shapes'?"),
    (["bench", "--passes", "0"], 2, "--passes: must be a whole number, 1 or more, got 0"),
    (["bench", "--warmup", "-1"], 2, "--warmup: must be a whole number, 0 or more, got -1"),
    (
        ["bench", "--allocator", "kep"],
        2,
        "--allocator: must be one of system, keep, jemalloc, got 'kep'; did you mean 'keep'?",
    ),
    (
        ["sweep", "--measure", "none", "--allocator", "system,kep"],
        2,
        "--allocator: must be one of system, keep, jemalloc, got 'kep'; did you mean 'keep'?",
    ),
    (["bench", "--threads", "0"], 2, "--threads: must be a whole number from 1 to 4096, got 0"),
    (["bench", "--seed", "-1"], 2, "--seed: must be a whole number from 0 to 9223372036854775807, got -1"),
    (["bench", "--min-time", "nan"], 2, "--min-time: must be a finite number of seconds, 0 or more, got nan"),
    (["bench", "--min-time", "-1"], 2, "--min-time: must be a finite number of seconds, 0 or more, got -1"),
    (["bench", "--max-time", "inf"], 2, "--max-time: must be a finite number of seconds, 0 or more, got inf"),
    (
        ["bench", "--max-time", "1", "--min-time", "2"],
        2,
        "--max-time: must not be less than --min-time, 2 seconds, got 1",
    ),
    (["bench", "--precision", "0"], 2, "--precision: must be more than 0 and less than 100%, as 1% or 0.01, got '0'"),
    (["bench", "--precision", "1"], 2, "--precision: must be more than 0 and less than 100%, as 1% or 0.01, got '1'"),
    (["bench", "--precision", "fine"], 2, "--precision: must be a share, as 1% or 0.01, got 'fine'"),
    (
        ["bench", "--precision", "nan"],
        2,
        "--precision: must be more than 0 and less than 100%, as 1% or 0.01, got 'nan'",
    ),
    (["bench", "--precision", "2%", "--passes", "5"], 2, "--precision: cannot be used with --passes"),
    (["bench", "--runtime", "tensorrt"], 2, "--runtime: must be one of eager, channels-last, "),
    (
        ["bench", "--runtime", "eager", "--channels-last"],
        2,
        "--channels-last: is --runtime channels-last, and cannot be",
    ),
    (["bench", "--batch", "1,,8"], 2, "--batch: must be a whole number from 1 to 65536, got ''"),
    (["bench", "--size", "64,6oo"], 2, "--size: must be HxW in pixels, as 600x900 or 512, got '6oo'"),
    (
        ["bench", "--runtime", "cuda-graph", "--by-layer"],
        2,
        "--by-layer: requires another --runtime than cuda-graph, which replays kernels",
    ),
    (["bench", "--trace", "trace.json"], 2, "--trace: requires --by-layer, which times the operators"),
    (["bench", "--by-layer", "--trace", "no/trace.json"], 2, "--trace: folder 'no' does not exist"),
    (["bench", "--by-layer", "--trace", "trace.csv"], 2, "--trace: must not end in .csv, as json is written"),
    (
        ["bench", "--by-layer", "--trace", "t.json", "--output", "t.json"],
        2,
        "--trace: must not be the file of --output",
    ),
    (["bench", "--train", "--by-layer"], 2, "--by-layer: cannot be used with --train, since layers"),
    (["bench", "--device", "gpu"], 2, "--device: must be auto, cpu, cuda, cuda:N or mps, got 'gpu'"),
    # What is misspelt names the nearest.
    (
        ["shapes", "--preset", "fpnsd"],
        2,
        f"--preset: must be one of {', '.join(preset_names())}, got 'fpnsd'; did you mean 'fpnssd'?",
    ),
    (["shapes", "--set", "pyramid.smoth=none"], 2, "--set pyramid.smoth: unknown key; did you mean 'pyramid.smooth'?"),
    (
        ["bench", "--runtime", "onnx"],
        2,
        f"--runtime: must be one of {', '.join(runtime_names())} or all, got 'onnx'; did you mean 'onnxruntime'?",
    ),
    (
        ["shapes", "--set", "pyramid.levels=p3,p9"],
        2,
        "--set pyramid.levels: must be among the levels that the stages give (p2, p3, p4, p5), got p9; did you mean",
    ),
    (
        ["shapes", "--set", "pyramid.levels=p3-p55"],
        2,
        "--set pyramid.levels: must be among the levels that the stages give (p2, p3, p4, p5), got p6, p7, …, p55; did "
        "you mean 'p5'?",
    ),
    (
        ["shapes", "--set", "pyramid.levels=p3,pp4"],
        2,
        '--set pyramid.levels: must be \'all\', a range as p3-p5, or a list of levels, got ["p3", "pp4"]; did you mean '
        "'p4'?",
    ),
    (
        ["shapes", "--set", "pyramid.smooth=seperable"],
        2,
        "--set pyramid.smooth: must be 'conv', 'separable' or 'none', got 'seperable'; did you mean 'separable'?",
    ),
    (
        ["shapes", "--set", "backbone.kind=resnt"],
        2,
        "--set backbone.kind: must be 'mobilenet_v2' or 'resnet', got 'resnt'; did you mean 'resnet'?",
    ),
    (
        ["shapes", "--set", "pyramid.levels=p33"],
        2,
        "--set pyramid.levels: must be among the levels that the stages give (p2, p3, p4, p5), got p33; did you mean",
    ),
    (
        ["shapes", "--set", "pyramid.levels=al"],
        2,
        "--set pyramid.levels: must be 'all', a range as p3-p5, or a list of levels, got [\"al\"]; did you mean 'all'?",
    ),
    (["bench", "--device", "cdua"], 2, "--device: must be auto, cpu, cuda, cuda:N or mps, got 'cdua'; did you mean 'c"),
    (
        ["bench", "--device", "gpu"],
        2,
        "--device: must be auto, cpu, cuda, cuda:N or mps, got 'gpu'; did you mean 'cuda'?",
    ),
    (
        ["bench", "--dtype", "flot16"],
        2,
        "--dtype: must be one of float32, bfloat16, float16, int8, got 'flot16'; did you mean 'float16'?",
    ),
    (
        ["summary", "--format", "markdwon"],
        2,
        "--format: must be one of text, json, csv, markdown, got 'markdwon'; did you mean 'markdown'?",
    ),
    (
        ["sweep", "--dtype", "flot16", "--measure", "none"],
        2,
        "--dtype: must be one of float32, bfloat16, float16, int8, got 'flot16'; did you mean 'float16'?",
    ),
    (
        ["sweep", "--measure", "non"],
        2,
        "--measure: must be all, none or a number of runs, got 'non'; did you mean 'none'?",
    ),
    # What takes one value takes it once, and a key is given once.
    (["shapes", "--batch", "2", "--batch", "4"], 2, "--batch: must be given once, got '2' and '4'"),
    (["summary", "--size", "64", "--size", "64"], 2, "--size: must be given once, got '64' and '64'"),
    (["shapes", "--preset", "fpnssd", "--preset", "x"], 2, "--preset: must be given once, got 'fpnssd' and 'x'"),
    (["shapes", "--config", "a", "--config", "b"], 2, "--config: must be given once, got 'a' and 'b'"),
    (["summary", "--weights", "a", "--weights=b"], 2, "--weights: must be given once, got 'a' and 'b'"),
    (["audit", "--output", "a", "--output", "b"], 2, "--output: must be given once, got 'a' and 'b'"),
    (
        ["bench", "--dtype", "float32", "--dtype", "float16", "--dtype", "x"],
        2,
        "--dtype: must be one of float32, bfloat16, float16, int8, got 'x'",
    ),
    (["bench", "--passes", "5", "--passes", "7"], 2, "--passes: must be given once, got '5' and '7'"),
    (
        ["export", "--format", "onnx", "--format", "onnx", "--output", "x"],
        2,
        "--format: must be given once, got 'onnx'",
    ),
    (
        ["compare", "--a", "", "--a", "--width-mult 1", "--b", ""],
        2,
        "--a: must be given once, got '' and '--width-mult",
    ),
    (
        ["compare", "--a", "--preset fpnssd --preset fpnssd", "--b", ""],
        2,
        "--a: --preset: must be given once, got 'fpnssd' and 'fpnssd'",
    ),
    (["sweep", "--store", "a", "--store", "b"], 2, "--store: must be given once, got 'a' and 'b'"),
    (["report", "--store", "a", "--store", "b"], 2, "--store: must be given once, got 'a' and 'b'"),
    (
        ["recommend", "--store", "a", "--max-macs", "1G", "--max-macs", "2G"],
        2,
        "--max-macs: must be given once, got '1G'",
    ),
    (
        ["shapes", "--width-mult", "0.5", "--set", "width_mult=0.75"],
        2,
        "--width-mult, --set width_mult: must give a key once, got 0.5 and 0.75",
    ),
    (
        ["shapes", "--width-mult", "2", "--set", "width_mult=1"],
        2,
        "--width-mult, --set width_mult: must give a key once, got 2 and 1",
    ),
    (
        ["shapes", "--set", "rounding=ceil8", "--set", "rounding=truncate"],
        2,
        '--set rounding: must give a key once, got "ceil8" and "truncate"',
    ),
    (
        ["shapes", "--set", "stages[3].width_factor=48", "--set", "stages.3.channels=64"],
        2,
        "--set stages[3].width_factor, --set stages.3.channels: must give a key once, got 48 and 64",
    ),
    (
        ["shapes", "--pyramid-channels", "64", "--set", 'pyramid={"channels":32}'],
        2,
        '--pyramid-channels, --set pyramid: must give a key once, got 64 and {"channels": 32}',
    ),
    # An option that would have no effect is refused.
    (
        [
            "summary",
            "--tree",
            "--depth",
            "1",
            "--sort",
            "macs",
            "--top",
            "2",
            "--filter",
            "*",
            "--counts",
            "--no-audit",
        ],
        2,
        "--depth, --sort, --top, --filter, --counts, --no-audit: cannot be used with --tree, which draws levels",
    ),
    (
        ["summary", "--sort", "macs", "--depth", "1"],
        2,
        "--depth: must be 2 or more, the depth of the first matching layer, got",
    ),
    (["summary", "--filter", "nosuch*"], 2, "--filter: must match the path of a layer, got 'nosuch*'"),
    (
        ["summary", "--filter", "pyramid", "--sort", "macs"],
        2,
        "--filter: must match single layers with --sort, got 'pyramid'",
    ),
    (
        ["audit", "--model", "a:b", "--input", "1x3x64x64", "--size", "64"],
        2,
        "--size: cannot be used with --input, which already gives the shape",
    ),
    (["bench", "--batch", "2", "--batch", "0,4"], 2, "--batch: must be a whole number from 1 to 65536, got 0"),
    (["shapes", "--size", "64,96"], 0, ""),
    (
        ["summary", "--tree", "--output", "a.json"],
        2,
        "--tree: is drawn as text only; mnfpn shapes --json has the levels as data",
    ),
    (
        ["shapes", "--model", "a:b", "--input", "1x3x64x64", "--batch", "2"],
        2,
        "--batch: cannot be used with --input, which already gives the shape",
    ),
]


@pytest.mark.parametrize(("arguments", "code", "message"), ROWS, ids=[" ".join(row[0])[:60] for row in ROWS])
@pytest.mark.parametrize("json", [False, True], ids=["text", "json"])
def test_a_wrong_argument_is_reported(
    mnfpn: Mnfpn,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    code: int,
    message: str,
    json: bool,
) -> None:
    """One line that begins with `error:`, and no traceback."""
    monkeypatch.chdir(tmp_path)
    command, *rest = arguments
    outcome = mnfpn(command, *(["--json"] if json else []), *rest)
    assert outcome.code == code
    if code:
        assert outcome.out == ""
        assert outcome.err.startswith(f"error: {message}")
        assert "Traceback" not in outcome.err


@pytest.mark.parametrize("group", ["settings", "runs"])
def test_a_group_without_a_command_shows_its_help(mnfpn: Mnfpn, group: str) -> None:
    """Exit code 2, and the help on standard error: a script that reads the output gets nothing."""
    outcome = mnfpn(group)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == mnfpn(group, "--help").out


def test_a_device_that_is_not_there_is_exit_code_1(mnfpn: Mnfpn, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what was found instead, before anything is measured."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    outcome = mnfpn("bench", "--device", "cpu", "--device", "cuda")
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err == "error: --device: must be a device of this machine, got 'cuda'; found: cpu\n"


@pytest.mark.parametrize("arguments", [["bench", "--batch", "99"], ["shapes", "--verify", "--batch", "99"]])
def test_what_cannot_fit_is_refused_before_it_runs(
    mnfpn: Mnfpn, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    """By the plan's figure, against what is free."""
    monkeypatch.setattr(Cpu, "free_memory", lambda _: 2**30)
    outcome = mnfpn(*arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith(
        "error: --size, --batch: must fit the memory that cpu has free, 1.0 GiB; in float32 99 × 3 × "
    )


def test_all_problems_of_a_file_are_reported_at_once(mnfpn: Mnfpn, tmp_path: Path) -> None:
    """A line each."""
    path = tmp_path / "my.json"
    path.write_text('{"width": 1, "in_channels": 0, "stages": [[6, 24, 2, 3]]}')
    lines = mnfpn("shapes", "--config", str(path)).err.splitlines()
    assert lines == [
        f"error: {path}: in_channels: must be at least 1, got 0",
        f"error: {path}: stages[0].stride: must be 1 or 2, got 3",
        f"error: {path}: width: unknown key; did you mean 'width_mult'?",
    ]


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may read and write everything")
def test_permissions_are_reported(mnfpn: Mnfpn, tmp_path: Path) -> None:
    """A file that may not be read is exit code 1, a folder that may not be written 2."""
    path = tmp_path / "my.json"
    path.touch(mode=0)
    assert mnfpn("shapes", "--config", str(path)).code == 1
    tmp_path.chmod(0o500)
    assert mnfpn("shapes", "--output", str(tmp_path / "out.json")).code == 2


def test_a_file_that_cannot_be_read_is_exit_code_1(mnfpn: Mnfpn, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's reason is passed on."""

    def denied(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", denied)
    outcome = mnfpn("shapes", "--config", "my.json")
    assert (outcome.code, outcome.err) == (1, "error: my.json: could not be read: Permission denied\n")
