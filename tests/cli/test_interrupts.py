"""Signals that ask to end, while something is measured."""

import signal

import pytest

from mnfpn_cli.cli.interrupts import ENDING, interruptible
from mnfpn_cli.errors import INTERRUPTED, NothingMeasuredError


@pytest.mark.parametrize("number", ENDING)
def test_each_signal_is_ctrl_c_and_handlers_are_put_back(number: signal.Signals) -> None:
    """What measures catches it; where nothing does, there was nothing yet."""
    before = [signal.getsignal(one) for one in ENDING]
    with interruptible(lambda *_: None), pytest.raises(KeyboardInterrupt):
        signal.raise_signal(number)
    with pytest.raises(NothingMeasuredError, match="before anything") as caught, interruptible(lambda *_: None):
        signal.raise_signal(number)
    assert caught.value.exit_code == INTERRUPTED
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


def test_a_signal_that_is_ignored_stays_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    """As under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interruptible(lambda *_: None):
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
