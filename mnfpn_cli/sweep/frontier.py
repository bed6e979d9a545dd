"""The measured frontier: the runs that no comparable run beats on both latency and score."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from mnfpn_cli.documents.records import ScoreRecord
from mnfpn_cli.measure.statistics import Interval, Latency
from mnfpn_cli.space.frontier import pareto
from mnfpn_cli.store.rows import BaselineTiming, StoredRun
from mnfpn_cli.sweep.drift import drifts_of
from mnfpn_cli.sweep.objective import Objective


class TimingGroup(NamedTuple):
    """What runs must have in common so that their times are comparable: machine, device, batch size, kind of pass."""

    machine: str
    device: str
    batch: int
    train: bool = False


@dataclass(frozen=True, slots=True)
class CorrectedRun:
    """A measured run; ``drift``: of its worker when it was measured, 1 where no baseline run moved."""

    run: StoredRun
    latency: Latency
    drift: float

    @property
    def seconds(self) -> float:
        """The median over the drift: the one time that runs are compared by, everywhere."""
        return self.latency.median / self.drift

    @property
    def interval(self) -> Interval | None:
        """The 95 % interval of the median over the drift; None with too few samples."""
        raw = self.latency.interval
        return Interval(raw.low / self.drift, raw.high / self.drift) if raw else None

    @property
    def group(self) -> TimingGroup:
        """The runs whose times are comparable with this one's."""
        execution = self.run.execution
        return TimingGroup(self.run.machine, self.run.device, execution.batch, execution.train)


@dataclass(frozen=True, slots=True)
class ScoredRun:
    """A measured run with a score."""

    timed: CorrectedRun
    score: ScoreRecord

    @property
    def run(self) -> StoredRun:
        """The run."""
        return self.timed.run


def timed_runs(runs: Iterable[StoredRun], drifts: Mapping[str, float]) -> list[CorrectedRun]:
    """Return the measured runs with their times; ``drifts``: as `drifts_of` returns them."""
    return [
        CorrectedRun(one, Latency(one.result.samples), drifts.get(one.key, 1.0))
        for one in runs
        if one.measured and one.result
    ]


def scored_runs(
    runs: Sequence[StoredRun], baselines: Sequence[BaselineTiming], objective: Objective
) -> list[ScoredRun]:
    """Return the measured runs that have a score."""
    timed = timed_runs(runs, drifts_of(runs, baselines))
    return [ScoredRun(one, objective.scores[one.run.key]) for one in timed if one.run.key in objective.scores]


def frontiers(found: Iterable[ScoredRun]) -> dict[TimingGroup, list[ScoredRun]]:
    """Return the frontier of score over latency in each timing group, the fastest run first."""
    groups = defaultdict[TimingGroup, list[ScoredRun]](list)
    for one in found:
        groups[one.timed.group].append(one)
    return {
        group: pareto(some, lambda one: one.timed.seconds, lambda one: one.score.value)
        for group, some in sorted(groups.items())
    }
