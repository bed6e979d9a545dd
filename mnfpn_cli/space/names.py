"""Cells told apart in few words: by what differs between them."""

import json
from collections.abc import Callable, Collection, Sequence
from functools import cache
from typing import Any

from mnfpn_cli.plan.rules import resolve
from mnfpn_cli.settings.differences import changed, flat
from mnfpn_cli.settings.files import preset_names, read_preset
from mnfpn_cli.settings.network import NetworkSettings
from mnfpn_cli.space.cells import Cell

EXECUTION = frozenset(("size", "batch", "runtime", "device", "dtype", "threads", "train"))
"""What cells differ in besides the settings of their networks."""


def differences(cells: Sequence[Cell]) -> dict[str, list[str]]:
    """What differs between cells: for each key, in the order of the settings, the words of each of them."""
    columns = [_words(cell) for cell in cells]
    keys = dict.fromkeys(key for column in columns for key in column)
    values = {key: [column.get(key, "–") for column in columns] for key in keys}
    differing = {key: words for key, words in values.items() if len(set(words)) > 1}
    return {key: _numbered(words) if key == "stages" else words for key, words in differing.items()}


def named(cells: Sequence[Cell], apart: Collection[str] = ()) -> dict[str, list[str]]:
    """What names cells: what differs between them; where nothing does, what is not the default in all of them.

    Presets are called by their names, where all cells are of some.

    ``apart``: keys that are told elsewhere. By no key stands what has no other name.
    """
    found = {key: words for key, words in differences(cells).items() if key not in apart}
    if found.keys() - EXECUTION and (presets := _presets_of(cells)):
        found = {"preset": presets, **{key: words for key, words in found.items() if key in EXECUTION}}
    if found or not cells:
        return found
    own = _changed(cells[0].settings)
    return {key: [word] * len(cells) for key, word in own.items()} or {"": ["the default network"] * len(cells)}


def namer(cells: Sequence[Cell]) -> Callable[[Cell], str]:
    """How to name each of some cells, as ``width_mult 0.5, channels 64``."""
    differing = named(cells)
    names = {
        cell: ", ".join(f"{key.rpartition('.')[2]} {words[index]}".lstrip() for key, words in differing.items())
        for index, cell in enumerate(cells)
    }
    return lambda cell: names[cell]


def _words(cell: Cell) -> dict[str, str]:
    how = cell.execution
    words = {key: _word(value) for key, value in _settings_of(cell.settings).items()}
    words |= {"size": str(cell.size), "batch": str(how.batch), "runtime": how.runtime, "device": how.device}
    threads = "torch's choice" if how.threads is None else str(how.threads)
    return words | {"dtype": how.dtype, "threads": threads, "train": _word(how.train)}


def _presets_of(cells: Sequence[Cell]) -> list[str] | None:
    """The preset that each cell's settings are; None where those of any are no preset's."""
    known = _presets()
    names = [known.get(json.dumps(_settings_of(cell.settings))) for cell in cells]
    return [name for name in names if name] if all(names) else None


@cache
def _presets() -> dict[str, str]:
    return {json.dumps(_settings_of(resolve([read_preset(name)]))): name for name in preset_names()}


def _settings_of(settings: NetworkSettings) -> dict[str, Any]:
    """Settings under dotted keys, less what follows from the size of the image."""
    return {key: value for key, value in flat(settings).items() if key != "head.size"}


def _changed(settings: NetworkSettings) -> dict[str, str]:
    """The settings that are not what they are where nothing is said, less what follows from the size of the image."""
    return {
        key: "of its own" if key == "stages" else _word(value)
        for key, value in changed(settings).items()
        if key != "head.size"
    }


def _word(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _numbered(words: Sequence[str]) -> list[str]:
    """Whole tables of stages by number, in the order in which they come."""
    known = list(dict.fromkeys(words))
    return [f"table {known.index(word) + 1}" for word in words]
