"""Recommend a measured run under a budget: the one with the highest score, and what a higher score would cost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mnfpn_cli.documents.report import PickRecord, RecommendationRecord, RecommendDocument, StepRecord
from mnfpn_cli.measure.statistics import latency_record, unpaired_ratio
from mnfpn_cli.space.planned import Budget
from mnfpn_cli.space.runs import identities, names_of
from mnfpn_cli.sweep.command_lines import next_commands
from mnfpn_cli.sweep.frontier import ScoredRun, TimingGroup, frontiers
from mnfpn_cli.sweep.objective import Objective
from mnfpn_cli.sweep.run_records import executed_run


@dataclass(frozen=True, slots=True)
class Recommendation:
    """The recommended runs among those whose times can be compared.

    Attributes:
        group: what these have in common: machine, device, batch, and whether they train.
        picks: the frontier within the budget, the run with the highest score first.
        step: the fastest run with a higher score than all picks: what more costs; None where there is none.
        measured: the number of measured runs with a score.
        within: how many of them are within the budget.
        fastest: the fastest run, within the budget or not.
    """

    group: TimingGroup
    picks: tuple[ScoredRun, ...]
    step: ScoredRun | None
    measured: int
    within: int
    fastest: ScoredRun


def recommend(found: Sequence[ScoredRun], budget: Budget) -> list[Recommendation]:
    """Recommend runs within a budget, for each group whose times can be compared."""
    allowed = [one for one in found if is_allowed(one, budget)]
    every, within = frontiers(found), frontiers(allowed)
    return [
        Recommendation(
            group,
            tuple(reversed(within.get(group, []))),
            _step(frontier, within.get(group, [])),
            sum(one.timed.group == group for one in found),
            sum(one.timed.group == group for one in allowed),
            frontier[0],
        )
        for group, frontier in every.items()
    ]


def is_allowed(one: ScoredRun, budget: Budget) -> bool:
    """Return whether a measured run is within a budget."""
    slow = budget.latency_s is not None and one.timed.seconds > budget.latency_s
    return not slow and not budget.exceeded(one.run.figures)


def _step(frontier: Sequence[ScoredRun], within: Sequence[ScoredRun]) -> ScoredRun | None:
    """Return the fastest run with a higher score than any within the budget."""
    most = max((one.score.value for one in within), default=0.0)
    return next((one for one in frontier if one.score.value > most), None) if within else None


def recommend_document(
    recommendations: Sequence[Recommendation],
    objective: Objective,
    budget: Budget,
    given: Mapping[str, str],
    warnings: Sequence[str],
) -> RecommendDocument:
    """Make the document of `mnfpn recommend`.

    Args:
        recommendations: the recommendation for each group.
        objective: what runs are chosen by.
        budget: the limits.
        given: the limits as they were given, by parameter.
        warnings: reasons to trust the times less.
    """
    return RecommendDocument(
        settings=None,
        model=None,
        metric=objective.metric,
        objective=objective.words,
        budget=dict(given),
        warnings=(*objective.warnings, *warnings),
        recommendations=tuple(_record(one, budget) for one in recommendations),
    )


def _record(found: Recommendation, budget: Budget) -> RecommendationRecord:
    """Return the record of a recommendation, with each run named as among its others."""
    chosen = [*found.picks, *([found.step] if found.step else []), found.fastest]
    named = identities([one.run.planned.run for one in chosen])
    named_picks = zip(chosen, named, names_of(named), strict=True)
    records = [_pick_record(one, identity, name, budget) for one, identity, name in named_picks]
    within = len(found.picks)
    return RecommendationRecord(
        **found.group._asdict(),
        measured=found.measured,
        within=found.within,
        picks=tuple(records[:within]),
        step=_step_record(found.picks[0], found.step, records[within]) if found.step else None,
        fastest=records[-1],
    )


def _step_record(first: ScoredRun, step: ScoredRun, record: PickRecord) -> StepRecord:
    """Return the record of the next step, with its time over that of the first pick."""
    ratio = step.timed.seconds / first.timed.seconds
    interval = unpaired_ratio(_corrected(first), _corrected(step)).interval
    # Of times with two humps, the interval may be about another middle than the medians are.
    bounds = tuple(interval) if interval and interval.low <= ratio <= interval.high else None
    return StepRecord(**dict(record), ratio=ratio, ratio_ci95=bounds)


def _corrected(one: ScoredRun) -> list[float]:
    """Return the samples of a run over its drift."""
    return [sample / one.timed.drift for sample in one.timed.latency.samples]


def _pick_record(pick: ScoredRun, identity: Mapping[str, str], name: str, budget: Budget) -> PickRecord:
    run, timed = pick.run.planned.run, pick.timed
    sure = budget.latency_s is None or (timed.interval is not None and timed.interval.high <= budget.latency_s)
    return PickRecord(
        **dict(executed_run(pick.run)),
        key=pick.run.key,
        identity=dict(identity),
        name=name,
        size=str(run.size),
        latency_s=latency_record(timed.latency),
        drift=timed.drift if timed.drift != 1 else None,
        corrected_s=timed.seconds if timed.drift != 1 else None,
        within_surely=sure,
        score=pick.score,
        commands=next_commands(run),
    )
