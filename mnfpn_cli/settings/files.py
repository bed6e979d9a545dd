"""Reading settings from JSON text: files, standard input, presets, and what is given to ``--set``."""

import json
import sys
from collections import Counter
from importlib.resources import files
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from mnfpn_cli.errors import MnfpnError, UsageError
from mnfpn_cli.settings.sources import Source
from mnfpn_cli.text import did_you_mean

MAX_BYTES = 1_000_000
"""A settings file of MAX_BLOCKS rows has a tenth of this; more is a mistake, such as a checkpoint."""


ANNOTATIONS = {
    "$schema": "Where the schema is that an editor checks the file with.",
    "$comment": "What the file is for, in a line.",
}
"""Keys that speak about a file, not about the network."""


def read_config(name: str) -> Source:
    """The settings in a JSON file, or on standard input where the name is ``-``.

    Raises:
        UsageError: where there is no such file, or it is not settings in JSON.
        MnfpnError: where the file cannot be read.
    """
    if not name:
        raise UsageError("--config: must be the name of a file, or -, got ''")
    if name == "-":
        if sys.stdin is None:
            raise UsageError("--config -: standard input is closed")
        return Source("standard input", parse_settings("standard input", _read(sys.stdin.buffer, "standard input")))
    return Source(name, parse_settings(name, read_bytes(name)))


def read_bytes(name: str) -> bytes:
    """What a file of settings, or of a design space, holds.

    Raises:
        UsageError: where there is no such file, or it is too large to be one.
        MnfpnError: where it cannot be read.
    """
    try:
        with Path(name).open("rb") as file:
            return _read(file, name)
    except FileNotFoundError:
        raise UsageError(f"{name}: must be a file, but there is none of that name") from None
    except IsADirectoryError:
        raise UsageError(f"{name}: must be a file, but it is a folder") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise MnfpnError(f"{name}: could not be read: {reason}") from None


def preset_names() -> list[str]:
    """The names of the presets, in alphabetical order."""
    folder = files("mnfpn_cli") / "presets"
    return sorted(entry.name.removesuffix(".json") for entry in folder.iterdir() if entry.name.endswith(".json"))


def read_preset(name: str) -> Source:
    """The settings of a preset.

    Raises:
        UsageError: where there is no preset of that name.
    """
    return Source(f"preset {name}", parse_settings(name, _preset_bytes(name)))


def preset_description(name: str) -> str:
    """The one line that a preset says about itself."""
    description: str = json.loads(_preset_bytes(name))["$comment"]
    return description


def _preset_bytes(name: str) -> bytes:
    names = preset_names()
    if name not in names:
        raise UsageError(f"--preset: must be one of {', '.join(names)}, got '{name}'{did_you_mean(name, names)}")
    return (files("mnfpn_cli") / "presets" / f"{name}.json").read_bytes()


def parse_settings(name: str, data: bytes) -> dict[str, Any]:
    """Read JSON that is either the whole settings or only a list of stages.

    Raises:
        UsageError: where it is not UTF-8, not JSON (with line and column), or neither of the two.
    """
    value = parse_document(name, data)
    if isinstance(value, list):
        return {"stages": value}
    if not isinstance(value, dict):
        raise UsageError(f"{name}: must be an object of settings or a list of stages, got {json.dumps(value)[:60]}")
    return {key: item for key, item in value.items() if key not in ANNOTATIONS}


def parse_document(name: str, data: bytes) -> Any:
    """Read JSON strictly; ``name`` is what errors call it.

    Raises:
        UsageError: where it is not UTF-8, or not JSON, with line and column.
    """
    try:
        return parse_json(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise UsageError(f"{name}: must be UTF-8 text, but byte {error.start} is not") from None
    except json.JSONDecodeError as error:
        raise UsageError(f"{name}: line {error.lineno}, column {error.colno}: must be JSON: {error.msg}") from None
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error).partition(";")[0]
        raise UsageError(f"{name}: must be JSON: {reason}") from None


def parse_json(text: str) -> Any:
    """Read JSON strictly: a key given twice is an error.

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


def _read(file: BinaryIO, name: str) -> bytes:
    data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        _too_large(file, name)
    return data


def _too_large(file: BinaryIO, name: str) -> NoReturn:
    size = ""
    if file.seekable():
        file.seek(0, 2)
        size = f", got {file.tell() / 1e6:.1f} MB" if file.tell() > MAX_BYTES else ""
    raise UsageError(f"{name}: a settings file must have at most {MAX_BYTES / 1e6:g} MB{size}")
