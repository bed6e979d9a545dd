"""The parts of a network across runtimes, as a table: where does one runtime lose against another?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mnfpn_cli.report.terminal.profile import LEAST_SHARE_OF_ROW, REST
from mnfpn_cli.report.terminal.tables import Line, Report, note, table
from mnfpn_cli.report.units import seconds
from mnfpn_cli.text import percent

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mnfpn_cli.documents.bench import ProfileRecord

MOST_MARKED = 3
"""The most cells of a runtime that are marked."""

LEAST_LOST = 0.03
"""The least share of a runtime's time that it loses in a cell which is marked."""

MARK = "▸"
TOGETHER = "together"


@dataclass(frozen=True, slots=True)
class _Row:
    """Parts that each runtime computes apart from all others; ``times`` has their seconds by runtime."""

    parts: tuple[str, ...]
    times: Mapping[str, float]

    @property
    def best(self) -> str:
        """The fastest runtime."""
        return min(self.times, key=lambda name: self.times[name])

    def lost(self, name: str) -> float:
        """The seconds by which a runtime takes longer than the fastest."""
        return self.times[name] - self.times[self.best]


def across_table(title: str, profiles: Mapping[str, ProfileRecord]) -> Report:
    """A row for each part, a column for each runtime, and a sentence on where each loses most.

    Where a runtime joined layers of several parts, these parts are only comparable together.

    Args:
        title: the title of the table.
        profiles: profiles with times of layers, of the same network and input, by the names of their runs.
    """
    times = {name: {part.part: part.seconds or 0.0 for part in one.parts} for name, one in profiles.items()}
    rows = [
        _Row(parts, {name: sum(of.get(part, 0.0) for part in parts) for name, of in times.items()})
        for parts in _comparable(list(profiles.values()))
    ]
    totals = {name: sum(of.values()) for name, of in times.items()}
    marked = {name: _marked(name, rows, totals[name]) for name in profiles}
    made = table(title, "Part", *(f">{name}" for name in profiles))
    for row in rows:
        if max(row.times.values()) < LEAST_SHARE_OF_ROW * max(totals.values()):
            continue
        if len(row.parts) > 1:
            for part in row.parts:
                made.add_row(f"  {part}", *(seconds(of[part]) if of.get(part) else "" for of in times.values()))
        label = row.parts[0] if len(row.parts) == 1 else f"  {TOGETHER}"
        made.add_row(label, *(_cell(row, name, marked[name]) for name in profiles))
    made.add_section()
    made.add_row("total", *map(seconds, totals.values()))
    return [made, *_notes(rows, marked, totals)]


def _comparable(profiles: Sequence[ProfileRecord]) -> list[tuple[str, ...]]:
    """Return the parts in order, those together that a runtime joined layers of."""
    groups = dict[str, list[str]]()
    for part in dict.fromkeys(part.part for one in profiles for part in one.parts):
        groups[part] = [part]
    for layer in (layer for one in profiles for layer in one.layers):
        for other in layer.joined:
            one, two = groups[layer.part], groups.setdefault(other.part, [other.part])
            if one is not two:
                one += two
                groups.update(dict.fromkeys(two, one))
    order = {part: place for place, part in enumerate(groups)}
    return list(dict.fromkeys(tuple(sorted(group, key=order.__getitem__)) for group in groups.values()))


def _marked(name: str, rows: Sequence[_Row], total: float) -> list[_Row]:
    """Return the rows in which a runtime loses most, the worst first."""
    losing = [row for row in rows if row.lost(name) >= LEAST_LOST * total and row.parts != (REST,)]
    return sorted(losing, key=lambda row: -row.lost(name))[:MOST_MARKED]


def _cell(row: _Row, name: str, marked: Sequence[_Row]) -> Line:
    text = seconds(row.times[name])
    return Line(f"{MARK} {text}", "bold red") if row in marked else Line(text)


def _notes(rows: Sequence[_Row], marked: Mapping[str, Sequence[_Row]], totals: Mapping[str, float]) -> Report:
    notes: Report = []
    if any(len(row.parts) > 1 for row in rows):
        notes.append(
            note(f"{TOGETHER}: a runtime joined layers of these parts; only their sum can be compared.", "dim")
        )
    if any(marked.values()):
        notes.append(note(f"{MARK} where a runtime loses most against the fastest of the row.", "dim"))
    for name, (worst, *_) in ((name, of) for name, of in marked.items() if of):
        where = worst.parts[0] if len(worst.parts) == 1 else f"{worst.parts[0]} to {worst.parts[-1]}"
        lost, best = worst.lost(name), worst.best
        notes.append(
            note(
                f"{name} loses most in {where}: {seconds(worst.times[name])}, where {best} takes "
                f"{seconds(worst.times[best])}; {percent(lost / totals[name], '.0f')} of its time."
            )
        )
    return notes
