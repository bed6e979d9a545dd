"""Handle Ctrl-C and the other signals that ask the process to end, from the first import to the exit code.

By default, each raises `KeyboardInterrupt`: unfinished work is cleaned up, and what was measured is reported. There are
two exceptions: imports end at once, and a sweep ends between two runs. An ignored signal, as under `nohup`, stays so.
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
from mnfpn_cli.text import ReportProgress

ENDING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
CLEAR_LINE_AND_SHOW_CURSOR = "\r\x1b[2K\x1b[?25h"
NOTHING_MEASURED = "interrupted before anything was measured"

received: list[int] = []
"""The signals that asked this process to end, in order."""


def handle_signals(act: Callable[[int], None]) -> dict[int, Any]:
    """Record ending signals and call ``act`` on each from now on; return the handlers that were there before."""

    def handle(number: int, _frame: FrameType | None) -> None:
        received.append(number)
        act(number)

    before = {number: signal.getsignal(number) for number in ENDING}
    replaced = {number: handler for number, handler in before.items() if handler not in (signal.SIG_IGN, None)}
    for number in replaced:
        signal.signal(number, handle)
    return replaced


@contextmanager
def handling_signals(act: Callable[[int], None]) -> Iterator[None]:
    """Handle ending signals by ``act`` within the block."""
    before = handle_signals(act)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def interrupt(_number: int) -> None:
    """Raise KeyboardInterrupt, so that the work cleans up and keeps what it has."""
    raise KeyboardInterrupt


def end_at_once(number: int, error: str = "") -> None:
    """End the process without cleanup, after an error message if there is one."""
    text = CLEAR_LINE_AND_SHOW_CURSOR if sys.stderr.isatty() else ""
    text += f"error: {error}\n" if error else ""
    with suppress(OSError):  # nobody reads standard error
        os.write(sys.stderr.fileno(), text.encode())  # sys.stderr may be in a write, and refuses a second one
    os._exit(128 + number)


@contextmanager
def ending_at_once(error: str = "") -> Iterator[None]:
    """End the process at once on a signal within the block, after an error message if there is one.

    An exception that is raised while numpy or torch is imported is caught there, or turned into another error. Nothing
    has been measured or written by then, so nothing is lost.
    """
    with handling_signals(partial(end_at_once, error=error)):
        yield


@contextmanager
def interruptible(progress: ReportProgress) -> Iterator[ReportProgress]:
    """Let signals interrupt a measurement, which then keeps its samples; yield the progress function to call.

    Python discards an exception that is raised in a callback of a weak reference, and torch's compiler has thousands of
    them. So the progress function checks for a signal too.

    Raises:
        NothingMeasuredError: if the block is interrupted before anything was measured.
    """

    def checked(doing: str, share: float) -> None:
        if received:
            raise KeyboardInterrupt
        progress(doing, share)

    try:
        with handling_signals(interrupt):
            yield checked
    except KeyboardInterrupt:
        raise NothingMeasuredError(NOTHING_MEASURED) from None


@contextmanager
def stopping() -> Iterator[Callable[[], bool]]:
    """Yield a function that returns whether a signal asked to end; the work calls it where it can stop cleanly."""
    with handling_signals(lambda _number: None):
        yield lambda: bool(received)


def exit_code(code: int) -> int:
    """Return 128 + the number of the first ending signal, or ``code`` if there was none."""
    return 128 + received[0] if received else code
