"""Repositories of git for tests, with commits whose networks differ."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

FAST = """\
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)

    def forward(self, x):
        return self.conv(x)
"""
SLOW = FAST.replace("nn.Conv2d(3, 8, 3)", "nn.Conv2d(3, 256, 7)")
"""A network, and one that takes at least twenty times as long."""


@dataclass(frozen=True)
class MadeRepository:
    """A repository, its folder, and git in it, apart from the settings of whoever runs the tests."""

    folder: Path

    def git(self, *arguments: str) -> str:
        """Run git, and return what it prints."""
        names = ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL")
        apart = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
        return subprocess.run(
            ["git", *arguments],
            cwd=self.folder,
            env={**os.environ, **dict.fromkeys(names, "someone"), **apart},
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    def commit(self, subject: str, **files: str) -> str:
        """Write files, named without ``.py``, and commit them; return the hash."""
        for name, text in files.items():
            path = self.folder / f"{name.replace('__', '/')}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", subject)
        return self.git("rev-parse", "HEAD").strip()

    def worktrees(self) -> list[str]:
        """The folders of all worktrees but the first, which is the working tree."""
        lines = self.git("worktree", "list", "--porcelain").splitlines()
        return [line.partition(" ")[2] for line in lines if line.startswith("worktree ")][1:]


def made_repository(folder: Path) -> MadeRepository:
    """Make a repository with two commits, of which the second, on a branch of its own, is slower."""
    folder.mkdir(parents=True, exist_ok=True)
    made = MadeRepository(folder)
    made.git("init", "--quiet", "--initial-branch", "main")
    made.commit("Add a network", mynets=FAST)
    made.git("tag", "v1.0")
    made.git("switch", "--quiet", "--create", "wide")
    made.commit("Make it wider", mynets=SLOW)
    return made
