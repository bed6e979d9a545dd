"""Run the code of others: keep what it prints and changes to itself, and tell its errors by its own frames."""

import ctypes
import os
import random
import sys
import traceback
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout
from pathlib import Path
from types import TracebackType

import torch

from mnfpn_cli.errors import MnfpnError, Problem
from mnfpn_cli.text import plain

PACKAGE = Path(__file__).resolve().parent.parent
MACHINERY = ("torch", "typer", "importlib", "contextlib.py", "onnx", "onnxruntime", "onnxscript", "openvino", "nncf")


class ModelError(MnfpnError):
    """The code of a network failed: what it was doing, and its own traceback."""


def model_error(doing: str, error: BaseException) -> ModelError:
    """An error of a network's code, in words, with its traceback: the frames that are neither torch's nor ours."""
    if isinstance(error, SystemExit):
        what = f"sys.exit({error.code!r}) was called"
    else:
        what = plain("".join(traceback.format_exception_only(error))).rstrip()
    first = _first_words(what)
    if isinstance(error, SyntaxError) and error.filename:  # a place that no frame tells
        first = f"{type(error).__name__}: {error.msg} ({error.filename}, line {error.lineno})"
    made = ModelError(Problem(f"{doing} failed", first.replace("`", "'")))
    made.details = own_traceback(error, what)
    return made


def own_traceback(error: BaseException, what: str) -> str:
    """The frames of a network's own code, and what it said; empty where it has no part in an error."""
    frames = _frames(error)
    if not frames and not what.startswith(" "):  # the place of a syntax error is no frame
        return ""
    return "".join(["Traceback, the network's own frames:\n", *frames, what, "\n"])


def _first_words(what: str) -> str:
    """The first line of an error that says more than its class: some messages begin with an empty one."""
    lines = [line.strip() for line in what.splitlines() if line.strip()]
    return " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]


def _frames(error: BaseException) -> list[str]:
    own = [frame for frame in _walk(error.__traceback__) if not _is_machinery(frame.filename)]
    return traceback.StackSummary.from_list(own).format()


def _walk(trace: TracebackType | None) -> Iterator[traceback.FrameSummary]:
    yield from traceback.extract_tb(trace)


def _is_machinery(file: str) -> bool:
    """Whether a file is torch's, ours, or Python's own means to import."""
    if file.startswith("<"):
        return file.startswith("<frozen")
    path = Path(file)
    if path.resolve().is_relative_to(PACKAGE):
        return True
    homes = (
        Path(module.__file__).parent for name in MACHINERY if (module := sys.modules.get(name)) and module.__file__
    )
    return path.name == "contextlib.py" or any(path.is_relative_to(home) for home in homes if home.name in MACHINERY)


@contextmanager
def external_code(doing: str) -> Iterator[None]:
    """Run code of a network: its output goes to standard error, and torch's settings are put back.

    Raises:
        ModelError: where it fails, in its own frames, or calls ``sys.exit``.
    """
    with output_to_stderr(), settings_kept():
        try:
            yield
        except MnfpnError:
            raise
        except (Exception, SystemExit) as error:
            raise model_error(doing, error) from error


@contextmanager
def output_to_stderr() -> Iterator[None]:
    """Have all that is printed, by Python or below it, go to standard error: standard output is for results."""
    with ExitStack() as stack:
        sys.stdout.flush()
        try:
            kept = os.dup(1)
            os.dup2(2, 1)
        except OSError:  # one of them is closed
            pass
        else:
            stack.callback(os.close, kept)
            stack.callback(os.dup2, kept, 1)
            stack.callback(_write_out)
        stack.enter_context(redirect_stdout(sys.stderr))
        yield


def _write_out() -> None:
    """Have what waits in buffers written before standard output is the result's again: Python's own, and C's."""
    if sys.__stdout__ is not None:
        sys.__stdout__.flush()
    if os.name == "posix":
        ctypes.CDLL(None).fflush(None)


@contextmanager
def settings_kept() -> Iterator[None]:
    """Put back what code may change for the whole process: torch's defaults, threads, random numbers, the folder."""
    dtype, device, threads = torch.get_default_dtype(), torch.get_default_device(), torch.get_num_threads()
    precision, gradients = torch.get_float32_matmul_precision(), torch.is_grad_enabled()
    deterministic, python, folder = torch.are_deterministic_algorithms_enabled(), random.getstate(), Path.cwd()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    numpy = sys.modules.get("numpy")
    state = numpy.random.get_state() if numpy else None
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        try:
            yield
        finally:
            torch.set_default_dtype(dtype)
            if torch.get_default_device() != device:
                torch.set_default_device(device)
            if torch.get_num_threads() != threads:
                torch.set_num_threads(threads)
            torch.set_float32_matmul_precision(precision)
            torch.set_grad_enabled(gradients)
            if torch.are_deterministic_algorithms_enabled() != deterministic:  # setting it imports torch's compiler
                torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
            random.setstate(python)
            os.chdir(folder)
            if numpy and state:
                numpy.random.set_state(state)
