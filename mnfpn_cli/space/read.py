"""The choices for each key of a design space: read from options and from JSON files."""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from mnfpn_cli.errors import Problem, UsageError
from mnfpn_cli.settings.execution import check_device_name, choose_runtimes
from mnfpn_cli.settings.files import ANNOTATIONS, read_bytes, read_config, read_preset
from mnfpn_cli.settings.input import ITEM_BYTES, MAX_BATCH, parse_size
from mnfpn_cli.settings.overrides import parse_value, path_of
from mnfpn_cli.settings.problems import KEYS, KeyPath, check_key, every_key
from mnfpn_cli.settings.sources import Source
from mnfpn_cli.settings.strict_json import read_json
from mnfpn_cli.space.axes import MAX_RUNS, Axis, Space
from mnfpn_cli.text import did_you_mean

MAX_THREADS = 4096
LEVELS = ("pyramid", "levels")
"""The one setting that text with commas is a value of."""


def merge_axes(axes: Iterable[Axis]) -> Space:
    """The space of some axes; of those with one key the last counts: options come after files."""
    return Space(tuple({path_of(axis.key): axis for axis in axes}.values()))


def join_axes(axes: Iterable[Axis]) -> list[Axis]:
    """The axes of options, each key once: an option that repeats gives more choices.

    Raises:
        UsageError: where two options give one key.
    """
    found = dict[KeyPath, Axis]()
    for axis in axes:
        path = path_of(axis.key)
        before = found.setdefault(path, axis)
        if before.name.split()[0] != axis.name.split()[0]:
            raise UsageError(
                Problem(f"{before.name}, {axis.name}", "must not both give choices for one key; name all in one")
            )
        found[path] = replace(before, values=_each_once((*before.values, *axis.values)))
    return list(found.values())


def split_choices(name: str, text: str) -> list[str]:
    """The choices in ``64,128`` or ``["p3","p5"],all``: separated by commas outside of brackets and quotes.

    Raises:
        UsageError: where one is empty.
    """
    choices, depth, quoted = [""], 0, False
    for sign in text:
        quoted ^= sign == '"'
        depth += 0 if quoted else (sign in "[{") - (sign in "]}")
        if sign == "," and not depth and not quoted:
            choices.append("")
        else:
            choices[-1] += sign
    if not all(choice.strip() for choice in choices):
        raise UsageError(Problem(name, "must have a value before and behind each comma", f"'{text}'"))
    return [choice.strip() for choice in choices]


def axis_of(key: str, name: str, values: Iterable[Any]) -> Axis:
    """The axis of a key, its values checked where they are no settings, each once.

    Raises:
        UsageError: where the key is unknown, there is no value, or one is none.
    """
    if key not in CHECKS:
        check_key(name, path_of(key), CHECKS)
    values = _runtimes(name, values) if key == "runtime" else values
    check = CHECKS.get(key)
    found = [check(name, value) if check else value for value in values]
    if not found:
        raise UsageError(Problem(name, "must have at least one value", "none"))
    if len(found) > MAX_RUNS:
        raise UsageError(Problem(name, f"must have at most {MAX_RUNS:,} values", f"{len(found):,}"))
    return Axis(key, name, _each_once(found))


def _each_once(values: Iterable[Any]) -> tuple[Any, ...]:
    return tuple({repr(one): one for one in values}.values())


def override_axis(text: str) -> Axis:
    """Read ``key=choice,choice``.

    Raises:
        UsageError: where there is no key, no choice, or no such key.
    """
    key, equals, value = text.partition("=")
    if not equals or "" in path_of(key):
        raise UsageError(
            Problem("`set`", "must be key=value with a dotted key, as pyramid.smooth=conv,separable", f"'{text}'")
        )
    name = f"`set` {key.strip()}"
    choices = split_choices(name, value)
    if len(choices) > 1 and path_of(key) == LEVELS and all(re.fullmatch("p[0-9]+", one) for one in choices):
        as_list = json.dumps(choices, separators=(",", ":"))
        raise UsageError(
            Problem(
                name,
                f"'{value}' is one list in other commands, and would be {len(choices)} choices here: "
                f"write {key.strip()}='{as_list}' for the list, or repeat `set` for each choice",
            )
        )
    return axis_of(key.strip(), name, [parse_value(one) for one in choices])


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


def _truth(name: str, value: Any) -> bool:
    truth = parse_value(value) if isinstance(value, str) else value
    if not isinstance(truth, bool):
        raise UsageError(Problem(name, "must be true or false", json.dumps(value)))
    return truth


def _word(check: Callable[[str], Any]) -> Callable[[str, Any], str]:
    def checked(name: str, value: Any) -> str:
        with _named(name):
            check(str(value))
        return str(value)

    return checked


def _runtimes(name: str, values: Iterable[Any]) -> tuple[str, ...]:
    """The runtimes of these names; ``all`` is all of them."""
    with _named(name):
        return choose_runtimes([str(value) for value in values])


def _preset(name: str, value: Any) -> Source:
    with _named(name):
        return read_preset(str(value))


def _dtype(text: str) -> None:
    if text not in ITEM_BYTES:
        near = did_you_mean(text, ITEM_BYTES)
        raise UsageError(Problem("`dtype`", f"must be one of {', '.join(ITEM_BYTES)}", f"'{text}'", near))


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Call the place of a problem by the name that it has here."""
    try:
        yield
    except UsageError as error:
        raise error.at(name) from None


CHECKS: dict[str, Callable[[str, Any], Any]] = {
    "size": _size,
    "batch": _whole_number(MAX_BATCH),
    "dtype": _word(_dtype),
    "runtime": lambda _, value: value,
    "device": _word(check_device_name),
    "threads": _whole_number(MAX_THREADS),
    "train": _truth,
    "preset": _preset,
    "config": lambda _, value: read_config(str(value)),
}
"""What makes a value of a key that is no setting."""


RANGE = {"from", "to", "step"}


def read_space(path: Path) -> list[Axis]:
    """The axes in a JSON file: an object of keys, with lists, ranges or single values.

    Raises:
        UsageError: where it is no such file.
        MnfpnError: where it cannot be read.
    """
    document = read_json(str(path), read_bytes(str(path)))
    if not isinstance(document, dict):
        raise UsageError(Problem(str(path), "must be an object of keys with their choices", json.dumps(document)[:60]))
    axes = [axis_of(key, f"{path}: {key}", values) for key, values in _keys(str(path), document, "")]
    paths = [path_of(axis.key) for axis in axes]
    for index, axis in enumerate(axes):
        if paths[index] in paths[:index]:
            raise UsageError(Problem(axis.name, "must be given once", "it in two spellings"))
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
        raise UsageError(Problem(name, "a range must have from, to and perhaps step", ", ".join(sorted(value))))
    low, high, step = value["from"], value["to"], value.get("step", 1)
    if "step" not in value and isinstance(low, float) | isinstance(high, float):
        raise UsageError(
            Problem(name, "a range must have a step, unless from and to are whole numbers", json.dumps(value)[:60])
        )
    if not all(isinstance(one, int | float) and not isinstance(one, bool) for one in (low, high, step)):
        raise UsageError(Problem(name, "a range must be of numbers", json.dumps(value)[:60]))
    if step <= 0 or high < low or not high - low < step * MAX_RUNS:
        rule = f"a range must go up from 'from' to 'to' by a positive step, in at most {MAX_RUNS:,} steps"
        raise UsageError(Problem(name, rule, json.dumps(value)[:60]))
    count = int((high - low) / step + 1e-9) + 1
    return [
        round(low + index * step, 12) if isinstance(low + step, float) else low + index * step for index in range(count)
    ]
