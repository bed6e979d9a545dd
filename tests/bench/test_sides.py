"""What a side is besides its network: interpreters, variables and commits are checked before anything is timed."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mnfpn_cli import __version__
from mnfpn_cli.bench import sides
from mnfpn_cli.bench.sides import PlacedSide, SideLaunch, parse_variables, placed_sides
from mnfpn_cli.bench.worktrees import Repository
from mnfpn_cli.documents.records import WarningRecord
from mnfpn_cli.errors import UsageError
from mnfpn_cli.external.target import parse_target
from tests.bench.repositories import FAST, SLOW, MadeRepository, made_repository

HERE = SideLaunch()
SERIES = ".".join(__version__.split(".")[:2])
"""Below 1.0 the second number of a version changes with what is incompatible."""

Interpreter = Callable[[str], Path]


@pytest.fixture
def interpreter(tmp_path: Path) -> Interpreter:
    """Make a program of a script for the shell, in which $PYTHON is the interpreter of the tests."""

    def make(script: str) -> Path:
        path = tmp_path / "python"
        path.write_text(f"#!/bin/sh\nPYTHON='{sys.executable}'\n{script}\n", encoding="utf-8")
        path.chmod(0o755)
        return path

    return make


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MadeRepository]:
    """A repository that is the current folder; after the test, none of our worktrees may be left."""
    made = made_repository(tmp_path / "repo")
    monkeypatch.chdir(made.folder)
    yield made
    assert made.worktrees() == []


def placed(a: SideLaunch = HERE, b: SideLaunch = HERE) -> tuple[PlacedSide, PlacedSide, list[WarningRecord]]:
    """Place both sides, and remove what was checked out."""
    with placed_sides(a, b, lambda *_: None) as (of_a, of_b, warnings):
        return of_a, of_b, list(warnings)


def lists(**found: object) -> str:
    """The script of an interpreter that says this of itself, and the rest as the one of the tests does."""
    change = f"import json, sys; print(json.dumps({{**json.loads(sys.stdin.readlines()[-1]), **{found!r}}}))"
    return f'"$PYTHON" "$@" | "$PYTHON" -c \'{change.replace(chr(39), chr(34))}\''


def test_a_side_of_nothing_special_runs_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With this interpreter, in the current folder; two such sides do not differ."""
    monkeypatch.chdir(tmp_path)
    a, b, warnings = placed()
    assert (a.python, a.environment, a.folder, a.label, a.where) == (Path(sys.executable), (), tmp_path, "A", "")
    assert (a.record.mnfpn, a.record.commit, a.record.variables) == (__version__, None, {})
    assert a.record.torch
    assert (warnings, a.record.other_packages, replace(b, label="A")) == ([], {}, a)


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("exit 0", "must be a Python interpreter, but it is none, got '{python}'"),
        ("exit 7", "must be a Python interpreter, but it is none, got '{python}'"),
        ("echo 3.12", "must be a Python interpreter, but it is none, got '{python}'"),
        ("echo '{}'", "must be a Python interpreter, but it is none, got '{python}'"),
        ("echo '[1]'", "must be a Python interpreter, but it is none, got '{python}'"),
        ("kill -9 $$", "must be a Python interpreter, but it is none, got '{python}'"),
        (
            '"$PYTHON" -I -S "$@"',
            f"must have mnfpn, but has not, got '{{python}}' (Python {sys.version.split()[0]}); "
            f"install it: {{python}} -m pip install mnfpn=={__version__}",
        ),
        (
            lists(mnfpn="47.1.0"),
            f"must have mnfpn {SERIES}.x, got '{{python}}' with 47.1.0; "
            f"install it: {{python}} -m pip install mnfpn=={__version__}",
        ),
        (
            lists(mnfpn="0.99.1"),
            f"must have mnfpn {SERIES}.x, got '{{python}}' with 0.99.1; "
            f"install it: {{python}} -m pip install mnfpn=={__version__}",
        ),
        (
            lists(lacks=["torch", "psutil"]),
            "must have all that mnfpn needs, but has no torch, no psutil, got '{python}'; "
            f"install it: {{python}} -m pip install mnfpn=={__version__}",
        ),
        (lists(version=[3, 8, 2]), "must be Python 3.11 or newer, got '{python}', which is 3.8.2"),
    ],
)
def test_an_interpreter_that_cannot_be_used_is_an_error(interpreter: Interpreter, script: str, message: str) -> None:
    """What must hold, and what to install where that helps."""
    python = interpreter(script)
    with pytest.raises(UsageError) as error:
        placed(b=SideLaunch(python))
    assert str(error.value) == f"b_python: {message.format(python=python)}"


def test_an_interpreter_that_never_answers_is_an_error(
    interpreter: Interpreter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is ended."""
    monkeypatch.setattr(sides, "LOOK_S", 1)
    with pytest.raises(UsageError, match="must be a Python interpreter, but gave no answer in 1 s"):
        placed(SideLaunch(interpreter("exec sleep 60")))


def test_a_file_that_is_no_program_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder may be a virtual environment, whose interpreter is named."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "venv" / "bin").mkdir(parents=True)
    (tmp_path / "venv" / "bin" / "python").touch()
    (tmp_path / "broken").write_text("no program", encoding="utf-8")
    (tmp_path / "broken").chmod(0o755)
    messages = {
        "none": "must be a Python interpreter, but there is no such file, got 'none'",
        "venv": "must be a Python interpreter, but it is a folder, got 'venv'; did you mean 'venv/bin/python'?",
        "venv/bin": "must be a Python interpreter, but it is a folder, got 'venv/bin'",
        "venv/bin/python": "must be a Python interpreter, but it cannot be run, got 'venv/bin/python'",
    }
    for name, message in messages.items():
        with pytest.raises(UsageError) as error:
            placed(SideLaunch(Path(name)))
        assert str(error.value) == f"a_python: {message}"
    with pytest.raises(UsageError, match=r"it cannot be run: .*Exec format error"):
        placed(SideLaunch(Path("broken")))


def test_an_interpreter_may_be_a_command(interpreter: Interpreter, monkeypatch: pytest.MonkeyPatch) -> None:
    """As python3.12, which the shell would find too; one in a virtual environment is not resolved to another."""
    made = interpreter('exec "$PYTHON" "$@"')
    link = made.with_name("my-python")
    link.symlink_to(made)
    monkeypatch.setenv("PATH", str(made.parent), prepend=os.pathsep)
    a, _, _ = placed(SideLaunch(Path("my-python")))
    assert (a.python, a.record.python) == (link, "my-python")


def test_versions_that_differ_are_listed(interpreter: Interpreter) -> None:
    """The packages in the record, and a few of them in the warning."""
    script = lists(version=[3, 99, 1], mnfpn=f"{__version__}1", packages={"Torch": "9.9", "numpy_x": "1"})
    a, b, warnings = placed(b=SideLaunch(interpreter(script)))
    of = {one.kind: one.cause for one in warnings}
    assert list(of) == ["other_python", "other_torch", "other_mnfpn", "other_packages"]
    assert of["other_torch"] == f"torch differs: {a.record.torch} against 9.9"
    assert of["other_mnfpn"] == f"mnfpn differs: {__version__} against {__version__}1"
    assert b.record.other_packages["numpy-x"] == "1"
    assert a.record.other_packages["numpy-x"] is None
    assert b.record.other_packages["pydantic"] is None
    assert of["other_packages"].startswith(f"{len(b.record.other_packages)} other packages differ: ")


@pytest.mark.parametrize("text", ["OMP_NUM_THREADS", "=1", "", "A=1\0"])
def test_a_variable_that_is_none_is_an_error(text: str) -> None:
    """It must have a name, a sign and a value."""
    with pytest.raises(UsageError) as error:
        parse_variables("`a_env`", ["B=2", text])
    assert str(error.value) == f"a_env: must be KEY=VALUE, as OMP_NUM_THREADS=1, got '{text}'"


def test_a_variable_is_given_once() -> None:
    """Its value may be empty, and may have a sign of its own."""
    assert parse_variables("`a_env`", ["A=", "B=x=y"]) == (("A", ""), ("B", "x=y"))
    with pytest.raises(UsageError) as error:
        parse_variables("`a_env`", ["A=1", "B=1", "A=2"])
    assert str(error.value) == "a_env: must give A once, got '1' and '2'"


def test_variables_are_there_when_an_interpreter_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They may decide what it imports."""
    (tmp_path / "current").mkdir()
    monkeypatch.chdir(tmp_path / "current")
    (tmp_path / "mnfpn_cli.py").write_text(f"__version__ = '{__version__}.dev7'\n", encoding="utf-8")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    a, _, (warning,) = placed(SideLaunch(environment=(("PYTHONPATH", path),)))
    assert (a.record.mnfpn, a.record.variables) == (f"{__version__}.dev7", {"PYTHONPATH": path})
    assert warning.helps == "the same mnfpn on both sides: it is what measures"


def test_each_side_has_its_commit(repository: MadeRepository) -> None:
    """Relative paths are those of the commit, an error names it; what was checked out is gone afterwards."""
    repository.commit("Rename it", others=FAST)
    a, b = SideLaunch(ref="main"), SideLaunch(ref="HEAD")
    with placed_sides(a, b, lambda *_: None) as (of_a, of_b, warnings):
        assert [(one.folder / "mynets.py").read_text(encoding="utf-8") for one in (of_a, of_b)] == [FAST, SLOW]
        assert (of_a.record.commit and of_a.record.commit.subject, warnings) == ("Add a network", ())
        with of_b.here():
            assert parse_target("others.py:Net").file == Path("others.py")
        with pytest.raises(UsageError) as error, of_a.here():
            parse_target("others.py:Net")
        assert of_a.record.commit is not None
        assert str(error.value).startswith(f"a_ref main ({of_a.record.commit.hash[:7]}): model: ")
        assert Path.cwd() == repository.folder
    assert not of_a.folder.exists()


def test_what_is_not_compared_is_said(repository: MadeRepository) -> None:
    """Changes, submodules, and that two names are one commit."""
    (repository.folder / ".gitmodules").write_text('[submodule "x"]\npath = x\nurl = y\n', encoding="utf-8")
    repository.commit("Submodule", mynets=SLOW)
    (repository.folder / "mynets.py").write_text("changed", encoding="utf-8")
    a, b, warnings = placed(SideLaunch(ref="wide"), SideLaunch(ref="HEAD"))
    assert [one.kind for one in warnings] == ["same_commit", *["uncommitted", "submodules"] * 2]
    assert a.record.commit is not None
    assert (b.label.startswith("B at HEAD ("), b.where.startswith("`b_ref` HEAD (")) == (True, True)
    short = a.record.commit.hash[:7]
    assert warnings[0].cause == f"A and B are the same commit: wide ({short}) and HEAD ({short})"
    assert warnings[1].cause == f"A is wide ({short}): changes that are not committed are not compared"


def test_both_commits_are_looked_up_before_one_is_checked_out(
    repository: MadeRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong one costs no time."""
    monkeypatch.setattr(Repository, "checked_out", None)
    assert repository.folder.exists()
    with pytest.raises(UsageError, match="b_ref: must be a commit of this repository, got 'none'"):
        placed(SideLaunch(ref="main"), SideLaunch(ref="none"))


def imported(side: PlacedSide, name: str) -> str:
    """The file that a side imports for a module."""
    command = [str(side.python), "-c", f"import {name}; print({name}.__file__)"]
    environment = {**os.environ, **dict(side.environment)}
    done = subprocess.run(command, cwd=side.folder, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()


MAPPED = """\
import sys
class Finder:
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        from importlib.util import spec_from_file_location
        return spec_from_file_location(name, MAPPING[name]) if name in MAPPING else None
MAPPING = {"mapped": %r}
sys.meta_path.append(Finder)
"""


def test_packages_in_editable_mode_are_those_of_the_commit(
    repository: MadeRepository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a path of the working tree, as of a .pth file, or by a finder of setuptools; other paths stay."""
    repository.commit("Packages", src__package__nets=FAST, src__package____init__="", flat__mapped="")
    site, other = tmp_path / "site", tmp_path / "other"
    for folder in (site, other):
        folder.mkdir()
    (site / "sitecustomize.py").write_text("import editable_finder\n", encoding="utf-8")
    (site / "editable_finder.py").write_text(MAPPED % str(repository.folder / "flat" / "mapped.py"), encoding="utf-8")
    (other / "elsewhere.py").touch()
    before = os.environ.get("PYTHONPATH", "")
    paths = [str(site), str(repository.folder / "src"), str(other), *([before] if before else [])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    with placed_sides(SideLaunch(ref="HEAD"), HERE, lambda *_: None) as (a, b, _):
        for name, path in (("package.nets", "src/package/nets.py"), ("mapped", "flat/mapped.py")):
            assert imported(a, name) == str(a.folder / path)
            assert imported(b, name) == str(repository.folder / path)
        assert imported(a, "elsewhere") == imported(b, "elsewhere") == str(other / "elsewhere.py")
        assert a.record.variables == {}


def test_a_virtual_environment_in_the_working_tree_stays(repository: MadeRepository, interpreter: Interpreter) -> None:
    """Its packages are in no commit."""
    folder = repository.folder
    paths = ["", str(folder / ".venv" / "lib"), str(folder / "src")]
    python = interpreter(lists(path=paths, prefix=str(folder / ".venv")))
    with placed_sides(SideLaunch(python, (("A", "1"),), "HEAD"), HERE, lambda *_: None) as (a, _, _):
        inherited = os.environ.get("PYTHONPATH", "")
        wanted = os.pathsep.join([str(a.folder / "src"), *([inherited] if inherited else [])])
        assert a.environment == (("A", "1"), ("PYTHONPATH", wanted))
