"""What every test can ask for."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from hypothesis import settings

from mnfpn_cli.cli.main import run

settings.register_profile("mnfpn", deadline=None, max_examples=int(os.environ.get("MNFPN_EXAMPLES", "60")))
settings.load_profile("mnfpn")


@dataclass(frozen=True)
class Outcome:
    """How a command ended, and what it wrote."""

    code: int
    out: str
    err: str


Mnfpn = Callable[..., Outcome]


@pytest.fixture
def mnfpn(capsys: pytest.CaptureFixture[str]) -> Mnfpn:
    """Run the command line in this process."""

    def call(*arguments: str) -> Outcome:
        code = run(arguments)
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return call


@pytest.fixture
def mnfpn_process() -> Mnfpn:
    """Run the command line in a process of its own, through pipes."""

    def call(*arguments: str, input: str | None = None) -> Outcome:
        command = [sys.executable, "-m", "mnfpn_cli", *arguments]
        done = subprocess.run(command, input=input, capture_output=True, text=True, timeout=120, check=False)
        return Outcome(done.returncode, done.stdout, done.stderr)

    return call
