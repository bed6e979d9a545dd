"""Which measured run to take under a budget: the one that keeps the most capacity, and what more of it would cost."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from mnfpn_cli.documents.records import ImageSize
from mnfpn_cli.documents.report import NextCommands, PickRecord, RecommendationRecord, RecommendDocument
from mnfpn_cli.measure.statistics import Latency, latency_record
from mnfpn_cli.space.frontier import TimingGroup, measured_frontier, timing_group
from mnfpn_cli.space.planned import Budget, kept
from mnfpn_cli.space.runs import Run
from mnfpn_cli.store.rows import StoredRun
from mnfpn_cli.sweep.documents import executed_run


@dataclass(frozen=True, slots=True)
class Pick:
    """A measured run; ``sure``: its whole 95 % interval is within the latency that was asked for."""

    run: StoredRun
    latency: Latency
    sure: bool


@dataclass(frozen=True, slots=True)
class Recommendation:
    """What to take on one bench.

    Attributes:
        bench: the machine, its device, the batch.
        picks: the runs of the frontier within the budget, the one that keeps the most first.
        step: the run that is next on the frontier of all: what more capacity would cost.
        measured: how many runs were compared.
        within: how many of them are within the budget.
        fastest: of all.
        most: the largest capacity that any of them has.
    """

    bench: TimingGroup
    picks: tuple[Pick, ...]
    step: Pick | None
    measured: int
    within: int
    fastest: Pick
    most: int


def recommend(runs: Iterable[StoredRun], budget: Budget, most: int) -> list[Recommendation]:
    """For each bench the best measured runs within a budget; ``most``: the largest capacity of all in their store."""
    timed = [one for one in runs if one.latency_s is not None]
    allowed = [one for one in timed if _allowed(one, budget)]
    every, within = measured_frontier(timed), measured_frontier(allowed)
    return [
        Recommendation(
            where,
            tuple(_pick(one, budget) for one in reversed(within.get(where, []))),
            _step(frontier, within.get(where, []), budget),
            sum(timing_group(one) == where for one in timed),
            sum(timing_group(one) == where for one in allowed),
            _pick(frontier[0], budget),
            most,
        )
        for where, frontier in every.items()
    ]


def _allowed(run: StoredRun, budget: Budget) -> bool:
    slow = budget.latency_s is not None and (run.latency_s or 0.0) > budget.latency_s
    return not slow and not budget.exceeded(run.figures)


def _step(frontier: Sequence[StoredRun], within: Sequence[StoredRun], budget: Budget) -> Pick | None:
    """The fastest run that keeps more than any within the budget."""
    most = max((_product(one) for one in within), default=0)
    above = [one for one in frontier if _product(one) > most]
    return _pick(above[0], budget) if above and within else None


def _pick(run: StoredRun, budget: Budget) -> Pick:
    latency = Latency(run.result.samples if run.result else ())
    sure = budget.latency_s is None or (latency.interval is not None and latency.interval.high <= budget.latency_s)
    return Pick(run, latency, sure)


def _product(run: StoredRun) -> int:
    return run.figures.capacity.product


Commands = Callable[[Run], NextCommands]
"""Gives the commands that say what to do with a run next."""


def recommend_document(
    found: Sequence[Recommendation], objective: str, warnings: Sequence[str], commands: Commands
) -> RecommendDocument:
    """Make the document of `mnfpn recommend`; ``objective``: what a recommendation goes by, in words."""
    return RecommendDocument(
        settings=None,
        model=None,
        objective=objective,
        warnings=tuple(warnings),
        recommendations=tuple(
            RecommendationRecord(
                **one.bench._asdict(),
                measured=one.measured,
                within=one.within,
                picks=tuple(_pick_record(pick, one.most, commands) for pick in one.picks),
                step=_pick_record(one.step, one.most, commands) if one.step else None,
            )
            for one in found
        ),
    )


def _pick_record(pick: Pick, most: int, commands: Commands) -> PickRecord:
    run = pick.run.planned.run
    return PickRecord(
        **dict(executed_run(pick.run)),
        key=pick.run.key,
        size=ImageSize(**run.size._asdict()),
        latency_s=latency_record(pick.latency),
        within_surely=pick.sure,
        kept=kept(pick.run.figures.capacity, most),
        commands=commands(run),
    )
