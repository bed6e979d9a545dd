"""`compare` from Python: sides that are other commits, interpreters or variables."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import mnfpn_cli.api as mnfpn
from mnfpn_cli.errors import UsageError
from tests.bench.repositories import MadeRepository, made_repository

TARGET = "mynets.py:Net"


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MadeRepository]:
    """A repository that is the current folder; after the test, none of our worktrees may be left."""
    made = made_repository(tmp_path / "repo")
    monkeypatch.chdir(made.folder)
    yield made
    assert made.worktrees() == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"python": 3}, "a_python: must be the name of a file, got an object of type int"),
        ({"python": "none"}, "a_python: must be a Python interpreter, but there is no such file, got 'none'"),
        ({"env": "A=1"}, "a_env: must be names without = and values, as text, got 'A=1'"),
        ({"env": {"A": 1}}, "a_env: must be names without = and values, as text, got {'A': 1}"),
        ({"env": {"": "1"}}, "a_env: must be KEY=VALUE, as OMP_NUM_THREADS=1, got '=1'"),
        ({"ref": 3}, "a_ref: must be the name of a commit, got an object of type int"),
        ({"ref": "none"}, "a_ref: must be a commit of this repository, got 'none'"),
    ],
)
def test_a_wrong_argument_of_a_side_is_an_error(
    repository: MadeRepository, arguments: dict[str, Any], message: str
) -> None:
    """It names the argument, the rule and the value."""
    assert repository.folder.exists()
    with pytest.raises(UsageError) as error:
        mnfpn.compare(mnfpn.Side(TARGET, **arguments), TARGET, size=64)
    assert str(error.value) == message


def test_processes_are_a_whole_number() -> None:
    """And are no argument of results."""
    with pytest.raises(UsageError, match="processes: must be a whole number from 1 to 64, got 0"):
        mnfpn.compare(mnfpn.settings(), mnfpn.settings(), processes=0)
    with pytest.raises(UsageError, match="processes: cannot be used with results, which are measured already"):
        mnfpn.compare("a.json", "b.json", processes=2)


def test_what_is_of_this_process_alone_is_an_error(repository: MadeRepository) -> None:
    """A module, or tensors: no other process has them."""
    assert repository.folder.exists()
    with pytest.raises(UsageError, match="a: needs another process: a module is of this process alone; give a target"):
        mnfpn.compare(mnfpn.Side(nn.Conv2d(3, 8, 3), ref="main"), TARGET, size=64)
    with pytest.raises(UsageError, match="a: needs another process: tensors are of this process alone; give shapes"):
        mnfpn.compare(TARGET, mnfpn.Side(TARGET, env={"A": "1"}), torch.rand(1, 3, 64, 64))


def test_a_model_that_a_commit_lacks_is_an_error(repository: MadeRepository) -> None:
    """With the commit."""
    repository.commit("Add another", others="")
    with pytest.raises(UsageError, match=r"^a_ref main \(\w{7}\): a: network: "):
        mnfpn.compare(mnfpn.Side("others.py:Net", ref="main"), "others.py:Net", size=64)


@pytest.mark.slow
def test_two_commits_are_compared(repository: MadeRepository) -> None:
    """In processes of their own; the document says of each what it was."""
    assert repository.folder.exists()
    document = mnfpn.compare(
        mnfpn.Side(TARGET, ref="main"), mnfpn.Side(TARGET, ref="HEAD", env={"A": "1"}, name="wide"),
        size=64, device="cpu", threads=1, passes=4, warmup=1, processes=2, fail_if_larger="5%",
    )  # fmt: skip
    assert (document.a.name, document.b.name) == (TARGET, "wide")
    assert document.a.environment is not None
    assert document.b.environment is not None
    assert document.b.environment.variables == {"A": "1"}
    assert [
        one.environment.commit.subject for one in (document.a, document.b) if one.environment and one.environment.commit
    ] == [
        "Add a network",
        "Make it wider",
    ]
    assert document.runs[0].b.processes == (4, 4)
    assert 0 < (document.runs[0].turn_s or 0) < 1
    assert len(document.gates.broken) >= 2
    assert "commit" in str(document)
    assert len(document.to_pandas()) == 2
