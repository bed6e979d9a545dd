"""Plan the runs of a space: compute the cost of each from its plan, and leave out runs over a budget."""

import gc
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

from mnfpn_cli.documents.records import PlannedCost, PlannedRun
from mnfpn_cli.errors import Problem, UsageError
from mnfpn_cli.plan.cost import Cost, walked_activation_bytes, walked_cost
from mnfpn_cli.plan.network import NetworkPlan, plan_network
from mnfpn_cli.plan.shapes import image_input
from mnfpn_cli.plan.steps import walk_once
from mnfpn_cli.settings.input import DType, Size
from mnfpn_cli.settings.network import NetworkSettings
from mnfpn_cli.space.axes import Invalid, Space
from mnfpn_cli.space.runs import Execution, Run
from mnfpn_cli.text import ReportProgress


class Figures(NamedTuple):
    """The planned cost of a run.

    Attributes:
        parameters: parameters of the network.
        macs: MACs of one image.
        memory_bytes: bytes of weights and buffers, and of the activations of the batch at their peak.
        levels: levels of the pyramid; 1 without one.
    """

    parameters: int
    macs: int
    memory_bytes: int
    levels: int


class Planned(NamedTuple):
    """A run and its planned cost."""

    run: Run
    figures: Figures


DECIMAL = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
BINARY = {"Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40}
BYTES = {f"{prefix}{unit}": factor for prefix, factor in {**DECIMAL, **BINARY}.items() for unit in ("", "B")}
SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6}
"""The factors of the units of durations; the tables above have those of counts and bytes."""

NUMBER = r"[0-9]{1,18}(?:\.[0-9]{0,18})?(?:[eE][+-]?[0-9]{1,3})?"
"""A regular expression of a positive decimal number."""


@dataclass(frozen=True, slots=True)
class Budget:
    """The limits on a run; None means no limit.

    ``levels`` is the least number, the others are the most. ``latency_s`` applies only to measured runs.
    """

    macs: int | None = None
    parameters: int | None = None
    memory_bytes: int | None = None
    levels: int | None = None
    latency_s: float | None = None

    def exceeded(self, figures: Figures) -> str:
        """Return the first limit that a run exceeds, as ``max_macs``; empty where it is within the budget."""
        if self.macs is not None and figures.macs > self.macs:
            return "max_macs"
        if self.parameters is not None and figures.parameters > self.parameters:
            return "max_parameters"
        if self.memory_bytes is not None and figures.memory_bytes > self.memory_bytes:
            return "max_memory"
        if self.levels is not None and figures.levels < self.levels:
            return "min_levels"
        return ""


def parse_count(where: str, text: str) -> int:
    """Parse a count such as ``5G``, ``5e9`` or ``4000000``.

    Raises:
        UsageError: where it is not a number of 1 or more.
    """
    return round(_quantity(where, text, DECIMAL, "a number of 1 or more, as 5G, 5e9 or 4000000", least=1.0))


def parse_bytes(where: str, text: str) -> int:
    """Parse a number of bytes such as ``200MiB``, ``1.5G`` or ``1000000``.

    Raises:
        UsageError: where it is not a number of 1 or more.
    """
    return round(_quantity(where, text, BYTES, "1 byte or more, as 200MiB, 1.5GB or 2e8", least=1.0))


def parse_duration(where: str, text: str) -> float:
    """Parse a duration such as ``30ms`` or ``0.5s``; return seconds.

    Raises:
        UsageError: where it has no unit or is not above 0.
    """
    return _quantity(where, text, SECONDS, "a duration above 0 in s, ms, us or µs, as 30ms or 0.5s")


def _quantity(where: str, text: str, units: dict[str, float], rule: str, least: float = 0.0) -> float:
    match = re.fullmatch(rf"({NUMBER})\s*([A-Za-zµ]*)", text.strip())
    value = float(match[1]) * units[match[2]] if match and match[2] in units else 0.0
    if not (value > 0 and least <= value < math.inf):
        raise UsageError(Problem(where, f"must be {rule}", f"'{text}'"))
    return value


@dataclass
class PlannedSpace:
    """The planned runs of a space, and counts of those that were left out.

    Attributes:
        runs: the valid runs within the budget, each once.
        invalid: the number of runs without a valid network, by reason.
        cut: the number of runs over the budget, by the limit that they exceed.
        repeated: the number of runs that are equal to a run of an earlier combination.
    """

    runs: list[Planned] = field(default_factory=list)
    invalid: Counter[str] = field(default_factory=Counter)
    cut: Counter[str] = field(default_factory=Counter)
    repeated: int = 0

    def add(self, runs: Iterable[Planned], budget: Budget) -> None:
        """Add the runs within a budget, and count the others under the limit that they exceed."""
        for run in runs:
            exceeded = budget.exceeded(run.figures)
            if exceeded:
                self.cut[exceeded] += 1
            else:
                self.runs.append(run)


def plan_space(space: Space, budget: Budget, progress: ReportProgress = lambda _doing, _share: None) -> PlannedSpace:
    """Plan every run of a space, and leave out runs over the budget.

    Raises:
        UsageError: where a choice is invalid in every combination, or the space has more than `MAX_RUNS` runs.
    """
    space.check()
    with gc_paused():
        return _plan_space(space, budget, progress)


@contextmanager
def gc_paused() -> Iterator[None]:
    """Pause the garbage collector: planned runs have no cycles, and scanning them takes a tenth of the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _plan_space(space: Space, budget: Budget, progress: ReportProgress) -> PlannedSpace:
    executions = space.executions()
    planned, seen, done = PlannedSpace(), set[tuple[NetworkSettings, Size]](), 0
    for network in space.networks():
        if isinstance(network, Invalid):
            planned.invalid[network.reason] += network.runs
            done += network.runs
        else:
            done += len(executions)
            known = len(seen)
            seen.add(network)  # to ask before adding would hash the settings twice
            if len(seen) == known:
                planned.repeated += len(executions)
                continue
            planned.add(plan_runs(*network, executions), budget)
        if done % 100 < len(executions):
            progress("planning", done / space.count)
    return planned


def plan_runs(settings: NetworkSettings, size: Size, executions: Sequence[Execution]) -> Iterator[Planned]:
    """Yield the planned run of a network at a size for each execution."""
    plan = plan_network(settings)
    dtypes = dict.fromkeys(execution.dtype for execution in executions)
    total, activations = _cost(plan, size, tuple(dtypes))
    levels = len(plan.pyramid.names) if plan.pyramid else 1
    for execution in executions:
        dtype = execution.dtype
        memory = total.state_bytes(dtype) + execution.batch * activations[dtype]
        yield Planned(Run(settings, size, execution), Figures(total.parameters, total.macs, memory, levels))


# Networks that follow each other in a space often have one plan: several multipliers round to the same channels.
@lru_cache(maxsize=4)
def _cost(plan: NetworkPlan, size: Size, dtypes: tuple[DType, ...]) -> tuple[Cost, dict[DType, int]]:
    """Return the cost of a network on an image, and the bytes of its activations in each dtype."""
    walked = walk_once(plan, size)
    return walked_cost(walked).total, {dtype: walked_activation_bytes(walked, dtype) for dtype in dtypes}


def planned_run(planned: Planned) -> PlannedRun:
    """Return the record of a run that was planned and not measured."""
    run, figures = planned
    execution = run.execution
    return PlannedRun(
        settings=run.settings,
        input=image_input(run.input),
        runtime=execution.runtime,
        device=execution.device,
        dtype=execution.dtype,
        threads=execution.threads,
        train=execution.train,
        allocator=execution.allocator,
        cost=PlannedCost(
            parameters=figures.parameters,
            macs=figures.macs,
            planned_memory_bytes=figures.memory_bytes,
            levels=figures.levels,
        ),
    )
