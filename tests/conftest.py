"""What every test can ask for, and the two tiers: all but the tests marked slow, and with ``--all`` those too."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import psutil
import pytest
from hypothesis import settings

from mnfpn_cli.cli.main import run
from mnfpn_cli.measure.engine import Settling
from tests.documents.validated import check_document

WORKER_BYTES = 2 * 2**30
"""Memory that one process of tests may take."""

MOST_WORKERS = 8
"""More processes wait for the longest file of tests anyway, and each imports torch."""

settings.register_profile("quick", deadline=None, max_examples=10, derandomize=True, database=None)
settings.register_profile("all", deadline=None, max_examples=60, print_blob=True)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare ``--all``."""
    parser.addoption(
        "--all", action="store_true", help="Run the slow tests too, and more examples of the property tests."
    )


def pytest_configure(config: pytest.Config) -> None:
    """Choose how many examples property tests take, and make torchvision importable for all tests."""
    settings.load_profile("all" if config.getoption("--all") else "quick")
    starts_workers = config.getoption("numprocesses", 0) and not hasattr(config, "workerinput")
    if not starts_workers:
        import_torchvision()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the slow tests, unless all are wanted."""
    if config.getoption("--all"):
        return
    slow = [item for item in items if item.get_closest_marker("slow")]
    config.hook.pytest_deselected(items=slow)
    items[:] = [item for item in items if not item.get_closest_marker("slow")]


def pytest_xdist_auto_num_workers() -> int:
    """As many processes as this one may use cores, and as memory is there for."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, MOST_WORKERS, psutil.virtual_memory().available // WORKER_BYTES))


def import_torchvision() -> None:
    """Let torchvision be imported beside a torch without CUDA, as `--model` does; what needs it says so itself."""
    from mnfpn_cli.external.torchvision import declare_operators

    try:
        import torchvision  # noqa: F401
    except ImportError:
        return
    except RuntimeError as error:
        if not declare_operators(error):
            raise


@dataclass(frozen=True)
class Outcome:
    """How a command ended, and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def problems(self) -> str:
        """Standard error, without the lines that a sweep prints for each run and each training."""
        return re.sub(r"^(?:trained )?\d+ of \d+: .*\n", "", self.err, flags=re.MULTILINE)


Mnfpn = Callable[..., Outcome]


@pytest.fixture
def mnfpn(capsys: pytest.CaptureFixture[str]) -> Mnfpn:
    """Run the command line in this process."""

    def call(*arguments: str) -> Outcome:
        code = run(arguments)
        captured = capsys.readouterr()
        check_document(captured.out)
        return Outcome(code, captured.out, captured.err)

    return call


@pytest.fixture
def mnfpn_process() -> Mnfpn:
    """Run the command line in a process of its own, through pipes."""

    def call(*arguments: str, input: str | None = None) -> Outcome:
        command = [sys.executable, "-m", "mnfpn_cli", *arguments]
        done = subprocess.run(command, input=input, capture_output=True, text=True, timeout=300, check=False)
        check_document(done.stdout)
        return Outcome(done.returncode, done.stdout, done.stderr)

    return call


@pytest.fixture
def one_pass_settles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out one pass where the timed run changes, however short it is, so that a test can count passes."""
    for name in ("OTHER_RUNTIME", "SAME_RUNTIME"):
        monkeypatch.setattr(f"mnfpn_cli.measure.engine.{name}", Settling(rest_s=0.0, passes_s=0.0))


@pytest.fixture(autouse=True)
def _memory_goes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse `--allocator keep` in this process, which could not go back for the tests that follow."""
    rule = "this test would have the process keep memory for all that follow: use the fixture mnfpn_process"
    monkeypatch.setattr("mnfpn_cli.devices.allocator._keep", lambda: pytest.fail(rule))


@pytest.fixture(autouse=True)
def _eighty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same terminal for all tests, whatever the one is that they are run from."""
    for name in ("LINES", "NO_COLOR", "FORCE_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "PY_COLORS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm-256color")


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    """Small maps on one thread: where cores are shared, torch's threads wait for each other, a minute at worst."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def _same_numbers() -> None:
    """Start each test with the same random numbers, whatever ran before it."""
    from tests.torch_random import TORCH_RANDOM

    TORCH_RANDOM.seed(0)
