"""Signals that ask to end, Ctrl-C and others: taken from the first import on, and in the end the exit code.

Each is Python's `KeyboardInterrupt`, wherever it comes: what is half done is tidied up, what was measured is kept. Two
kinds of work take it otherwise: imports end at once, and a sweep ends between two runs. A signal that is ignored, as
under `nohup`, stays ignored.
"""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from types import FrameType
from typing import Any

from mnfpn_cli.errors import NothingMeasuredError

Progress = Callable[[str, float], None]
ENDING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
CLEAR_LINE_AND_SHOW_CURSOR = "\r\x1b[2K\x1b[?25h"
NOTHING_MEASURED = "interrupted before anything was measured"

seen: list[int] = []
"""The signals that asked this process to end."""


def take(act: Callable[[int], None]) -> dict[int, Any]:
    """Note signals that ask to end, and answer them in a way, from now on; return the handlers that were there."""

    def handle(number: int, _frame: FrameType | None) -> None:
        seen.append(number)
        act(number)

    before = {number: signal.getsignal(number) for number in ENDING}
    taken = {number: handler for number, handler in before.items() if handler not in (signal.SIG_IGN, None)}
    for number in taken:
        signal.signal(number, handle)
    return taken


@contextmanager
def taking(act: Callable[[int], None]) -> Iterator[None]:
    """The same for a while."""
    before = take(act)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def interrupt(_number: int) -> None:
    """Have the work tidy up, and keep what it has."""
    raise KeyboardInterrupt


def end_at_once(number: int, error: str = "") -> None:
    """End the process: quietly, or with an error."""
    text = CLEAR_LINE_AND_SHOW_CURSOR if sys.stderr.isatty() else ""
    text += f"error: {error}\n" if error else ""
    with suppress(OSError):  # nobody reads it
        os.write(sys.stderr.fileno(), text.encode())  # sys.stderr may be writing right now: it refuses to do so twice
    os._exit(128 + number)


@contextmanager
def ending_at_once(error: str = "") -> Iterator[None]:
    """End the process where a signal asks for it, at once: quietly, or with an error.

    numpy and torch catch what is raised in the middle of their imports and go on, or fail with an error of their own.
    Nothing has been measured or written by then, so there is nothing to lose.
    """
    with taking(partial(end_at_once, error=error)):
        yield


@contextmanager
def interruptible(progress: Progress) -> Iterator[Progress]:
    """Have signals interrupt a measurement, which keeps what was measured by then; and lose none of them.

    An exception that is raised in a callback of a weak reference is thrown away by Python, and torch's compiler has
    thousands: the function that shows the progress, which this gives back, looks whether there was a signal.

    Raises:
        NothingMeasuredError: where an interrupt leaves the block: before anything was measured.
    """

    def look(doing: str, share: float) -> None:
        if seen:
            raise KeyboardInterrupt
        progress(doing, share)

    try:
        with taking(interrupt):
            yield look
    except KeyboardInterrupt:
        raise NothingMeasuredError(NOTHING_MEASURED) from None


@contextmanager
def stopping() -> Iterator[Callable[[], bool]]:
    """Give a function that says whether a signal asked to end: work that asks it ends where nothing is half done."""
    with taking(lambda _number: None):
        yield lambda: bool(seen)


def exit_code(code: int) -> int:
    """The exit code of a process that would end with another: 128 + the number of the signal that asked for its end."""
    return 128 + seen[0] if seen else code
