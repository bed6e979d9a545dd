"""Read JSON strictly from text, a file or standard input; errors give line, column and reason."""

import json
from collections import Counter
from pathlib import Path
from typing import Any, BinaryIO

from mnfpn_cli.errors import MnfpnError, Problem, UsageError


def read_file(path: str | Path, kind: str, max_bytes: int) -> bytes:
    """Return the bytes of a file.

    Args:
        path: of the file.
        kind: what the file should be, for messages: ``a settings file``.
        max_bytes: the largest size that is read.

    Raises:
        UsageError: where there is no such file, or it is larger than ``max_bytes``.
        MnfpnError: where it cannot be read.
    """
    try:
        with Path(path).open("rb") as file:
            return read_stream(file, str(path), kind, max_bytes)
    except FileNotFoundError:
        raise UsageError(Problem(str(path), "no such file")) from None
    except IsADirectoryError:
        raise UsageError(Problem(str(path), "must be a file, but it is a folder")) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise MnfpnError(Problem(str(path), f"could not be read: {reason}")) from None


def read_stream(file: BinaryIO, name: str, kind: str, max_bytes: int) -> bytes:
    """Return the bytes of an open file; see `read_file`. At most one byte beyond the limit is read.

    The size is not asked for first: a pipe has none, and a device has no end.

    Raises:
        UsageError: where it has more than ``max_bytes``.
    """
    data = file.read(max_bytes + 1)
    if len(data) <= max_bytes:
        return data
    size = ""
    if file.seekable():
        file.seek(0, 2)
        size = f", got {file.tell() / 1e6:.1f} MB" if file.tell() > max_bytes else ""
    raise UsageError(Problem(name, f"{kind} must have at most {max_bytes / 1e6:g} MB{size}"))


def read_json(name: str, data: bytes) -> Any:
    """Parse UTF-8 bytes as JSON; ``name`` is their source, for messages.

    Raises:
        UsageError: where they are not UTF-8, or not JSON (with line and column).
    """
    try:
        return parse_json(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise UsageError(Problem(name, f"must be UTF-8 text, but byte {error.start} is not")) from None
    except json.JSONDecodeError as error:
        raise UsageError(Problem(name, syntax_error(error))) from None
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error).partition(";")[0]
        raise UsageError(Problem(name, f"must be JSON: {reason[:1].lower()}{reason[1:]}")) from None


def parse_json(text: str) -> Any:
    """Parse text as JSON; an object must not have a key twice.

    Raises:
        ValueError: where it is not JSON (json.JSONDecodeError), or a number is too long to read.
        RecursionError: where it is nested too deeply.
    """
    return json.loads(text, object_pairs_hook=_unique)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    unique = dict(pairs)
    if len(unique) < len(pairs):
        twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"the key '{twice}' is given twice in one object")
    return unique


WORDS = ("true", "false", "null")
"""The words of JSON: text that ends within one was cut off."""


def syntax_error(error: json.JSONDecodeError) -> str:
    """Describe where text is not JSON, and why; note where it was cut off, which is the most frequent reason."""
    if not error.doc.strip():
        return "must be JSON: it is empty"
    rest = error.doc[error.pos :].strip()
    cut = error.msg.startswith("Unterminated") or any(word.startswith(rest) and rest != word for word in WORDS)
    end = " (it ends too early)" if cut else ""
    return f"line {error.lineno}, column {error.colno}: must be JSON: {error.msg[:1].lower()}{error.msg[1:]}{end}"
