"""Commits of the user's repository in temporary folders, as worktrees of git; the user's files are never touched.

Each folder is locked while its process lives, so that one that was left behind is known, and removed the next time.
"""

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from mnfpn_cli.errors import MnfpnError, Problem, UsageError
from mnfpn_cli.text import did_you_mean

NAME = "mnfpn-compare-"
"""How the names of our worktrees begin."""

SHORT = 7
"""Digits of a commit's short hash."""


@dataclass(frozen=True)
class Commit:
    """A commit of the user's repository; ``ref`` is what the user called it."""

    ref: str
    hash: str
    subject: str

    def __str__(self) -> str:
        short = self.hash[:SHORT]
        return short if self.hash.startswith(self.ref) else f"{self.ref} ({short})"


@dataclass(frozen=True)
class Repository:
    """The user's repository: the root of its working tree, and the place of the current folder below it."""

    top: Path
    within: Path

    def commit(self, ref: str, where: str) -> Commit:
        """Return the commit of a branch, a tag, a hash or anything else that git takes for a commit.

        Raises:
            UsageError: if there is none; names the parameter ``where``.
        """
        found = self._git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")
        if not ref or found.returncode:
            raise UsageError(Problem(where, "must be a commit of this repository", f"'{ref}'", self._hint(ref)))
        commit = found.stdout.strip()
        return Commit(ref, commit, self._git("log", "-1", "--format=%s", commit).stdout.strip())

    def uncommitted(self, commit: Commit) -> bool:
        """Return whether a commit is the current one, and files differ from it."""
        if self._git("rev-parse", "HEAD").stdout.strip() != commit.hash:
            return False
        return bool(self._git("status", "--porcelain", "--untracked-files=no").stdout.strip())

    @contextmanager
    def checked_out(self, commit: Commit, where: str) -> Iterator["Worktree"]:
        """Yield a worktree of a commit; it is removed after the block, whatever happens there.

        Raises:
            UsageError: if the commit does not have the current folder; names the parameter ``where``.
            MnfpnError: if it cannot be checked out.
        """
        self._remove_left()
        # Named before it is made, so that Ctrl-C at any moment removes it.
        folder = Path(tempfile.gettempdir()).resolve() / f"{NAME}{secrets.token_hex(8)}"
        held = None
        try:
            folder.mkdir(mode=0o700)
            held = _hold(folder)
            # No hook of the user's runs: one that is for a checkout may write anywhere.
            made = self._git("-c", f"core.hooksPath={os.devnull}", "worktree", "add", "--detach", folder, commit.hash)
            if made.returncode:
                raise MnfpnError(Problem(where, f"{commit} could not be checked out: {_last_line(made.stderr)}"))
            worktree = Worktree(self, commit, folder)
            if not worktree.folder.is_dir():
                raise UsageError(Problem(where, f"{commit} must have the current folder", f"'{self.within}'"))
            yield worktree
        finally:
            self._remove(folder)
            if held is not None:
                os.close(held)

    def _hint(self, ref: str) -> str:
        """Return what the user may have meant by a name that is no commit, or why it may be missing."""
        names = self._git("for-each-ref", "--format=%(refname:short)", "refs/heads", "refs/tags", "refs/remotes")
        known = names.stdout.split()
        remote = [name for name in known if ref and name.endswith(f"/{ref}")]
        hint = f"; did you mean '{remote[0]}'?" if remote else did_you_mean(ref, known)
        if not hint and self._git("rev-parse", "--is-shallow-repository").stdout.strip() == "true":
            return "; this clone has not all of the history: git fetch --unshallow gets it"
        return hint

    def _remove_left(self) -> None:
        """Remove our worktrees of processes that were killed. Those of others, and of the user, stay."""
        listed = self._git("worktree", "list", "--porcelain").stdout.splitlines()
        folders = [Path(line.partition(" ")[2]) for line in listed if line.startswith("worktree ")]
        for folder in folders:
            if folder.name.startswith(NAME) and not _is_held(folder):
                self._remove(folder)

    def _remove(self, folder: Path) -> None:
        """Remove a worktree, also one that is not whole; `git worktree prune` might remove the user's own."""
        shutil.rmtree(folder, ignore_errors=True)
        self._git("worktree", "remove", "--force", "--force", folder)  # once more for one that is locked

    def _git(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return _git(self.top, *arguments)


@dataclass(frozen=True)
class Worktree:
    """A commit in a temporary folder, ``root``."""

    repository: Repository
    commit: Commit
    root: Path

    @property
    def folder(self) -> Path:
        """The current folder, as the commit has it."""
        return self.root / self.repository.within

    @property
    def leaves_changes_out(self) -> bool:
        """Whether its commit is the current one, and files of the working tree differ from it."""
        return self.repository.uncommitted(self.commit)

    @property
    def has_submodules(self) -> bool:
        """Whether the commit has submodules, which are not checked out."""
        return (self.root / ".gitmodules").exists()

    def moved(self, path: Path) -> Path | None:
        """Return the place in this worktree of a path in the working tree; None for other paths."""
        top, found = self.repository.top, path.resolve()
        return self.root / found.relative_to(top) if found.is_relative_to(top) else None


def find_repository(where: str) -> Repository:
    """Return the repository of the current folder.

    Raises:
        UsageError: if the folder is in none; names the parameter ``where``.
        MnfpnError: if git is not installed, or refuses to read it.
    """
    here = Path.cwd()
    try:
        found = _git(here, "rev-parse", "--show-toplevel")
    except FileNotFoundError:
        raise MnfpnError(Problem(where, "needs git, which is not installed")) from None
    if "not a git repository" in found.stderr:
        raise UsageError(Problem(where, "needs a git repository, but this folder is in none", f"'{here}'"))
    if found.returncode:
        raise MnfpnError(Problem(where, f"git could not read the repository: {_last_line(found.stderr)}"))
    top = Path(found.stdout.removesuffix("\n")).resolve()
    return Repository(top, here.resolve().relative_to(top))


def _git(folder: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run git in a folder. After any exception, it and all that it started are killed.

    Raises:
        FileNotFoundError: if git is not installed.
    """
    # A hook of git names an index file; an optional lock would write the index.
    inherited = {name: value for name, value in os.environ.items() if name not in ("GIT_INDEX_FILE", "GIT_PREFIX")}
    with subprocess.Popen(
        ["git", *arguments],
        cwd=folder,
        env={**inherited, "LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="surrogateescape",
        start_new_session=True,  # Ctrl-C is for us, who clean up
    ) as process:
        try:
            out, err = process.communicate()
        except BaseException:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def _last_line(text: str) -> str:
    lines = text.strip().splitlines() or ["it gave no reason"]
    return lines[-1].removeprefix("fatal: ").replace("`", "'")


def _hold(folder: Path) -> int | None:
    """Lock a folder for as long as this process lives; return what to close. None where the system cannot."""
    if sys.platform == "win32":
        return None
    import fcntl

    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _is_held(folder: Path) -> bool:
    """Return whether a process that lives has locked a folder; one that is gone is locked by none."""
    if not folder.exists():
        return False
    descriptor = _hold(folder)
    if descriptor is None:
        return True
    os.close(descriptor)
    return False
