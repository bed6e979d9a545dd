"""Files that a command writes: never in place of what it reads, and named for what is in them."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from mnfpn_cli.files import form_of_file
from mnfpn_cli.store.store import open_store
from tests.conftest import Mnfpn

CONTENTS = {
    "n.py": "raise RuntimeError('this must not run')\n",
    "k.pth": "a checkpoint",
    "c.json": "{}",
    "a.json": "{}",
    "b.json": "{}",
    "of.json": '{"config": ["a.json", "c.json"]}',
    "s.json": '{"width_mult": [0.5]}',
}


@pytest.fixture(autouse=True)
def _in_a_folder_of_inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, text in CONTENTS.items():
        Path(name).write_text(text)


READ = "must not be a file that the command reads, got"
INPUTS: list[tuple[list[str], str, str]] = [
    (["summary", "--model", "n.py:Net", "--output", "n.py"], "--output", "n.py"),
    (["audit", "--model", "n:Net", "--output", "n.py"], "--output", "n.py"),
    (["bench", "--weights", "k.pth", "--output", "k.pth"], "--output", "k.pth"),
    (["export", "--format", "onnx", "--weights", "k.pth", "--output", "./k.pth"], "--output", "k.pth"),
    (["compare", "a.json", "b.json", "--output", "a.json"], "--output", "a.json"),
    (["compare", "a.json", "b.json", "--output", "b.json"], "--output", "b.json"),
    (["compare", "--a", "--weights k.pth", "--b", "", "--output", "k.pth"], "--output", "k.pth"),
    (["compare", "--a", "", "--b", "--model n.py:Net", "--output", "n.py"], "--output", "n.py"),
    (["compare", "--a", "", "--b", "--config c.json", "--output", "c.json"], "--output", "c.json"),
    (["shapes", "--config", "c.json", "--output", "../{folder}/c.json"], "--output", "../{folder}/c.json"),
    (["summary", "--config", "c.json", "--svg", "c.json"], "--svg", "c.json"),
    (["sweep", "--space", "s.json", "--measure", "none", "--output", "s.json"], "--output", "s.json"),
    (["sweep", "--space", "of.json", "--measure", "none", "--output", "./c.json"], "--output", "c.json"),
    (
        ["sweep", "--config", "b.json", "--config", "c.json", "--measure", "none", "--output", "c.json"],
        "--output",
        "c.",
    ),
    (["sweep", "--size", "64", "--store", "new.db", "--output", "new.db"], "--output", "new.db"),
    (["report", "--store", "sqlite:///new.db", "--output", "new.db"], "--output", "new.db"),
    (["runs", "merge", "other.db", "--store", "new.db", "--output", "other.db"], "--output", "other.db"),
]


@pytest.mark.parametrize(("arguments", "option", "value"), INPUTS, ids=[" ".join(row[0]) for row in INPUTS])
def test_what_is_read_is_not_written(mnfpn: Mnfpn, arguments: list[str], option: str, value: str) -> None:
    """Refused before anything is read, run or made."""
    folder = Path.cwd().name
    outcome = mnfpn(*[argument.format(folder=folder) for argument in arguments])
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith(f"error: {option}: {READ} '{value.format(folder=folder)}")
    assert {path.name: path.read_text() for path in Path().iterdir()} == CONTENTS


@pytest.mark.parametrize("made", [os.symlink, os.link, shutil.copy])
def test_a_file_is_known_by_its_other_names(mnfpn: Mnfpn, made: Callable[[str, str], object]) -> None:
    """By links of both kinds; a copy is another file."""
    made("c.json", "other.json")
    outcome = mnfpn("shapes", "--config", "c.json", "--output", "other.json")
    assert outcome.code == (0 if made is shutil.copy else 2)
    assert Path("c.json").read_text() == CONTENTS["c.json"]


def test_two_results_do_not_go_to_one_file(mnfpn: Mnfpn) -> None:
    """Whether it is there already or not."""
    for value in ("x", "./x"):
        outcome = mnfpn("summary", "--svg", "x", "--output", value)
        assert outcome.code == 2
        assert outcome.err.startswith("error: --svg: must not be the file of --output, got 'x'")


def test_standard_input_and_devices_are_no_files_that_are_lost(mnfpn_process: Mnfpn) -> None:
    """Nothing of them can be."""
    for arguments in (["--config", "-", "--output", "x.json"], ["--config", "-", "--output", "/dev/null"]):
        assert mnfpn_process("shapes", *arguments, input="{}").code == 0


def test_a_store_is_no_file_to_write_to(mnfpn: Mnfpn) -> None:
    """Not any, be it of this command or of none."""
    with open_store("runs.db", create=True):
        pass
    outcome = mnfpn("shapes", "--output", "runs.db")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == "error: --output: must not be a store, but 'runs.db' is an SQLite database\n"


FORMS: list[tuple[list[str], str]] = [
    (["summary", "--svg", "x.png"], "--svg: must not end in .png, as svg is written, got 'x.png'"),
    (["summary", "--svg", "x.JSON"], "--svg: must not end in .JSON, as svg is written, got 'x.JSON'"),
    (["summary", "--format", "csv", "--output", "x.json"], "--output: must not end in .json, as csv is written"),
    (["summary", "--json", "--output", "x.csv"], "--output: must not end in .csv, as json is written"),
    (["summary", "--output", "x.svg"], "--output: must not end in .svg, as text is written"),
    (["summary", "--tree", "--output", "x.json"], "--tree: is drawn as text only"),
    (["shapes", "--json", "--output", "x.md"], "--output: must not end in .md, as json is written"),
    (["summary", "--json", "--output", "x.txt"], "--output: must not end in .txt, as json is written"),
    (["shapes", "--output", "x.py"], "--output: must not end in .py, as text is written"),
    (["export", "--format", "onnx", "--output", "x.pth"], "--output: must not end in .pth, as onnx is written"),
    (["export", "--format", "safetensors", "--output", "x.pt"], "--output: must not end in .pt, as safetensors is"),
    (["export", "--format", "torch-export", "--output", "x.db"], "--output: must not end in .db, as torch-export"),
    (["export", "--format", "onnx", "--output", "x.txt"], "--output: must not end in .txt, as onnx is written"),
    (["bench", "--output", "x.csv"], "--output: must not end in .csv, as text is written"),
    (["compare", "a.json", "b.json", "--output", "x.html"], "--output: must not end in .html, as text is written"),
    (["export", "--format", "onnx", "--output", "x.pt2"], "--output: must not end in .pt2, as onnx is written"),
    (["export", "--format", "safetensors", "--output", "x.json"], "--output: must not end in .json, as safetensors"),
    (["report", "--store", "x", "--format", "png", "--output", "x.svg"], "--output: must not end in .svg, as png"),
    (["report", "--store", "x", "--output", "x.json"], "--output: must end in .html, .htm, .png, .svg unless --format"),
    (
        ["report", "--store", "x", "--output", "y"],
        "--output: must end in .html, .htm, .png, .svg unless --format is given",
    ),
    (["runs", "export", "--store", "x", "--format", "csv", "--output", "x.json"], "--output: must not end in .json"),
    (
        ["runs", "export", "--store", "x", "--output", "x.txt"],
        "--output: must end in .json, .csv, .md, .parquet",
    ),
]


@pytest.mark.parametrize(("arguments", "message"), FORMS, ids=[" ".join(row[0]) for row in FORMS])
def test_a_name_does_not_say_another_form(mnfpn: Mnfpn, arguments: list[str], message: str) -> None:
    """Than the options do, or than the command writes; refused before any work is done."""
    outcome = mnfpn(*arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith(f"error: {message}")
    assert {path.name for path in Path().iterdir()} == CONTENTS.keys()


def test_a_name_that_says_nothing_is_fine(mnfpn: Mnfpn) -> None:
    """The options do."""
    assert mnfpn("shapes", "--json", "--output", "x.out").code == 0
    assert json.loads(Path("x.out").read_text())["command"] == "shapes"
    assert form_of_file("--output", Path("x.weights"), ["onnx"], "onnx") == "onnx"
