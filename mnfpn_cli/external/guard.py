"""Run external code: send what it prints to stderr, undo what it changes, and turn its errors into `ModelError`."""

import ctypes
import os
import random
import sys
import traceback
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout
from pathlib import Path
from threading import RLock

import torch

from mnfpn_cli.errors import MnfpnError, Problem
from mnfpn_cli.text import strip_colours

PACKAGE = Path(__file__).resolve().parent.parent
MACHINERY = ("torch", "typer", "importlib", "contextlib.py", "onnx", "onnxruntime", "onnxscript", "openvino", "nncf")


_LOCK = RLock()


@contextmanager
def exclusive() -> Iterator[None]:
    """Let one thread at a time into the blocks: passes and measurements set state of torch that all threads share."""
    with _LOCK:
        yield


class ModelError(MnfpnError):
    """External code failed; ``details`` has the traceback of its own frames."""


def model_error(doing: str, error: BaseException) -> ModelError:
    """Return the `ModelError` for an error of external code. ``doing``: what failed, as ``importing nets.py``."""
    if isinstance(error, SystemExit):
        what = f"sys.exit({error.code!r}) was called"
    else:
        what = strip_colours("".join(traceback.format_exception_only(error))).rstrip()
    first = _first_line(what)
    if isinstance(error, SyntaxError) and error.filename:  # no frame has this location
        first = f"{type(error).__name__}: {error.msg} ({error.filename}, line {error.lineno})"
    failure = ModelError(Problem(f"{doing} failed", first.replace("`", "'")))
    failure.details = own_traceback(error, what)
    return failure


def own_traceback(error: BaseException, what: str) -> str:
    """Return the traceback of external code alone, and the error ``what``; empty where no frame is external."""
    frames = _frames(error)
    if not frames and not what.startswith(" "):  # a syntax error has its location in the text
        return ""
    return "".join(["Traceback, the network's own frames:\n", *frames, what, "\n"])


def _first_line(what: str) -> str:
    """Return the first line of an error's text; two lines where the first is only the class, as ``ValueError:``."""
    lines = [line.strip() for line in what.splitlines() if line.strip()]
    return " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]


def _frames(error: BaseException) -> list[str]:
    """Return the formatted frames of an error that are external code."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not _is_machinery(frame.filename)]
    return traceback.StackSummary.from_list(own).format()


def _is_machinery(file: str) -> bool:
    """Return whether a file belongs to this package, to a library in ``MACHINERY``, or to Python's import system."""
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
    """Run external code: its output goes to stderr, and the settings of the process are restored.

    Only one thread at a time runs external code.

    Raises:
        ModelError: where the code fails, or calls ``sys.exit``.
    """
    with exclusive(), output_to_stderr(), restore_process_state():
        try:
            yield
        except MnfpnError:
            raise
        except (Exception, SystemExit) as error:
            raise model_error(doing, error) from error


@contextmanager
def output_to_stderr() -> Iterator[None]:
    """Send all that Python and C code print to stderr; stdout is for results."""
    with ExitStack() as stack:
        sys.stdout.flush()
        try:
            stdout = os.dup(1)
            os.dup2(2, 1)
        except OSError:  # stdout or stderr is closed
            pass
        else:
            stack.callback(os.close, stdout)
            stack.callback(os.dup2, stdout, 1)
            stack.callback(_flush)
        stack.enter_context(redirect_stdout(sys.stderr))
        yield


def _flush() -> None:
    """Flush the stdout buffers of Python and C, before stdout is restored."""
    if sys.__stdout__ is not None:
        sys.__stdout__.flush()
    if os.name == "posix":
        ctypes.CDLL(None).fflush(None)


@contextmanager
def restore_process_state() -> Iterator[None]:
    """Restore what code may change for the process: torch's defaults, threads, random states, the current folder."""
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
