"""Read the axes of a design space from parameters and from JSON files."""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from mnfpn_cli.errors import Problem, UsageError
from mnfpn_cli.settings.files import ANNOTATIONS, read_bytes, read_config, read_preset
from mnfpn_cli.settings.input import MAX_BATCH, check_dtype, parse_size
from mnfpn_cli.settings.measuring import MAX_THREADS, check_allocator, check_device_name, choose_runtimes
from mnfpn_cli.settings.overrides import parse_value, path_of
from mnfpn_cli.settings.problems import KEYS, KeyPath, all_keys, check_key
from mnfpn_cli.settings.sources import Source
from mnfpn_cli.settings.strict_json import read_json
from mnfpn_cli.space.axes import MAX_RUNS, Axis, Space

LEVELS = ("pyramid", "levels")
"""The only key whose value may contain commas in other commands, where ``p3,p4`` is a list of levels."""


def merge_axes(axes: Iterable[Axis]) -> Space:
    """Return the space of these axes; of several axes with one key, the last one counts."""
    return Space(tuple({path_of(axis.key): axis for axis in axes}.values()))


def join_axes(axes: Iterable[Axis]) -> list[Axis]:
    """Join the axes that have the same key: a repeated parameter adds choices.

    Raises:
        UsageError: where two different parameters give choices for one key.
    """
    by_key = dict[KeyPath, Axis]()
    for axis in axes:
        path = path_of(axis.key)
        first = by_key.setdefault(path, axis)
        if first.name.split()[0] != axis.name.split()[0]:
            rule = "must not both give choices for one key; give all choices with one of them"
            raise UsageError(Problem(f"{first.name}, {axis.name}", rule))
        by_key[path] = replace(first, values=_unique((*first.values, *axis.values)))
    return list(by_key.values())


def split_choices(name: str, text: str) -> list[str]:
    """Split ``64,128`` or ``["p3","p5"],all`` at the commas outside brackets and quotes.

    Raises:
        UsageError: where a choice is empty.
    """
    choices, depth, quoted = [""], 0, False
    for char in text:
        quoted ^= char == '"'
        depth += 0 if quoted else (char in "[{") - (char in "]}")
        if char == "," and not depth and not quoted:
            choices.append("")
        else:
            choices[-1] += char
    if not all(choice.strip() for choice in choices):
        raise UsageError(Problem(name, "must have a value before and after each comma", f"'{text}'"))
    return [choice.strip() for choice in choices]


def axis_of(key: str, name: str, values: Iterable[Any]) -> Axis:
    """Return the axis of a key, each value once. Values of settings are checked by `Space.check`.

    Raises:
        UsageError: where the key is unknown, or there is no value, too many, or an invalid one.
    """
    if key not in CHECKS:
        check_key(name, path_of(key), CHECKS)
    values = _runtimes(name, values) if key == "runtime" else values
    check = CHECKS.get(key)
    choices = [check(name, value) if check else value for value in values]
    if not choices:
        raise UsageError(Problem(name, "must have at least one value", "none"))
    if len(choices) > MAX_RUNS:
        raise UsageError(Problem(name, f"must have at most {MAX_RUNS:,} values", f"{len(choices):,}"))
    return Axis(key, name, _unique(choices))


def _unique(values: Iterable[Any]) -> tuple[Any, ...]:
    return tuple({repr(value): value for value in values}.values())  # by text, as lists have no hash, and 1 == True


def override_axis(text: str) -> Axis:
    """Parse ``key=choice,choice``, the value of the parameter `set`.

    Raises:
        UsageError: where the key is missing or unknown, or a choice is empty.
    """
    key, equals, value = text.partition("=")
    if not equals or "" in path_of(key):
        raise UsageError(
            Problem("`set`", "must be key=value with a dotted key, as pyramid.smooth=conv,separable", f"'{text}'")
        )
    name = f"`set` {key.strip()}"
    choices = split_choices(name, value)
    if len(choices) > 1 and path_of(key) == LEVELS and all(re.fullmatch("p[0-9]+", choice) for choice in choices):
        as_list = json.dumps(choices, separators=(",", ":"))
        rule = (
            f"'{value}' is one list in other commands, but {len(choices)} choices here: "
            f"write {key.strip()}='{as_list}' for the list, or repeat `set` for each choice"
        )
        raise UsageError(Problem(name, rule))
    return axis_of(key.strip(), name, [parse_value(choice) for choice in choices])


def _size(name: str, value: Any) -> Any:
    with _named(name):
        return parse_size(str(value) if isinstance(value, str | int) and not isinstance(value, bool) else repr(value))


def _whole_number(high: int) -> Callable[[str, Any], int]:
    def check(name: str, value: Any) -> int:
        number = parse_value(value) if isinstance(value, str) else value
        if type(number) is not int or not 1 <= number <= high:
            raise UsageError(Problem(name, f"must be a whole number from 1 to {high}", json.dumps(value)))
        return number

    return check


def _boolean(name: str, value: Any) -> bool:
    parsed = parse_value(value) if isinstance(value, str) else value
    if not isinstance(parsed, bool):
        raise UsageError(Problem(name, "must be true or false", json.dumps(value)))
    return parsed


def _text(check: Callable[[str], Any]) -> Callable[[str, Any], str]:
    def checked(name: str, value: Any) -> str:
        with _named(name):
            check(str(value))
        return str(value)

    return checked


def _runtimes(name: str, values: Iterable[Any]) -> tuple[str, ...]:
    """Return the runtimes of these names; ``all`` means all runtimes."""
    with _named(name):
        return choose_runtimes([str(value) for value in values])


def _preset(name: str, value: Any) -> Source:
    with _named(name):
        return read_preset(str(value))


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Replace the place of problems in the block by the name of the axis."""
    try:
        yield
    except UsageError as error:
        raise error.at(name) from None


CHECKS: dict[str, Callable[[str, Any], Any]] = {
    "size": _size,
    "batch": _whole_number(MAX_BATCH),
    "dtype": _text(check_dtype),
    "runtime": lambda _, value: value,
    "device": _text(check_device_name),
    "threads": _whole_number(MAX_THREADS),
    "train": _boolean,
    "allocator": _text(check_allocator),
    "preset": _preset,
    "config": lambda _, value: read_config(str(value)),
}
"""For each key that is not a setting, the function that checks and converts a choice: (axis name, value) -> value."""

RANGE_KEYS = {"from", "to", "step"}


def read_space(path: Path) -> list[Axis]:
    """Read the axes of a JSON file: an object of keys, each with a list of choices, a range, or a single value.

    Raises:
        UsageError: where the content is invalid.
        MnfpnError: where the file cannot be read.
    """
    return space_axes(str(path), read_json(str(path), read_bytes(str(path))))


def space_axes(name: str, document: Any) -> list[Axis]:
    """Read the axes of the content of such a file; ``name`` is its place in messages.

    Raises:
        UsageError: where the content is invalid.
        MnfpnError: where a file that it names cannot be read.
    """
    if not isinstance(document, dict):
        raise UsageError(Problem(name, "must be an object of keys and their choices", json.dumps(document)[:60]))
    axes = [axis_of(key, f"{name}: {key}", values) for key, values in _keys(name, document, "")]
    paths = [path_of(axis.key) for axis in axes]
    for index, axis in enumerate(axes):
        if paths[index] in paths[:index]:
            raise UsageError(Problem(axis.name, "must be given once", "it in two spellings"))
    return axes


def _keys(file: str, value: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, list[Any]]]:
    """Yield each key of a space, dotted where it is nested, with its choices."""
    for key, item in value.items():
        if not prefix and key in ANNOTATIONS:
            continue
        name = f"{prefix}{key}"
        if isinstance(item, dict) and not (RANGE_KEYS & item.keys() or _is_leaf(name)):
            yield from _keys(file, item, f"{name}.")
        else:
            yield name, _choices(f"{file}: {name}", item)


def _is_leaf(name: str) -> bool:
    """Return whether a key has no keys below it: an object as its value must be a range."""
    return (name in CHECKS or name in all_keys()) and name not in (*KEYS, "stages")


def _choices(name: str, value: Any) -> list[Any]:
    """Return the items of a list, the numbers of a range, or a single value as the only choice."""
    if isinstance(value, list):
        return value
    return _range(name, value) if isinstance(value, dict) else [value]


def _range(name: str, value: Mapping[str, Any]) -> list[int | float]:
    """Return the numbers of ``{"from": low, "to": high, "step": step}``, both ends included.

    Raises:
        UsageError: where the range is invalid.
    """
    unknown = value.keys() - RANGE_KEYS
    if unknown or not {"from", "to"} <= value.keys():
        raise UsageError(Problem(name, "a range must have from and to, optionally step", ", ".join(sorted(value))))
    low, high, step = value["from"], value["to"], value.get("step", 1)
    if "step" not in value and isinstance(low, float) | isinstance(high, float):
        rule = "a range must have a step, unless from and to are whole numbers"
        raise UsageError(Problem(name, rule, json.dumps(value)[:60]))
    if not all(isinstance(number, int | float) and not isinstance(number, bool) for number in (low, high, step)):
        raise UsageError(Problem(name, "from, to and step of a range must be numbers", json.dumps(value)[:60]))
    if step <= 0 or high < low or not high - low < step * MAX_RUNS:
        rule = f"a range must go up from 'from' to 'to' by a positive step, in at most {MAX_RUNS:,} steps"
        raise UsageError(Problem(name, rule, json.dumps(value)[:60]))
    count = int((high - low) / step + 1e-9) + 1
    numbers = [low + index * step for index in range(count)]
    return [round(number, 12) for number in numbers] if isinstance(low + step, float) else numbers
