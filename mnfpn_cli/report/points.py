"""The cells of a store as reports show them: named, held against each other, corrected for the machine's pace."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mnfpn_cli.documents.costs import StatusCounts
from mnfpn_cli.documents.report import FrontierRecord, FrontierRun, MovedRecord, ReportDocument
from mnfpn_cli.space.frontier import Bench, largest_product, measured_frontier
from mnfpn_cli.space.names import named
from mnfpn_cli.space.planned import kept

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mnfpn_cli.measure.statistics import Latency
    from mnfpn_cli.store.rows import Reference, StoredCell, Sweep
    from mnfpn_cli.sweep.drift import Moved
    from mnfpn_cli.sweep.runs import Command

IN_COLUMNS = ("size", "batch", "runtime", "device", "train")
"""What cells differ in that has a column of its own, and need not be in their names."""

KEPT = (
    "Kept: capacity, in per cent of the most here: the geometric mean of four shares, of the channels of the "
    "backbone's tapped maps, the channels of the levels, the number of levels, and the cells of the finest level. "
    "It is no accuracy: depth, kernels and training are not in it."
)
"""What reports and recommendations go by, in so many words."""


@dataclass(frozen=True)
class Point:
    """A cell of a report.

    Attributes:
        stored: the cell, with its newest result.
        words: its settings by their keys, as far as they differ between the cells; else those that are no defaults.
        kept: the capacity that it keeps, as a share of the most in the report.
        latency: what was measured; None where nothing was.
        pace: of the machine when it was measured, against the first time of the reference; None where that stayed.
        on_frontier: whether no cell of its bench is as fast and keeps more, or faster and keeps as much.
    """

    stored: StoredCell
    words: Mapping[str, str]
    kept: float
    latency: Latency | None
    pace: float | None
    on_frontier: bool

    @property
    def name(self) -> str:
        """What it differs in from the other cells, as ``width_mult 0.5, channels 64``."""
        return name_of(self.words)

    @property
    def node(self) -> str:
        """The machine that measured it; empty where none did."""
        return self.stored.result.node if self.stored.result else ""

    @property
    def corrected_s(self) -> float | None:
        """The median in seconds over the machine's pace; None where the reference stayed."""
        return self.latency.median / self.pace if self.latency and self.pace else None


@dataclass(frozen=True)
class Points:
    """What a report is of: all cells, the frontier of each bench, the sweeps, and where a reference cell moved."""

    all: Sequence[Point]
    frontier: dict[Bench, list[Point]]
    sweeps: Sequence[Sweep]
    moved: Sequence[Moved]

    def count(self, status: str) -> int:
        """The cells of a status."""
        return sum(one.stored.status == status for one in self.all)


def points_of(cells: Sequence[StoredCell], sweeps: Sequence[Sweep], references: Sequence[Reference]) -> Points:
    """Work out what a report says of cells; of the reference cells, those count that were timed between them."""
    from mnfpn_cli.sweep.drift import moves, paces_of

    own = {one.result.sweep for one in cells if one.result}
    references = [one for one in references if one.sweep in own]
    frontier = measured_frontier(cells)
    best = {one.key for some in frontier.values() for one in some}
    measured = [one for one in cells if one.measured]
    most, paces, moved = largest_product(measured or cells), paces_of(cells, references), moves(references)
    found = {
        one.key: Point(one, words, kept(one.figures.capacity, most), _latency(one), paces.get(one.key), one.key in best)
        for one, words in zip(cells, words_of(cells), strict=True)
    }
    lines = {bench: [found[one.key] for one in some] for bench, some in frontier.items()}
    return Points(list(found.values()), lines, sweeps, moved)


def words_of(cells: Sequence[StoredCell]) -> list[dict[str, str]]:
    """What names each cell: the settings in which they differ, or else those that are not the defaults."""
    columns = named([one.cell for one in cells], IN_COLUMNS)
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def name_of(words: Mapping[str, str]) -> str:
    """The settings of a cell in one line."""
    return ", ".join(f"{key.rpartition('.')[2]} {word}".lstrip() for key, word in words.items())


def _latency(cell: StoredCell) -> Latency | None:
    from mnfpn_cli.measure.statistics import Latency

    return Latency(cell.result.samples) if cell.measured and cell.result else None


def report_document(points: Points, command: Command, output: str | None = None) -> ReportDocument:
    """Make the document of `mnfpn report`; ``output``: the file that was written instead of tables."""
    return ReportDocument(
        settings=None,
        model=None,
        counts=StatusCounts(**Counter[str](one.stored.status for one in points.all)),
        frontier=tuple(
            FrontierRecord(**bench._asdict(), cells=tuple(_frontier_run(one, command) for one in some))
            for bench, some in points.frontier.items()
        ),
        reference_moved=tuple(MovedRecord(node=one.node, finished=one.finished, pace=one.pace) for one in points.moved),
        output=output,
    )


def _frontier_run(point: Point, command: Command) -> FrontierRun:
    from mnfpn_cli.sweep.runs import CellRow, stored_run

    run = stored_run(CellRow(point.stored, point.pace), command)
    return FrontierRun(**dict(run), name=point.name, kept=point.kept)
