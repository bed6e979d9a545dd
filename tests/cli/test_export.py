"""`mnfpn export`: what it prints, what it refuses before any work, and what is left when it fails."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Set
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from mnfpn_cli.devices.cpu import Cpu
from mnfpn_cli.errors import MnfpnError
from mnfpn_cli.export import export as exporting
from mnfpn_cli.export.axes import DynamicAxis
from mnfpn_cli.export.export import FileCase
from mnfpn_cli.export.formats import load_format
from mnfpn_cli.export.job import FileJob, ReadFile
from mnfpn_cli.network.network import build_network
from mnfpn_cli.plan.rules import network_input
from mnfpn_cli.settings.input import NetworkInput, Size
from mnfpn_cli.settings.network import NetworkSettings
from tests.conftest import Mnfpn
from tests.needs import needs_onnx
from tests.processes import MNFPN, signals_by_default

SMALL = ["--stages", "2,8,1,2 2,16,1,2", "--pyramid-channels", "8"]
SETTINGS = NetworkSettings.model_validate({"stages": [(2, 8, 1, 2), (2, 16, 1, 2)], "pyramid": {"channels": 8}})
HEAD = "head={'kind': 'level_classifiers'}".replace("'", '"')


def test_a_file_is_written_checked_and_reported(mnfpn: Mnfpn, tmp_path: Path) -> None:
    """A table for each size, what was written, and how it was checked."""
    path = tmp_path / "out.safetensors"
    arguments = ["--format", "safetensors", "--output", str(path), "--size", "32x48", "--batch", "2"]
    done = mnfpn("export", *SMALL, *arguments)
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines() == [
        "File and network at 2×3×32×48",
        "Output     Shape  Largest difference  Relative  Allowed",
        "p2      2×8×8×12                   0         0        0",
        "p3       2×8×4×6                   0         0        0",
        f"Written: {path} (safetensors, {path.stat().st_size / 1024:.2f} KiB)",
        "Checked: loaded back into another network, its outputs are the same to the last bit.",
    ]


def test_a_file_for_any_size_is_checked_at_several(mnfpn: Mnfpn, tmp_path: Path) -> None:
    """The one it was made for, one of odd sides, and the least."""
    path = tmp_path / "out.pt2"
    arguments = ["--format", "torch-export", "--output", str(path), "--size", "32x48", "--dynamic", "--batch", "2"]
    done = mnfpn("export", *SMALL, *arguments)
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert [line for line in lines if line.startswith("File")] == [
        f"File and network at 2×3×{sides}" for sides in ("32×48", "17×25", "8×8")
    ]
    assert lines[-2:] == [
        f"Written: {path} (torch-export, {path.stat().st_size / 1024:.1f} KiB, height and width free)",
        "Checked: loaded back, the program's outputs are the network's.",
    ]


@pytest.mark.parametrize("format", [pytest.param("onnx", marks=needs_onnx), "safetensors"])
def test_what_cannot_fit_is_refused_before_it_is_built(
    mnfpn: Mnfpn, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, format: str
) -> None:
    """The dense layers of this head alone would take 170 GiB; where memory runs out all the same, that is told."""
    arguments = ["--preset", "fpn-classifier", "--size", "65536", "--format", format, "--output", str(tmp_path / "out")]
    monkeypatch.setattr(Cpu, "free_memory", lambda _: 2**30)
    done = mnfpn("export", *arguments)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(
        "error: --size, --batch: must fit the memory that cpu has free, 1.0 GiB; in float32 1 × "
    )

    def build(*_: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(Cpu, "free_memory", lambda _: 2**60)
    monkeypatch.setattr("mnfpn_cli.weights.load.build_with_weights", build)
    done = mnfpn("export", *arguments)
    assert (done.code, done.out, done.err) == (1, "", "error: out of memory building the network\n")
    assert list(tmp_path.iterdir()) == []


@needs_onnx
def test_json_through_a_pipe_is_all_that_is_printed(mnfpn_process: Mnfpn, tmp_path: Path) -> None:
    """Torch's exporter and ONNX Runtime have a lot to say, and none of it on either stream."""
    path = tmp_path / "out.onnx"
    done = mnfpn_process("export", *SMALL, "--format", "onnx", "--output", str(path), "--size", "32x48", "--json")
    assert (done.code, done.err) == (0, "")
    document = json.loads(done.out)
    assert document["settings"] == SETTINGS.model_dump(mode="json")
    described = {key: document[key] for key in ("command", "format", "file", "files", "bytes", "dtype", "dynamic")}
    assert described == {
        "command": "export",
        "format": "onnx",
        "file": str(path),
        "files": [str(path)],
        "bytes": path.stat().st_size,
        "dtype": "float32",
        "dynamic": False,
    }
    assert [document[key] for key in ("dynamic_axes", "opset", "quality", "unchecked")] == [[], None, None, None]
    (check,) = document["checks"]
    assert check["input"] == {"batch": 1, "channels": 3, "height": 32, "width": 48, "shapes": None}
    assert [(output["name"], output["shape"]) for output in check["outputs"]] == [
        ("p2", [1, 8, 8, 12]),
        ("p3", [1, 8, 4, 6]),
    ]
    for output in check["outputs"]:
        assert 0 <= output["relative"] <= output["allowed"] == 1e-4
        assert output["max_abs_difference"] >= output["relative"] * 0.01


def test_what_was_exported_needs_no_other_settings(mnfpn: Mnfpn, tmp_path: Path) -> None:
    """Neither to be looked at nor to be exported again, to the same file."""
    first, second = tmp_path / "first.safetensors", tmp_path / "second.safetensors"
    to = ["--format", "safetensors", "--size", "64", "--json", "--output"]
    assert mnfpn("export", *SMALL, "--seed", "7", *to, str(first)).code == 0
    summary = json.loads(mnfpn("summary", "--weights", str(first), "--size", "64", "--json").out)
    assert summary["settings"] == SETTINGS.model_dump(mode="json")
    again = json.loads(mnfpn("export", "--weights", str(first), *to, str(second)).out)
    assert again["weights"]["missing"] == []
    assert same_weights(first, second)
    assert mnfpn("export", *SMALL, "--seed", "8", *to, str(second)).code == 0
    assert not same_weights(first, second)


def same_weights(one: Path, other: Path) -> bool:
    """Whether two files hold the same tensors."""
    ours, theirs = load_file(one), load_file(other)
    return ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)


REFUSED: list[tuple[list[str], str]] = [
    (["--output", "out"], "--format: must be given."),
    (["--format", "onnx"], "--output: must be given."),
    (
        ["--format", "tflite", "--output", "out"],
        "--format: must be one of onnx, torch-export, safetensors, openvino, executorch, coreml, got 'tflite'",
    ),
    (["--format", "onnx", "--output", "."], "--output: must be a file, but '.' is a folder"),
    (["--format", "onnx", "--output", ""], "--output: must be the name of a file, got ''"),
    (
        ["--format", "onnx", "--output", "-"],
        "--output: must be a file, not standard output, got '-'\n",
    ),
    (["--format", "onnx", "--output", "none/out"], "--output: folder 'none' does not exist"),
    (["--format", "onnx", "--output", "pipe"], "--output: must be a file, which is replaced whole, but 'pipe' is a"),
    (["--format", "onnx", "--output", "out", "--seed", "-1"], "--seed: must be a whole number from 0 to 9223372036854"),
    (["--format", "onnx", "--output", "out", "--batch", "0"], "--batch: must be a whole number from 1 to 65536, got 0"),
    (
        ["--format", "onnx", "--output", "out", "--size", "4"],
        "--size: each side must be at least 32 pixels, the stride",
    ),
    (
        ["--format", "onnx", "--output", "out", "--dynamic", "--set", HEAD],
        "--dynamic: must not be given where the head",
    ),
    (
        ["--format", "safetensors", "--output", "out", "--dynamic"],
        "--dynamic: cannot be used with --format safetensors, which holds only weights, no sizes\n",
    ),
    (
        ["--format", "onnx", "--output", "out", "--weights", "none"],
        "none: no such file",
    ),
    (
        ["--format", "onnx", "--output", "out.pt2"],
        "--output: must not end in .pt2, as onnx is written, got 'out.pt2'\n",
    ),
    (["--format", "torch-export", "--output", "out.onnx"], "--output: must not end in .onnx, as torch-export is"),
    (
        ["--format", "safetensors", "--output", "out", "--dtype", "int8"],
        "--dtype: must be float32, bfloat16 or float16 with --format safetensors, got int8\n",
    ),
    (
        ["--format", "safetensors", "--output", "out", "--opset", "20"],
        "--opset: cannot be used with --format safetensors: only ONNX has versions of operators\n",
    ),
    (["--format", "onnx", "--output", "out", "--opset", "x"], "--opset: must be a whole number from 1 to 100, got 'x'"),
    (
        ["--format", "onnx", "--output", "out", "--dynamic", "heigth"],
        "--dynamic: must be axes of batch, height, width, separated by commas, got 'heigth'; did you mean 'height'?\n",
    ),
    (
        ["--format", "onnx", "--output", "out", "--calibration", "."],
        "--calibration: cannot be used with --dtype float32, which loses nothing\n",
    ),
    (
        ["--format", "torch-export", "--output", "out", "--dtype", "float16", "--keep-float", "stem"],
        "--keep-float: requires --dtype int8; float16 quantises nothing\n",
    ),
    (
        ["--format", "torch-export", "--output", "out", "--dtype", "float16", "--calibration", "none"],
        "--calibration: no such file or folder, got 'none'\n",
    ),
    (
        ["--format", "torch-export", "--output", "out", "--dtype", "float16", "--calibration", "."],
        "--calibration: must be a folder with images, as PNG or JPEG, got none in '.'\n",
    ),
    (["--format", "onnx", "--output", "out", "--input", "1x3x32x32"], "--input: requires --model"),
    (
        ["--format", "onnx", "--output", "out", "--model", "a:b", "--input", "1x3", "--input", "1x4"],
        "--input: must be given once, as export takes one pass",
    ),
    (
        ["--format", "onnx", "--output", "out", "--model", "a:b", "--width-mult", "0.5"],
        "--width-mult: cannot be used with --model, whose network has no settings\n",
    ),
]


@pytest.mark.parametrize(("arguments", "message"), REFUSED, ids=[" ".join(row[0])[:60] for row in REFUSED])
def test_what_is_wrong_is_refused_before_any_work(
    mnfpn: Mnfpn, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arguments: list[str], message: str
) -> None:
    """Exit code 2, one line, no file."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(exporting, "export_file", None)
    os.mkfifo("pipe")
    done = mnfpn("export", *arguments)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"error: {message}")
    assert [entry.name for entry in tmp_path.iterdir()] == ["pipe"]


def test_a_package_that_is_missing_is_reported_before_any_work(
    mnfpn: Mnfpn, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Exit code 1, with the command that installs it."""
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.setattr(exporting, "export_file", None)
    done = mnfpn("export", *SMALL, "--format", "onnx", "--output", str(tmp_path / "out.onnx"))
    message = "error: --format onnx: needs onnxruntime (not installed): pip install 'mnfpn[onnx]'\n"
    assert (done.code, done.out, done.err) == (1, "", message)


def test_a_failed_check_is_exit_code_3_and_leaves_no_file(
    mnfpn: Mnfpn, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """One line on standard error, nothing on standard output, nothing in the folder."""
    form = load_format("safetensors")
    real = form.read

    def read(path: Path, job: FileJob) -> ReadFile:
        opened = real(path, job)
        run = opened.run
        assert run
        return replace(opened, run=lambda images: {name: x + 1 for name, x in run(images).items()})

    monkeypatch.setattr(form, "read", read)
    path = tmp_path / "out.safetensors"
    done = mnfpn("export", *SMALL, "--format", "safetensors", "--output", str(path), "--size", "64", "--json")
    assert (done.code, done.out) == (3, "")
    message = "error: --format safetensors: the file failed its check, and was discarded: at 64x64 p2 differs by "
    assert done.err.startswith(message)
    assert done.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


CASES: list[tuple[list[str], NetworkInput, Set[DynamicAxis]]] = [
    ([], network_input(SETTINGS, Size(600, 900)), set()),
    (["--size", "64", "--batch", "3"], network_input(SETTINGS, Size(64, 64), 3), set()),
    (["--size", "64x96", "--dynamic"], network_input(SETTINGS, Size(64, 96)), {"height", "width"}),
    (["--dynamic", "--size", "64x96"], network_input(SETTINGS, Size(64, 96)), {"height", "width"}),
    (["--dynamic", "batch", "--size", "64x96"], network_input(SETTINGS, Size(64, 96)), {"batch"}),
    (["--dynamic=width,batch", "--size", "64x96"], network_input(SETTINGS, Size(64, 96)), {"batch", "width"}),
]


@pytest.mark.parametrize(("arguments", "input", "dynamic"), CASES, ids=[" ".join(row[0]) or "nothing" for row in CASES])
def test_arguments_mean_an_export(
    mnfpn: Mnfpn,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    arguments: list[str],
    input: NetworkInput,
    dynamic: Set[DynamicAxis],
) -> None:
    """What is asked to be exported, with which weights."""
    asked: list[FileCase] = []

    def export_file(made: FileCase, *_: object) -> None:
        asked.append(made)
        raise MnfpnError("nothing is exported here")

    monkeypatch.setattr(exporting, "export_file", export_file)
    path = tmp_path / "out"
    seeded = ["--seed", "7", "--format", "torch-export", "--output", str(path)]
    assert mnfpn("export", *SMALL, *seeded, *arguments).code == 1
    (made,) = asked
    assert (made.named.origin.settings, made.named.inputs, made.request.path) == (SETTINGS, input, path)
    assert made.request.format == "torch-export"
    assert made.request.dynamic == made.job.dynamic == dynamic
    assert [tuple(one.shape) for one in made.job.inputs] == [input.shape]
    expected, weights = build_network(SETTINGS, 7).state_dict(), made.job.network.state_dict()
    assert all(torch.equal(weights[key], expected[key]) for key in expected)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_what_was_there(tmp_path: Path, number: signal.Signals) -> None:
    """While the file is being checked: the temporary one goes, quietly."""
    path = tmp_path / "out"
    path.write_text("older")
    command = [*MNFPN, "export", "--size", "512", "--batch", "4"]
    command += ["--format", "safetensors", "--output", str(path)]
    with signals_by_default():
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + 60
    while len(list(tmp_path.iterdir())) == 1 and process.poll() is None and time.monotonic() < end:
        time.sleep(0.005)
    assert [entry.name for entry in tmp_path.iterdir() if entry != path]
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (128 + number, "", "")
    assert [(entry.name, entry.read_text()) for entry in tmp_path.iterdir()] == [("out", "older")]
