"""Ctrl-C, and other signals that ask to end: in the import of torch, in a measurement, and where files are written."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from mnfpn_cli.errors import INTERRUPTED, NothingMeasuredError

Progress = Callable[[str, float], None]
ENDING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
CLEAR_LINE_AND_SHOW_CURSOR = "\r\x1b[2K\x1b[?25h"


@contextmanager
def ending_at_once() -> Iterator[None]:
    """End the process quietly on Ctrl-C, at once.

    numpy and torch catch what is raised in the middle of their imports and go on, or fail with an error of their own.
    Nothing has been measured or written by then, so there is nothing to lose.
    """
    before = signal.signal(signal.SIGINT, _end)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _end(_number: int, _frame: FrameType | None) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(CLEAR_LINE_AND_SHOW_CURSOR)
        sys.stderr.flush()
    os._exit(INTERRUPTED)


@contextmanager
def interruptible(progress: Progress) -> Iterator[Progress]:
    """Take signals that ask to end for Ctrl-C, which keeps what was measured by then; and lose none of them.

    SIGTERM is what `timeout` sends, SIGHUP what a terminal does that is closed. An exception that is raised in a
    callback of a weak reference is thrown away by Python, and torch's compiler has thousands: the function that shows
    the progress, which this gives back, looks whether there was a signal.

    Raises:
        NothingMeasuredError: where Ctrl-C leaves the block: before anything was measured.
    """
    seen: list[int] = []

    def end(number: int, _frame: FrameType | None) -> None:
        seen.append(number)
        raise KeyboardInterrupt

    def look(doing: str, share: float) -> None:
        if seen:
            raise KeyboardInterrupt
        progress(doing, share)

    before = {number: signal.getsignal(number) for number in ENDING}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:  # as under nohup, and in the background of a shell
            signal.signal(number, end)
    try:
        yield look
    except KeyboardInterrupt:
        raise NothingMeasuredError("interrupted before anything was measured") from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def stopping() -> Iterator[Callable[[], bool]]:
    """Give a function that says whether a signal asked to end: work that asks it ends where nothing is half done."""
    seen: list[int] = []
    before = {number: signal.getsignal(number) for number in ENDING}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, lambda number, _frame: seen.append(number))
    try:
        yield lambda: bool(seen)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def tidy_when_terminated() -> Iterator[None]:
    """Let SIGTERM and SIGHUP raise SystemExit while files are written, so that no temporary one is left behind.

    They would end the process on the spot. Where there is nothing to tidy up that is fine, and safer: libraries catch
    what is raised in the middle of their imports. A signal that is ignored, as under `nohup`, stays ignored.
    """
    deadly = [number for number in ENDING if signal.getsignal(number) is signal.SIG_DFL]
    try:
        for number in deadly:
            signal.signal(number, _raise_exit)
        yield
    finally:
        for number in deadly:
            signal.signal(number, signal.SIG_DFL)


def _raise_exit(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)
