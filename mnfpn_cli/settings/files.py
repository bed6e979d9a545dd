"""Read settings in JSON from files, standard input and presets."""

import json
import sys
from importlib.resources import files
from typing import Any

from mnfpn_cli.errors import Problem, UsageError
from mnfpn_cli.settings.sources import Source
from mnfpn_cli.settings.strict_json import read_file, read_json, read_stream
from mnfpn_cli.text import did_you_mean

MAX_BYTES = 1_000_000
"""The largest settings file that is read: ten times one of 1,000 rows. A larger one is likely a checkpoint."""
KIND = "a settings file"

ANNOTATIONS = {
    "$schema": "Address of the schema that an editor checks the file with.",
    "$comment": "What the file is for, in one line.",
}
"""Keys that describe the file, not the network."""


def read_config(name: str) -> Source:
    """Read the settings in a JSON file, or on standard input where the name is ``-``.

    Raises:
        UsageError: where there is no such file, or it holds no settings in JSON.
        MnfpnError: where the file cannot be read.
    """
    if not name:
        raise UsageError(Problem("`config`", "must be the name of a file, or -", "''"))
    if name == "-":
        if sys.stdin is None:
            raise UsageError(Problem("`config` -", "standard input is closed"))
        data = read_stream(sys.stdin.buffer, "standard input", KIND, MAX_BYTES)
        return Source("standard input", parse_settings("standard input", data))
    return Source(name, parse_settings(name, read_bytes(name)))


def read_bytes(name: str) -> bytes:
    """Return the bytes of a file of settings, or of a design space.

    Raises:
        UsageError: where there is no such file, or it has more than `MAX_BYTES`.
        MnfpnError: where it cannot be read.
    """
    return read_file(name, KIND, MAX_BYTES)


def preset_names() -> list[str]:
    """Return the names of the presets, in alphabetical order."""
    folder = files("mnfpn_cli") / "presets"
    return sorted(entry.name.removesuffix(".json") for entry in folder.iterdir() if entry.name.endswith(".json"))


def read_preset(name: str) -> Source:
    """Read the settings of a preset.

    Raises:
        UsageError: where there is no preset of that name.
    """
    return Source(f"preset {name}", parse_settings(name, _preset_bytes(name)))


def preset_description(name: str) -> str:
    """Return the one line that describes a preset, its ``$comment``."""
    description: str = json.loads(_preset_bytes(name))["$comment"]
    return description


def _preset_bytes(name: str) -> bytes:
    names = preset_names()
    if name not in names:
        raise UsageError(
            Problem("`preset`", f"must be one of {', '.join(names)}", f"'{name}'", did_you_mean(name, names))
        )
    return (files("mnfpn_cli") / "presets" / f"{name}.json").read_bytes()


def parse_settings(name: str, data: bytes) -> dict[str, Any]:
    """Read settings from JSON: an object of settings, or a list that holds the stages alone.

    Raises:
        UsageError: where it is not UTF-8, not JSON (with line and column), or neither an object nor a list.
    """
    value = read_json(name, data)
    if isinstance(value, list):
        return {"stages": value}
    if not isinstance(value, dict):
        raise UsageError(Problem(name, "must be an object of settings or a list of stages", json.dumps(value)[:60]))
    return {key: item for key, item in value.items() if key not in ANNOTATIONS}
