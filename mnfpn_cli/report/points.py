"""The runs of a store as reports show them: with names, the frontier, and times corrected for drift."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mnfpn_cli.documents.records import StatusCounts
from mnfpn_cli.documents.report import FrontierRecord, FrontierRun, ReportDocument
from mnfpn_cli.space.frontier import TimingGroup, largest_product, measured_frontier
from mnfpn_cli.space.planned import capacity_share
from mnfpn_cli.space.runs import identities, name_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mnfpn_cli.documents.sweep import MovedRecord
    from mnfpn_cli.measure.statistics import Latency
    from mnfpn_cli.store.rows import BaselineTiming, StoredRun, Sweep
    from mnfpn_cli.sweep.documents import Command


@dataclass(frozen=True)
class Point:
    """A run of a report.

    Attributes:
        stored: the run, with its newest result.
        words: its settings by key, those in which the runs of the report differ; else those that are not the default.
        capacity_share: its capacity, as a share of the largest in the report.
        latency: the time of a pass; None where it was not measured.
        drift: the drift of the worker when the run was measured; None where no baseline run moved.
        on_frontier: whether no comparable run is as fast with more capacity, or faster with as much.
    """

    stored: StoredRun
    words: Mapping[str, str]
    capacity_share: float
    latency: Latency | None
    drift: float | None
    on_frontier: bool

    @property
    def name(self) -> str:
        """Its settings in one line, as ``width_mult 0.5, channels 64``."""
        return name_of(self.words)

    @property
    def worker(self) -> str:
        """The worker that measured it; empty where none did."""
        return self.stored.result.worker if self.stored.result else ""

    @property
    def corrected_s(self) -> float | None:
        """The median divided by the drift, in seconds; None where no baseline run moved."""
        return self.latency.median / self.drift if self.latency and self.drift else None


@dataclass(frozen=True)
class Points:
    """The content of a report.

    Attributes:
        all: its runs.
        frontier: the runs of each frontier, the fastest first, by what they have in common.
        sweeps: the sweeps of the runs.
        moved: the baseline runs that moved.
    """

    all: Sequence[Point]
    frontier: dict[TimingGroup, list[Point]]
    sweeps: Sequence[Sweep]
    moved: Sequence[MovedRecord]

    def count(self, status: str) -> int:
        """Return the number of runs of a status."""
        return sum(one.stored.status == status for one in self.all)


def points_of(runs: Sequence[StoredRun], sweeps: Sequence[Sweep], baselines: Sequence[BaselineTiming]) -> Points:
    """Make the content of a report of some runs; of the baseline runs, those of the runs' own sweeps count."""
    from mnfpn_cli.sweep.drift import drifts_of, moved_baselines

    own = {one.result.sweep for one in runs if one.result}
    baselines = [one for one in baselines if one.sweep in own]
    frontier = measured_frontier(runs)
    on_frontier = {run.key for best in frontier.values() for run in best}
    most = largest_product([run for run in runs if run.measured] or runs)
    drifts = drifts_of(runs, baselines)
    points = {
        run.key: Point(
            stored=run,
            words=words,
            capacity_share=capacity_share(run.figures.capacity, most),
            latency=_latency(run),
            drift=drifts.get(run.key),
            on_frontier=run.key in on_frontier,
        )
        for run, words in zip(runs, identities([one.planned.run for one in runs]), strict=True)
    }
    lines = {group: [points[run.key] for run in best] for group, best in frontier.items()}
    return Points(list(points.values()), lines, sweeps, moved_baselines(baselines))


def _latency(run: StoredRun) -> Latency | None:
    from mnfpn_cli.measure.statistics import Latency

    return Latency(run.result.samples) if run.measured and run.result else None


def report_document(points: Points, command: Command, output: str | None = None) -> ReportDocument:
    """Make the document of `mnfpn report`; ``output``: the file that was written instead of the tables."""
    return ReportDocument(
        settings=None,
        model=None,
        counts=StatusCounts(**Counter[str](one.stored.status for one in points.all)),
        frontier=tuple(
            FrontierRecord(**group._asdict(), runs=tuple(_frontier_run(one, command) for one in some))
            for group, some in points.frontier.items()
        ),
        baseline_moved=tuple(points.moved),
        output=output,
    )


def _frontier_run(point: Point, command: Command) -> FrontierRun:
    from mnfpn_cli.sweep.documents import run_record

    run = run_record(point.stored, point.drift, point.words, command)
    return FrontierRun(**dict(run), name=point.name, capacity_share=point.capacity_share)
