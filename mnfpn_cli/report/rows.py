"""Rows of a layer tree: which are shown, in what order, and as CSV or Markdown."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from io import StringIO
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mnfpn_cli.inspection.tree import LayerRow, LayerTree

SortKey = Literal["macs", "parameters", "activations"]
SORT_KEYS: tuple[SortKey, ...] = ("macs", "parameters", "activations")
COLUMNS = ("path", "type", "status", "calls", "output_shape", "parameters", "macs", "activations")


@dataclass(frozen=True, slots=True)
class Selection:
    """Which rows are wanted.

    Attributes:
        depth: down to which; None for all.
        pattern: a glob that the path must match.
        sort: by which number, largest first; rows that hold others are then left out, as they are sums.
        top: how many at most.
    """

    depth: int | None = None
    pattern: str | None = None
    sort: SortKey | None = None
    top: int | None = None

    @property
    def is_flat(self) -> bool:
        """Whether rows stand by themselves, not as a tree."""
        return self.pattern is not None or self.sort is not None or self.top is not None


def select(tree: LayerTree, selection: Selection) -> list[LayerRow]:
    """The rows below the network that are wanted."""
    rows: Iterable[LayerRow] = tree.rows[1:]
    if selection.depth is not None:
        rows = (row for row in rows if row.depth <= selection.depth)
    if selection.pattern is not None:
        pattern = selection.pattern
        rows = (row for row in rows if fnmatchcase(row.path, pattern))
    if selection.sort is not None:
        key = selection.sort
        rows = sorted((row for row in rows if row.leaf), key=lambda row: -int(getattr(row, key)))
    return list(rows)[: selection.top]


def output_text(row: LayerRow) -> str:
    """The shapes of what came out, in full."""
    return " ".join("×".join(map(str, shape)) for shape in row.outputs)


def _cells(row: LayerRow) -> list[str | int]:
    numbers = [row.parameters, row.macs, row.activations]
    return [row.path, row.type, row.status, row.calls, output_text(row), *numbers]


def rows_csv(rows: Sequence[LayerRow]) -> str:
    """Comma-separated values, raw, with a line of names."""
    import csv  # which every other command would pay for

    buffer = StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(_cells(row) for row in rows)
    return buffer.getvalue()


def rows_markdown(rows: Sequence[LayerRow]) -> str:
    """A table as GitHub shows it; numbers with separators."""
    lines = [f"| {' | '.join(COLUMNS)} |", "|---|---|---|---:|---|---:|---:|---:|"]
    for row in rows:
        path, *cells = _cells(row)
        shown = [f"`{path}`", *(f"{cell:,}" if isinstance(cell, int) else cell for cell in cells)]
        lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in shown)} |")
    return "\n".join(lines) + "\n"
