"""Ctrl-C while torch is being imported."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from mnfpn_cli.errors import INTERRUPTED

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
def termination_as_interrupt() -> Iterator[None]:
    """Take SIGTERM, as `timeout` sends it, for Ctrl-C: what was measured by then is printed and written."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
