"""What every test can ask for."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
import torch
from hypothesis import settings

from mnfpn_cli.cli.main import run
from mnfpn_cli.models.torchvision import declare_operators

settings.register_profile("mnfpn", deadline=None, max_examples=int(os.environ.get("MNFPN_EXAMPLES", "60")))
settings.load_profile("mnfpn")


def import_torchvision() -> None:
    """Let torchvision be imported beside a torch without CUDA, as `--model` does; what needs it says so itself."""
    try:
        import torchvision  # noqa: F401
    except ImportError:
        return
    except RuntimeError as error:
        if not declare_operators(error):
            raise


def pytest_configure(config: pytest.Config) -> None:
    """Make torchvision importable for all tests."""
    import_torchvision()


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


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    """Small maps on one thread: where cores are shared, torch's threads wait for each other, a minute at worst."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
