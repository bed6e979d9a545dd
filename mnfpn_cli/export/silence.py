"""Silence what libraries write to the terminal uncalled for, while they are imported and called."""

import logging
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from pathlib import Path


@contextmanager
def loggers_silenced(names: Sequence[str]) -> Iterator[None]:
    """Disable these loggers in this block, and remove the handlers that a library adds to the root logger."""
    root, loggers = logging.getLogger(), [logging.getLogger(name) for name in names]
    handlers, disabled = list(root.handlers), [one.disabled for one in loggers]
    try:
        for one in loggers:
            one.disabled = True
        yield
    finally:
        for one, before in zip(loggers, disabled, strict=True):
            one.disabled = before
        for handler in set(root.handlers) - set(handlers):  # by `logging.basicConfig` at import
            root.removeHandler(handler)


@contextmanager
def warnings_silenced(*ignored: tuple[str, type[Warning]]) -> Iterator[None]:
    """Ignore these warnings in this block: a regular expression of the text, and the class."""
    with warnings.catch_warnings():
        for message, category in ignored:
            warnings.filterwarnings("ignore", message, category)
        yield


@contextmanager
def native_stderr_silenced() -> Iterator[None]:
    """Discard what native code writes to standard error in this block, by itself or through Python's `sys.stderr`."""
    sys.stderr.flush()
    try:
        before = os.dup(2)
    except OSError:  # it is closed
        before = None
    try:
        with Path(os.devnull).open("w", encoding="utf-8") as nothing, redirect_stderr(nothing):
            if before is not None:
                os.dup2(nothing.fileno(), 2)
            yield
    finally:
        if before is not None:
            os.dup2(before, 2)
            os.close(before)
