"""Signals that ask to end: what was measured is kept, and the exit code is 128 + the signal's number."""

import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from mnfpn_cli.cli import interrupts
from mnfpn_cli.cli.interrupts import ENDING, exit_code, interruptible, stopping
from mnfpn_cli.errors import INTERRUPTED, NothingMeasuredError
from tests.processes import signals_by_default


@pytest.fixture(autouse=True)
def _by_default(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(interrupts, "received", [])
    with signals_by_default():
        yield


@pytest.mark.parametrize("number", ENDING)
def test_each_signal_is_ctrl_c_and_handlers_are_put_back(number: signal.Signals) -> None:
    """What measures catches it; where nothing does, there was nothing yet."""
    before = [signal.getsignal(one) for one in ENDING]
    with interruptible(lambda *_: None), pytest.raises(KeyboardInterrupt):
        signal.raise_signal(number)
    with pytest.raises(NothingMeasuredError, match="before anything") as caught, interruptible(lambda *_: None):
        signal.raise_signal(number)
    assert caught.value.exit_code == INTERRUPTED
    assert exit_code(INTERRUPTED) == 128 + number
    assert [signal.getsignal(one) for one in ENDING] == before


def test_a_signal_that_python_threw_away_ends_the_next_step() -> None:
    """As it does in callbacks of weak references."""
    shown: list[str] = []
    with interruptible(lambda doing, _share: shown.append(doing)) as progress:
        progress("compiling", 0.0)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            progress("timing", 0.0)
    assert shown == ["compiling"]


def test_work_that_must_not_be_interrupted_asks() -> None:
    """The first signal gives the exit code."""
    with stopping() as stopped:
        assert (stopped(), exit_code(0)) == (False, 0)
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)
        assert (stopped(), exit_code(0)) == (True, 128 + signal.SIGTERM)


@pytest.mark.parametrize("number", ENDING)
def test_a_signal_that_is_ignored_stays_ignored(number: signal.Signals) -> None:
    """As under nohup, and in the background of a shell."""
    signal.signal(number, signal.SIG_IGN)
    with interruptible(lambda *_: None), interrupts.ending_at_once():
        signal.raise_signal(number)
    assert exit_code(0) == 0
    assert signal.getsignal(number) is signal.SIG_IGN


RAISING = """
import os, signal, sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == {name!r}:
            os.kill(os.getpid(), {number})
            raise ImportError("as libraries make of it")
sys.meta_path.insert(0, Finder())
"""
"""A signal that comes in the middle of an import, for `sitecustomize`."""


NOTHING = "error: interrupted before anything was measured\n"
SUMMARY, BENCH = ("summary", "--size", "64"), ("bench", "--size", "64")


@pytest.mark.parametrize(
    ("name", "number", "arguments", "says"),
    [
        ("typer", signal.SIGTERM, SUMMARY, ""),
        ("pydantic", signal.SIGTERM, SUMMARY, ""),
        *(("torch", number, SUMMARY, "") for number in ENDING),
        *(("torch", number, BENCH, NOTHING) for number in ENDING),
        ("torch", signal.SIGINT, ("compare", "--a", "", "--b", ""), NOTHING),
    ],
)
def test_every_command_ends_with_the_signals_number(
    tmp_path: Path, name: str, number: signal.Signals, arguments: Sequence[str], says: str
) -> None:
    """Whenever it comes: in the first imports, while settings are read, while torch is loaded.

    What measures says that it did not; all else is quiet.
    """
    (tmp_path / "sitecustomize.py").write_text(RAISING.format(name=name, number=int(number)))
    command = "import sys; sys.path.insert(0, {!r}); import sitecustomize; from mnfpn_cli.__main__ import main; main()"
    program = [sys.executable, "-c", command.format(str(tmp_path)), *arguments]
    done = subprocess.run(program, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (128 + number, "", says)


NETWORK = """
import os, time
from torch import nn
class Net(nn.Conv2d):
    def __init__(self):
        super().__init__(3, 3, 3)
        os.kill(os.getpid(), {number})
        time.sleep(60)
"""


@pytest.mark.parametrize(
    ("command", "number"), [*(("summary", number) for number in ENDING), ("audit", ENDING[-1]), ("shapes", ENDING[-1])]
)
def test_a_signal_while_a_network_is_built(tmp_path: Path, command: str, number: signal.Signals) -> None:
    """The same; it is no failure of the network."""
    (tmp_path / "n.py").write_text(NETWORK.format(number=int(number)))
    program = [sys.executable, "-m", "mnfpn_cli", command, "--model", "n.py:Net"]
    done = subprocess.run(program, capture_output=True, text=True, timeout=120, check=False, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (128 + number, "", "")
