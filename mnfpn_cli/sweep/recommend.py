"""Recommend a measured run under a budget: the one with the largest capacity, and what more capacity would cost."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from mnfpn_cli.documents.report import NextCommands, PickRecord, RecommendationRecord, RecommendDocument
from mnfpn_cli.measure.statistics import Latency, latency_record
from mnfpn_cli.space.frontier import TimingGroup, measured_frontier, timing_group
from mnfpn_cli.space.planned import Budget, capacity_share
from mnfpn_cli.space.runs import Run, identities, name_of
from mnfpn_cli.store.rows import StoredRun
from mnfpn_cli.sweep.run_records import executed_run


@dataclass(frozen=True, slots=True)
class Pick:
    """A measured run; ``sure``: its whole 95 % interval is within the latency limit, or there is no limit."""

    run: StoredRun
    latency: Latency
    sure: bool


@dataclass(frozen=True, slots=True)
class Recommendation:
    """The recommended runs among those whose times can be compared.

    Attributes:
        group: what these have in common: machine, device, batch, and whether they train.
        picks: the frontier within the budget, the run with the largest capacity first.
        step: the fastest run with more capacity than all picks: what more capacity costs; None where there is none.
        measured: the number of measured runs.
        within: how many of them are within the budget.
        fastest: the fastest run, within the budget or not.
        most: the largest capacity of the store.
    """

    group: TimingGroup
    picks: tuple[Pick, ...]
    step: Pick | None
    measured: int
    within: int
    fastest: Pick
    most: int


def recommend(runs: Iterable[StoredRun], budget: Budget, most: int) -> list[Recommendation]:
    """Recommend runs within a budget, for each group whose times can be compared.

    Args:
        runs: the runs to choose from.
        budget: the limits.
        most: the largest capacity of the store.
    """
    timed = [one for one in runs if one.latency_s is not None]
    allowed = [one for one in timed if _allowed(one, budget)]
    every, within = measured_frontier(timed), measured_frontier(allowed)
    return [
        Recommendation(
            group,
            tuple(_pick(one, budget) for one in reversed(within.get(group, []))),
            _step(frontier, within.get(group, []), budget),
            sum(timing_group(one) == group for one in timed),
            sum(timing_group(one) == group for one in allowed),
            _pick(frontier[0], budget),
            most,
        )
        for group, frontier in every.items()
    ]


def _allowed(run: StoredRun, budget: Budget) -> bool:
    slow = budget.latency_s is not None and (run.latency_s or 0.0) > budget.latency_s
    return not slow and not budget.exceeded(run.figures)


def _step(frontier: Sequence[StoredRun], within: Sequence[StoredRun], budget: Budget) -> Pick | None:
    """Return the fastest run with more capacity than any within the budget."""
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
"""Return the command lines that inspect, export and measure a run."""


def recommend_document(
    recommendations: Sequence[Recommendation],
    objective: str,
    budget: Mapping[str, str],
    warnings: Sequence[str],
    commands: Commands,
) -> RecommendDocument:
    """Make the document of `mnfpn recommend`.

    Args:
        recommendations: the recommendation for each group.
        objective: the quantity that runs are chosen by, in words.
        budget: the limits as they were given, by parameter.
        warnings: reasons to trust the times less.
        commands: gives the commands that continue from a run.
    """
    return RecommendDocument(
        settings=None,
        model=None,
        objective=objective,
        budget=dict(budget),
        warnings=tuple(warnings),
        recommendations=tuple(_record(one, commands) for one in recommendations),
    )


def _record(found: Recommendation, commands: Commands) -> RecommendationRecord:
    """Return the record of a recommendation, with each run named as among its others."""
    picks = [*found.picks, *([found.step] if found.step else []), found.fastest]
    named = identities([one.run.planned.run for one in picks])
    records = [_pick_record(pick, identity, found.most, commands) for pick, identity in zip(picks, named, strict=True)]
    within = len(found.picks)
    return RecommendationRecord(
        **found.group._asdict(),
        measured=found.measured,
        within=found.within,
        picks=tuple(records[:within]),
        step=records[within] if found.step else None,
        fastest=records[-1],
    )


def _pick_record(pick: Pick, identity: Mapping[str, str], most: int, commands: Commands) -> PickRecord:
    run = pick.run.planned.run
    return PickRecord(
        **dict(executed_run(pick.run)),
        key=pick.run.key,
        identity=dict(identity),
        name=name_of(identity),
        size=str(run.size),
        latency_s=latency_record(pick.latency),
        within_surely=pick.sure,
        capacity_share=capacity_share(pick.run.figures.capacity, most),
        commands=commands(run),
    )
