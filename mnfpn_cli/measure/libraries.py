"""What libraries do uncalled for: errors without a class of their own, and words on the terminal."""

import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from pathlib import Path

from mnfpn_cli.errors import MnfpnError
from mnfpn_cli.measure.memory import ran_out_of_memory
from mnfpn_cli.text import first_line

TORCH_JIT = (".*torch.jit.* is (deprecated|not supported)", Warning)
"""What torch warns of where torch.jit is used, as by fvcore and by torch itself. Its class depends on the version."""

CUDA_TOOLKIT = "torch.utils.cpp_extension"
"""The logger that warns of a CUDA toolkit on a machine without a GPU, where something imports it."""


@contextmanager
def failure_in_words(what: str, reason: Callable[[Exception], str] = first_line) -> Iterator[None]:
    """Turn the exceptions of a library, which have no common class, into one error: what failed, and the reason.

    Errors of our own, of files and of memory stay as they are: each has words of its own elsewhere.

    Raises:
        MnfpnError: where the library fails.
    """
    try:
        yield
    except (MnfpnError, OSError):
        raise
    except Exception as error:
        if ran_out_of_memory(error):
            raise
        raise MnfpnError(f"{what}: {reason(error)}") from error


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
