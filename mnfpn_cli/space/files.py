"""Design spaces in JSON files."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mnfpn_cli.errors import UsageError
from mnfpn_cli.settings.files import ANNOTATIONS, parse_document, read_bytes
from mnfpn_cli.settings.keys import KEYS, every_key
from mnfpn_cli.settings.overrides import path_of
from mnfpn_cli.space.axes import MAX_CELLS, Axis
from mnfpn_cli.space.read import CHECKS, axis_of

RANGE = {"from", "to", "step"}


def read_space(path: Path) -> list[Axis]:
    """The axes in a JSON file: an object of keys, with lists, ranges or single values.

    Raises:
        UsageError: where it is no such file.
        MnfpnError: where it cannot be read.
    """
    document = parse_document(str(path), read_bytes(str(path)))
    if not isinstance(document, dict):
        raise UsageError(f"{path}: must be an object of keys with their choices, got {json.dumps(document)[:60]}")
    axes = [axis_of(key, f"{path}: {key}", values) for key, values in _keys(str(path), document, "")]
    paths = [path_of(axis.key) for axis in axes]
    for index, axis in enumerate(axes):
        if paths[index] in paths[:index]:
            raise UsageError(f"{axis.name}: must be given once, got it in two spellings")
    return axes


def _keys(file: str, value: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, list[Any]]]:
    for key, item in value.items():
        if not prefix and key in ANNOTATIONS:
            continue
        name = f"{prefix}{key}"
        if isinstance(item, dict) and not (RANGE & item.keys() or _is_of_numbers(name)):
            yield from _keys(file, item, f"{name}.")
        else:
            yield name, _choices(f"{file}: {name}", item)


def _is_of_numbers(name: str) -> bool:
    """Whether a key has a value, and no keys below it, so that an object can only be a range."""
    return (name in CHECKS or name in every_key()) and name not in (*KEYS, "stages")


def _choices(name: str, value: Any) -> list[Any]:
    """A list is of choices; a range makes them; anything else is the only one."""
    if isinstance(value, list):
        return value
    if not isinstance(value, dict):
        return [value]
    unknown = value.keys() - RANGE
    if unknown or not {"from", "to"} <= value.keys():
        raise UsageError(f"{name}: a range must have from, to and perhaps step, got {', '.join(sorted(value))}")
    low, high, step = value["from"], value["to"], value.get("step", 1)
    if "step" not in value and isinstance(low, float) | isinstance(high, float):
        raise UsageError(
            f"{name}: a range must have a step, unless from and to are whole numbers, got {json.dumps(value)[:60]}"
        )
    if not all(isinstance(one, int | float) and not isinstance(one, bool) for one in (low, high, step)):
        raise UsageError(f"{name}: a range must be of numbers, got {json.dumps(value)[:60]}")
    if step <= 0 or high < low or not high - low < step * MAX_CELLS:
        rule = f"a range must go up from 'from' to 'to' by a positive step, in at most {MAX_CELLS:,} steps"
        raise UsageError(f"{name}: {rule}, got {json.dumps(value)[:60]}")
    count = int((high - low) / step + 1e-9) + 1
    return [
        round(low + index * step, 12) if isinstance(low + step, float) else low + index * step for index in range(count)
    ]
