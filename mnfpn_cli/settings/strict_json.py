"""Read JSON strictly, from text, a file or standard input; an error says where, and what is wrong."""

import json
from collections import Counter
from pathlib import Path
from typing import Any, BinaryIO

from mnfpn_cli.errors import MnfpnError, Problem, UsageError


def read_file(path: str | Path, kind: str, most: int) -> bytes:
    """Give the bytes of a file; ``kind`` is what it should be, as ``a settings file``, of at most ``most`` bytes.

    Raises:
        UsageError: where there is no such file, or it is larger.
        MnfpnError: where it cannot be read.
    """
    try:
        with Path(path).open("rb") as file:
            return read_stream(file, str(path), kind, most)
    except FileNotFoundError:
        raise UsageError(Problem(str(path), "no such file")) from None
    except IsADirectoryError:
        raise UsageError(Problem(str(path), "must be a file, but it is a folder")) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise MnfpnError(Problem(str(path), f"could not be read: {reason}")) from None


def read_stream(file: BinaryIO, name: str, kind: str, most: int) -> bytes:
    """Give what an open file holds; its size is not asked for first, as a pipe has none, and a device no end.

    Raises:
        UsageError: where it is more than ``most`` bytes.
    """
    data = file.read(most + 1)
    if len(data) <= most:
        return data
    size = ""
    if file.seekable():
        file.seek(0, 2)
        size = f", got {file.tell() / 1e6:.1f} MB" if file.tell() > most else ""
    raise UsageError(Problem(name, f"{kind} must have at most {most / 1e6:g} MB{size}"))


def read_json(name: str, data: bytes) -> Any:
    """Read UTF-8 bytes as JSON; ``name`` is what errors call them.

    Raises:
        UsageError: where they are not UTF-8, or not JSON, with line and column.
    """
    try:
        return parse_json(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise UsageError(Problem(name, f"must be UTF-8 text, but byte {error.start} is not")) from None
    except json.JSONDecodeError as error:
        raise UsageError(Problem(name, _fault(error))) from None
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error).partition(";")[0]
        raise UsageError(Problem(name, f"must be JSON: {reason[:1].lower()}{reason[1:]}")) from None


def parse_json(text: str) -> Any:
    """Read text as JSON in which no object has a key twice.

    Raises:
        ValueError: where it is not JSON (json.JSONDecodeError), or a number is too long to read.
        RecursionError: where it is nested too deeply.
    """
    return json.loads(text, object_pairs_hook=_unique)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"the key '{twice}' is given twice in one object")
    return found


WORDS = ("true", "false", "null")


def _fault(error: json.JSONDecodeError) -> str:
    """Say where text is not JSON, and what is wrong; most often it was cut off."""
    if not error.doc.strip():
        return "must be JSON: it is empty"
    rest = error.doc[error.pos :].strip()
    cut = error.msg.startswith("Unterminated") or any(word.startswith(rest) and rest != word for word in WORDS)
    end = " (it ends too early)" if cut else ""
    return f"line {error.lineno}, column {error.colno}: must be JSON: {error.msg[:1].lower()}{error.msg[1:]}{end}"
