"""The table of some cells: what they differ in, and figures of each, in the forms that screens have room for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mnfpn_cli.report.terminal.tables import Forms, Items, Report, note, table

if TYPE_CHECKING:
    from mnfpn_cli.report.terminal.tables import Cell, Table

Columns = Mapping[str, Sequence[str]]
"""The words or figures of each row, by the name of their column; ``>`` before it aligns them to the right."""


@dataclass(frozen=True)
class Differing:
    """What the rows of a table differ in.

    Attributes:
        settings: words by the key of a setting, as ``pyramid.channels``; by no key where they are names of networks.
        apart: what has a column of its own wherever there is room for it, as ``Runtime``.
    """

    settings: Columns
    apart: Columns = field(default_factory=dict)

    @property
    def alike(self) -> dict[str, str]:
        """What all rows have in common: of a single row, all that there is to it."""
        both = {**self.settings, **self.apart}
        return {key: words[0] for key, words in both.items() if len(set(words)) == 1}

    def without(self, keys: Mapping[str, str]) -> Differing:
        """The same, less what stands elsewhere."""
        left = ({key: words for key, words in some.items() if key not in keys} for some in (self.settings, self.apart))
        return Differing(*left)


def columns_of(rows: Sequence[Mapping[str, str]]) -> Columns:
    """Rows of words under the same keys, as columns."""
    return {key: [row[key] for row in rows] for key in (rows[0] if rows else ())}


def numbers_of(rows: Sequence[object]) -> Columns:
    """The first column of a table that may stand in parts: the number of each row, from 1."""
    return {"": [str(index + 1) for index in range(len(rows))]}


def cells_report(
    title: str,
    differing: Differing,
    figures: Columns,
    lead: Columns | None = None,
    section: int | None = None,
    *,
    fold: bool = False,
) -> Report:
    """The table, and below it what all rows have in common; a column without a figure is left out.

    Where a screen has no room for it, ``fold`` breaks rows into lines; else it stands in parts, ``lead`` before each.
    """
    alike, shown = differing.alike, {name: words for name, words in figures.items() if any(words)}
    rows = max(map(len, figures.values()))
    made = _cells_table(title, differing.without(alike), shown, lead, section, fold=fold)
    words = ", ".join(f"{key.removeprefix('>').lower()} {word}".lstrip() for key, word in alike.items() if word)
    return [made, *([note(f"{'The cell' if rows == 1 else 'All of these'}: {words}.")] if words else [])]


def _cells_table(
    title: str, differing: Differing, figures: Columns, lead: Columns | None, section: int | None, *, fold: bool
) -> Forms:
    """A row for each cell: ``lead``, what the cells differ in, the figures; a line above the row of index ``section``.

    The settings of a network stand in one column where that need not be broken; else in a column each where there is
    room for that; else, to ``fold``, all that cells differ in stands in one column, broken into lines.
    """
    settings, apart = differing.settings, differing.apart
    phrases = {key: [_phrase(key, word) for word in words] for key, words in {**settings, **apart}.items()}
    names = {"Network": [", ".join(words) for words in _rows({key: phrases[key] for key in settings})]}
    each = {_heading(key, words): words for key, words in settings.items()}
    if len(each) < len(settings):  # two keys that end in the same word
        each = dict(settings)
    made = [
        _table(title, [_shown(lead), _shown(one), _shown(apart), _shown(figures)], section)
        for one in ((names if settings else {}), each)
    ]
    if fold:
        folded = {"Network": [Items(words) for words in _rows(phrases)]} if phrases else {}
        made.append(_table(title, [_shown(lead), folded, _shown(figures)], section))
    if settings:
        made[0].columns[len(lead or {})].no_wrap = True
    return Forms(tuple(made))


def _shown(columns: Columns | None) -> Mapping[str, Sequence[Cell]]:
    return {name: list(map(note, words)) for name, words in (columns or {}).items()}


def _table(title: str, groups: Sequence[Mapping[str, Sequence[Cell]]], section: int | None) -> Table:
    columns = {name: cells for group in groups for name, cells in group.items()}
    made = table(title, *columns)
    for index, row in enumerate(zip(*columns.values(), strict=True)):
        if index == section:
            made.add_section()
        made.add_row(*row)
    return made


def _rows(columns: Columns) -> list[tuple[str, ...]]:
    return list(zip(*columns.values(), strict=True))


def _phrase(key: str, word: str) -> str:
    """A setting with its name, as ``channels 64``; what has a column apart is known by its word, a number is not."""
    name = key.removeprefix(">").rpartition(".")[2]
    return f"{name.lower()} {word}".lstrip() if name.islower() or word.isdigit() else word


def _heading(key: str, words: Sequence[str]) -> str:
    """Of a column of its own."""
    name = key.rpartition(".")[2] or "Network"
    return f">{name}" if all(word[:1].isdigit() for word in words) else name
