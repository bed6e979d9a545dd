"""The runs of a store as reports show them: named, held against each other, corrected for the machine's drift."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mnfpn_cli.documents.records import StatusCounts
from mnfpn_cli.documents.report import FrontierRecord, FrontierRun, MovedRecord, ReportDocument
from mnfpn_cli.space.frontier import TimingGroup, largest_product, measured_frontier
from mnfpn_cli.space.planned import kept
from mnfpn_cli.space.runs import identifying_columns

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mnfpn_cli.measure.statistics import Latency
    from mnfpn_cli.store.rows import BaselineTiming, StoredRun, Sweep
    from mnfpn_cli.sweep.documents import Command
    from mnfpn_cli.sweep.drift import Moved

IN_COLUMNS = ("size", "batch", "runtime", "device", "train")
"""What runs differ in that has a column of its own, and need not be in their names."""

KEPT = (
    "Kept: capacity, in per cent of the most here: the geometric mean of four shares, of the channels of the "
    "backbone's tapped maps, the channels of the levels, the number of levels, and the cells of the finest level. "
    "It is no accuracy: depth, kernels and training are not in it."
)
"""What reports and recommendations go by, in so many words."""


@dataclass(frozen=True)
class Point:
    """A run of a report.

    Attributes:
        stored: the run, with its newest result.
        words: its settings by their keys, as far as they differ between the runs; else those that are no defaults.
        kept: the capacity that it keeps, as a share of the most in the report.
        latency: what was measured; None where nothing was.
        drift: of the machine when it was measured, against the first time of the baseline; None where that stayed.
        on_frontier: whether no run of its bench is as fast and keeps more, or faster and keeps as much.
    """

    stored: StoredRun
    words: Mapping[str, str]
    kept: float
    latency: Latency | None
    drift: float | None
    on_frontier: bool

    @property
    def name(self) -> str:
        """What it differs in from the other runs, as ``width_mult 0.5, channels 64``."""
        return name_of(self.words)

    @property
    def worker(self) -> str:
        """The machine that measured it; empty where none did."""
        return self.stored.result.worker if self.stored.result else ""

    @property
    def corrected_s(self) -> float | None:
        """The median in seconds over the machine's drift; None where the baseline stayed."""
        return self.latency.median / self.drift if self.latency and self.drift else None


@dataclass(frozen=True)
class Points:
    """What a report is of: all runs, the frontier of each bench, the sweeps, and where a baseline run moved."""

    all: Sequence[Point]
    frontier: dict[TimingGroup, list[Point]]
    sweeps: Sequence[Sweep]
    moved: Sequence[Moved]

    def count(self, status: str) -> int:
        """The runs of a status."""
        return sum(one.stored.status == status for one in self.all)


def points_of(runs: Sequence[StoredRun], sweeps: Sequence[Sweep], baselines: Sequence[BaselineTiming]) -> Points:
    """Work out what a report says of runs; of the baseline runs, those count that were timed between them."""
    from mnfpn_cli.sweep.drift import drifts_of, moves

    own = {one.result.sweep for one in runs if one.result}
    baselines = [one for one in baselines if one.sweep in own]
    frontier = measured_frontier(runs)
    best = {one.key for some in frontier.values() for one in some}
    measured = [one for one in runs if one.measured]
    most, drifts, moved = largest_product(measured or runs), drifts_of(runs, baselines), moves(baselines)
    found = {
        one.key: Point(
            one, words, kept(one.figures.capacity, most), _latency(one), drifts.get(one.key), one.key in best
        )
        for one, words in zip(runs, words_of(runs), strict=True)
    }
    lines = {bench: [found[one.key] for one in some] for bench, some in frontier.items()}
    return Points(list(found.values()), lines, sweeps, moved)


def words_of(runs: Sequence[StoredRun]) -> list[dict[str, str]]:
    """What names each run: the settings in which they differ, or else those that are not the defaults."""
    columns = identifying_columns([one.planned.run for one in runs], IN_COLUMNS)
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def name_of(words: Mapping[str, str]) -> str:
    """The settings of a run in one line."""
    return ", ".join(f"{key.rpartition('.')[2]} {word}".lstrip() for key, word in words.items())


def _latency(run: StoredRun) -> Latency | None:
    from mnfpn_cli.measure.statistics import Latency

    return Latency(run.result.samples) if run.measured and run.result else None


def report_document(points: Points, command: Command, output: str | None = None) -> ReportDocument:
    """Make the document of `mnfpn report`; ``output``: the file that was written instead of tables."""
    return ReportDocument(
        settings=None,
        model=None,
        counts=StatusCounts(**Counter[str](one.stored.status for one in points.all)),
        frontier=tuple(
            FrontierRecord(**bench._asdict(), runs=tuple(_frontier_run(one, command) for one in some))
            for bench, some in points.frontier.items()
        ),
        baseline_moved=tuple(
            MovedRecord(worker=one.worker, finished=one.finished, drift=one.drift) for one in points.moved
        ),
        output=output,
    )


def _frontier_run(point: Point, command: Command) -> FrontierRun:
    from mnfpn_cli.sweep.documents import ListedRun, stored_run

    run = stored_run(ListedRun(point.stored, point.drift), command)
    return FrontierRun(**dict(run), name=point.name, kept=point.kept)
