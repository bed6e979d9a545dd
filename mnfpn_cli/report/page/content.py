"""What the page says in words, as values for its template: what was swept, on what, and what makes it uncertain."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mnfpn_cli.documents.records import WarningRecord
from mnfpn_cli.report.units import count, size_in_bytes
from mnfpn_cli.space.runs import differences

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mnfpn_cli.documents.records import EnvironmentRecord
    from mnfpn_cli.report.points import Point, Points
    from mnfpn_cli.store.rows import Sweep
    from mnfpn_cli.sweep.drift import Moved

FEW = 8
"""Values of an axis that are listed."""


@dataclass(frozen=True, slots=True)
class SweepContent:
    """A sweep: when it was started, by which command, and what of its space was left out, as ``3 invalid``."""

    id: int
    started: str
    left_out: Sequence[str]
    command: str


@dataclass(frozen=True, slots=True)
class Environments:
    """A table of the machines and software that measured; ``rows`` have a word for each of ``columns``."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True)
class Content:
    """Everything that the template words.

    Attributes:
        runs: how many there are.
        statuses: how many there are of each status, of those that there are.
        frontier: how many are on a frontier.
        layers_timed: whether any run has its layers timed.
        sweeps: that the runs are of.
        axes: the values of each setting in which runs differ, as they are listed.
        environments: the machines that measured; no rows where none did.
        moved: the times of the baseline that moved, in their order.
        worst: the drift that is farthest from that of the first time; 1 where nothing moved.
        warnings: what measurements said of themselves, by kind, each with the name of its run.
    """

    runs: int
    statuses: Mapping[str, int]
    frontier: int
    layers_timed: bool
    sweeps: Sequence[SweepContent]
    axes: Mapping[str, str]
    environments: Environments
    moved: Sequence[Moved]
    worst: float
    warnings: Mapping[str, Sequence[tuple[str, WarningRecord]]]


def page_content(points: Points) -> Content:
    """Gather what the page says of a store."""
    statuses = {status: points.count(status) for status in ("done", "failed", "pending")}
    axes = differences([one.stored.planned.run for one in points.all])
    return Content(
        runs=len(points.all),
        statuses={status: number for status, number in statuses.items() if number},
        frontier=sum(map(len, points.frontier.values())),
        layers_timed=any(one.stored.profile for one in points.all),
        sweeps=[_sweep(one) for one in points.sweeps],
        axes={key: _few(words) for key, words in axes.items()},
        environments=_environments(points),
        moved=points.moved,
        worst=max((one.drift for one in points.moved), key=lambda drift: abs(drift - 1), default=1.0),
        warnings=_warnings(points),
    )


def _sweep(sweep: Sweep) -> SweepContent:
    plan = sweep.plan
    numbers = {"invalid": sum(one.runs for one in plan.invalid), "over budget": sum(plan.over_budget.values())}
    left_out = [f"{count(number)} {words}" for words, number in numbers.items() if number]
    return SweepContent(sweep.id, moment(sweep.started), left_out, plan.command)


def moment(when: str) -> str:
    """ISO 8601 in UTC to the second, as people write it."""
    return when.partition(".")[0].replace("T", " ")


def _few(words: Sequence[str]) -> str:
    values = sorted(set(words), key=_in_order)
    return ", ".join(values[:FEW]) + (f" and {count(len(values) - FEW)} more" if len(values) > FEW else "")


def _in_order(word: str) -> tuple[bool, list[float], str]:
    """Numbers by size, ``64x128`` too, before words."""
    parts = re.fullmatch(r"(\d+(?:\.\d+)?)(?:x(\d+))?", word)
    return parts is None, [float(one) for one in parts.groups() if one] if parts else [], word


def _environments(points: Points) -> Environments:
    """Each machine and software that measured, once, with its runs."""
    groups = defaultdict[tuple[tuple[str, str], ...], list["Point"]](list)
    for one in points.all:
        if one.stored.measured:
            groups[_machine(one.worker, one.stored.measured.environment)].append(one)
    names = list(dict.fromkeys(name for group in groups for name, _ in group))
    rows = [_environment(dict(group), names, some) for group, some in groups.items()]
    return Environments([*names, "Measured", "Runs"], rows)


def _machine(worker: str, found: EnvironmentRecord) -> tuple[tuple[str, str], ...]:
    gpu = f"{found.gpu}, driver {found.driver}, CUDA {found.cuda}" if found.gpu else ""
    facts = {
        "Worker": worker,
        "CPU": f"{found.cpu}, {found.cores} cores",
        "GPU": gpu,
        "Memory": size_in_bytes(found.memory_bytes),
        "Software": f"torch {found.torch}, Python {found.python}, mnfpn {found.mnfpn}",
        "System": found.platform,
    }
    return tuple((name, value) for name, value in facts.items() if value)


def _environment(facts: Mapping[str, str], names: Sequence[str], some: Sequence[Point]) -> list[str]:
    dates = sorted(one.stored.result.finished[:16].replace("T", " ") for one in some if one.stored.result)
    when = f"{dates[0]} to {dates[-1]} UTC" if dates[0] != dates[-1] else f"{dates[0]} UTC"
    return [*(facts.get(name, "") for name in names), when, count(len(some))]


def _warnings(points: Points) -> dict[str, list[tuple[str, WarningRecord]]]:
    kinds = defaultdict[str, list[tuple[str, WarningRecord]]](list)
    for one in points.all:
        for warning in one.stored.measured.warnings if one.stored.measured else ():
            kinds[warning.kind].append((one.name, warning))
    return dict(sorted(kinds.items()))
