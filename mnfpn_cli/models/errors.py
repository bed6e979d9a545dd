"""Errors in the code of others, told with the frames of their code alone."""

import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from mnfpn_cli.errors import MnfpnError, plain

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
    made = ModelError(f"{doing} failed: {first}")
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
