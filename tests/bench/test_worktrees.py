"""Commits in temporary folders: they are there in the block, gone after it, and the user's files are never touched."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from mnfpn_cli.bench import worktrees
from mnfpn_cli.bench.worktrees import NAME, find_repository
from mnfpn_cli.errors import MnfpnError, UsageError
from tests.bench.repositories import FAST, SLOW, MadeRepository, made_repository

WHERE = "`a_ref`"


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MadeRepository]:
    """A repository that is the current folder; after the test, none of our worktrees may be left."""
    made, temporary = made_repository(tmp_path / "my repo"), tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.chdir(made.folder)
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    yield made
    assert made.worktrees() == []
    assert list(temporary.iterdir()) == []


def test_a_commit_is_in_a_folder_of_its_own(repository: MadeRepository) -> None:
    """While the block lasts; the working tree stays as it is, with its changes."""
    (repository.folder / "mynets.py").write_text("changed", encoding="utf-8")
    (repository.folder / "new.py").write_text("new", encoding="utf-8")
    index = (repository.folder / ".git" / "index").read_bytes()
    found = find_repository(WHERE)
    with found.checked_out(found.commit("main", WHERE), WHERE) as a:
        with found.checked_out(found.commit("wide", WHERE), WHERE) as b:
            assert [(one.folder / "mynets.py").read_text(encoding="utf-8") for one in (a, b)] == [FAST, SLOW]
            assert len(repository.worktrees()) == 2
        assert repository.worktrees() == [str(a.root)]
    assert (repository.folder / "mynets.py").read_text(encoding="utf-8") == "changed"
    assert (repository.folder / ".git" / "index").read_bytes() == index
    assert repository.git("branch", "--show-current").strip() == "wide"


def test_the_current_folder_is_found_in_the_commit(repository: MadeRepository, monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit without it is an error that names it."""
    repository.commit("Add a folder", nets__other=FAST)
    monkeypatch.chdir(repository.folder / "nets")
    found = find_repository(WHERE)
    with found.checked_out(found.commit("HEAD", WHERE), WHERE) as worktree:
        assert (worktree.folder / "other.py").exists()
        assert worktree.moved(Path("other.py")) == worktree.root / "nets" / "other.py"
        assert worktree.moved(Path("/elsewhere")) is None
    old = found.commit("v1.0", WHERE)
    message = f"a_ref: v1.0 ({old.hash[:7]}) must have the current folder, got 'nets'"
    with pytest.raises(UsageError, match=message.replace("(", r"\(").replace(")", r"\)")):
        found.checked_out(old, WHERE).__enter__()


@pytest.mark.parametrize(
    ("ref", "message"),
    [
        ("mian", "a_ref: must be a commit of this repository, got 'mian'; did you mean 'main'?"),
        ("v1.1", "a_ref: must be a commit of this repository, got 'v1.1'; did you mean 'v1.0'?"),
        ("topic", "a_ref: must be a commit of this repository, got 'topic'; did you mean 'origin/topic'?"),
        ("0123456789", "a_ref: must be a commit of this repository, got '0123456789'"),
        ("", "a_ref: must be a commit of this repository, got ''"),
        ("--all", "a_ref: must be a commit of this repository, got '--all'"),
        ("HEAD~9", "a_ref: must be a commit of this repository, got 'HEAD~9'"),
        ("HEAD:mynets.py", "a_ref: must be a commit of this repository, got 'HEAD:mynets.py'"),
    ],
)
def test_a_commit_that_does_not_exist_is_an_error(repository: MadeRepository, ref: str, message: str) -> None:
    """With the branch or tag that may be meant, also one that only the remote has."""
    repository.git("update-ref", "refs/remotes/origin/topic", "HEAD")
    with pytest.raises(UsageError) as error:
        find_repository(WHERE).commit(ref, WHERE)
    assert str(error.value) == message


def test_a_clone_without_its_history_says_so(repository: MadeRepository, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the checkout of a pipeline makes it."""
    clone = repository.folder.parent / "clone"
    repository.git("clone", "--quiet", "--depth", "1", repository.folder.as_uri(), str(clone))
    monkeypatch.chdir(clone)
    with pytest.raises(UsageError, match="this clone has not all of the history: git fetch --unshallow gets it"):
        find_repository(WHERE).commit("v1.0", WHERE)


def test_a_commit_has_its_short_hash_and_its_subject(repository: MadeRepository) -> None:
    """A hash that was given is not said twice."""
    found = find_repository(WHERE).commit("v1.0", WHERE)
    assert (str(found), found.subject) == (f"v1.0 ({found.hash[:7]})", "Add a network")
    assert str(find_repository(WHERE).commit(found.hash[:10], WHERE)) == found.hash[:7]


def test_changes_count_where_the_commit_is_the_current_one(repository: MadeRepository) -> None:
    """They are no part of it."""
    found = find_repository(WHERE)
    head, old = found.commit("HEAD", WHERE), found.commit("main", WHERE)
    assert not found.uncommitted(head)
    (repository.folder / "mynets.py").write_text("changed", encoding="utf-8")
    assert found.uncommitted(head)
    assert not found.uncommitted(old)


def test_a_folder_without_a_repository_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It names the folder."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError) as error:
        find_repository(WHERE)
    assert str(error.value) == f"a_ref: needs a git repository, but this folder is in none, got '{tmp_path}'"


def test_a_machine_without_git_is_an_error(repository: MadeRepository, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 1: the usage is right."""
    with monkeypatch.context() as patched:
        patched.setenv("PATH", str(repository.folder))
        with pytest.raises(MnfpnError) as error:
            find_repository(WHERE)
    assert (str(error.value), error.value.exit_code) == ("a_ref: needs git, which is not installed", 1)


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, SystemExit])
def test_nothing_is_left_after_an_error_in_the_block(repository: MadeRepository, error: type[BaseException]) -> None:
    """The fixture looks."""
    found = find_repository(WHERE)

    def run() -> None:
        with found.checked_out(found.commit("main", WHERE), WHERE) as worktree:
            (worktree.root / "made_by_a_run").mkdir()
            raise error

    with pytest.raises(error):
        run()


def test_ctrl_c_while_it_is_checked_out_leaves_nothing(
    repository: MadeRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Git and what it started are killed in the middle: a filter of the checkout waits for ever."""
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "filter.slow.smudge")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "echo $$ > ../filter.pid; sleep 60")
    (repository.folder / ".gitattributes").write_text("*.py filter=slow\n", encoding="utf-8")
    repository.git("add", ".gitattributes")
    repository.git("commit", "--quiet", "--message", "Filter")
    found, note = find_repository(WHERE), repository.folder.parent / "temporary" / "filter.pid"
    commit = found.commit("HEAD", WHERE)
    real = subprocess.Popen.communicate

    def interrupted(process: "subprocess.Popen[str]") -> tuple[str, str]:
        if "'worktree', 'add'" not in str(process.args):
            return real(process)
        while not note.exists() or not note.read_text(encoding="utf-8"):
            time.sleep(0.01)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(subprocess.Popen, "communicate", interrupted)
        with pytest.raises(KeyboardInterrupt):
            found.checked_out(commit, WHERE).__enter__()
    pid = int(note.read_text(encoding="utf-8"))
    note.unlink()
    with suppress(psutil.NoSuchProcess):
        psutil.Process(pid).wait(timeout=10)


KILLED = """
import sys, time
from mnfpn_cli.bench.worktrees import find_repository
found = find_repository("`a_ref`")
with found.checked_out(found.commit("main", "`a_ref`"), "`a_ref`") as worktree:
    print(worktree.root, flush=True)
    time.sleep(60)
"""


def test_what_a_killed_process_left_is_removed_the_next_time(repository: MadeRepository) -> None:
    """While it lives, its worktree stays."""
    environment = {**os.environ, "TMPDIR": str(repository.folder.parent / "temporary")}
    command = [sys.executable, "-c", KILLED]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        left = process.stdout.readline().strip()
        found = find_repository(WHERE)
        with found.checked_out(found.commit("main", WHERE), WHERE):
            assert left in repository.worktrees()
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert repository.worktrees() == [left]
        with found.checked_out(found.commit("main", WHERE), WHERE):
            assert left not in repository.worktrees()
        assert not Path(left).exists()


def test_a_worktree_that_is_not_whole_is_removed(repository: MadeRepository) -> None:
    """Killed in the middle of adding: locked by git, its folder gone. The user's own stay, also one that is lost."""
    temporary = repository.folder.parent / "temporary"
    own, lost = repository.folder.parent / "own", repository.folder.parent / "lost"
    for folder in (own, lost, temporary / f"{NAME}0123"):
        repository.git("worktree", "add", "--quiet", "--detach", str(folder), "main")
    repository.git("worktree", "lock", "--reason", "initializing", str(temporary / f"{NAME}0123"))
    for folder in (lost, temporary / f"{NAME}0123"):
        subprocess.run(["rm", "-r", str(folder)], check=True)
    found = find_repository(WHERE)
    with found.checked_out(found.commit("main", WHERE), WHERE):
        pass
    assert set(repository.worktrees()) == {str(own), str(lost)}
    repository.git("worktree", "prune")
    repository.git("worktree", "remove", str(own))


def test_no_hook_runs_and_no_index_of_a_hook_is_written(
    repository: MadeRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command may itself be a hook, for which git sets the name of an index."""
    hook = repository.folder / ".git" / "hooks" / "post-checkout"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\ntouch ran\n", encoding="utf-8")
    hook.chmod(0o755)
    index = repository.folder / ".git" / "index"
    before = index.read_bytes()
    monkeypatch.setenv("GIT_INDEX_FILE", str(index))
    found = find_repository(WHERE)
    with found.checked_out(found.commit("main", WHERE), WHERE) as worktree:
        assert sorted(path.name for path in worktree.root.iterdir()) == [".git", "mynets.py"]
    assert index.read_bytes() == before


def test_a_folder_that_cannot_be_written_is_an_error(
    repository: MadeRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As git puts it."""
    found = find_repository(WHERE)
    commit = found.commit("main", WHERE)
    (repository.folder / ".git" / "worktrees").write_text("no folder", encoding="utf-8")
    with pytest.raises(
        MnfpnError, match=r"a_ref: main \(\w{7}\) could not be checked out: could not create leading directories"
    ):
        found.checked_out(commit, WHERE).__enter__()
    (repository.folder / ".git" / "worktrees").unlink()


def test_submodules_are_seen(repository: MadeRepository) -> None:
    """They are not checked out."""
    found = find_repository(WHERE)
    with found.checked_out(found.commit("main", WHERE), WHERE) as worktree:
        assert not worktree.has_submodules
    (repository.folder / ".gitmodules").write_text('[submodule "x"]\npath = x\nurl = y\n', encoding="utf-8")
    repository.git("add", ".gitmodules")
    repository.git("commit", "--quiet", "--message", "Submodule")
    with found.checked_out(found.commit("HEAD", WHERE), WHERE) as worktree:
        assert worktree.has_submodules


def test_a_system_without_locks_leaves_what_is_there(
    repository: MadeRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder of ours that exists may be in use."""
    folder = repository.folder.parent / "temporary" / f"{NAME}0123"
    repository.git("worktree", "add", "--quiet", "--detach", str(folder), "main")
    found = find_repository(WHERE)
    with monkeypatch.context() as patched:
        patched.setattr(worktrees, "_hold", lambda _: None)
        with found.checked_out(found.commit("main", WHERE), WHERE):
            assert str(folder) in repository.worktrees()
    with found.checked_out(found.commit("main", WHERE), WHERE):
        assert str(folder) not in repository.worktrees()
