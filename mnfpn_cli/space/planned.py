"""What each network of a space costs by its plan, before anything is built; and what it may cost at most."""

from __future__ import annotations

import gc
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

from mnfpn_cli.documents.records import CapacityRecord, PlannedCost, PlannedRun
from mnfpn_cli.errors import Problem, UsageError
from mnfpn_cli.plan.cost import activation_bytes, network_cost
from mnfpn_cli.plan.network import plan_network
from mnfpn_cli.plan.shapes import image_input
from mnfpn_cli.plan.steps import Walk, cells, walk
from mnfpn_cli.settings.input import NetworkInput, Size
from mnfpn_cli.settings.network import NetworkSettings
from mnfpn_cli.space.axes import Invalid, Space
from mnfpn_cli.space.runs import Execution, Run

DECIMAL = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
BINARY = {"Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40}
BYTES = {f"{prefix}{unit}": factor for prefix, factor in {**DECIMAL, **BINARY}.items() for unit in ("", "B")}
SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6}


@dataclass(frozen=True, slots=True)
class Budget:
    """The most that a run may cost; None is no limit. The latency is known only where it was measured."""

    macs: int | None = None
    parameters: int | None = None
    memory_bytes: int | None = None
    levels: int | None = None
    latency_s: float | None = None

    def exceeded(self, figures: Figures) -> str:
        """The parameter whose limit a run exceeds; nothing where it is within all that a plan can tell."""
        if self.macs is not None and figures.macs > self.macs:
            return "max_macs"
        if self.parameters is not None and figures.parameters > self.parameters:
            return "max_parameters"
        if self.memory_bytes is not None and figures.memory_bytes > self.memory_bytes:
            return "max_memory"
        if self.levels is not None and figures.capacity.levels < self.levels:
            return "min_levels"
        return ""


def parse_count(where: str, text: str) -> int:
    """Read ``5G``, ``5e9`` or ``4000000``.

    Raises:
        UsageError: where it is no number from 1 on.
    """
    return round(_quantity(where, text, DECIMAL, "a number of 1 or more, as 5G, 5e9 or 400000", least=1.0))


def parse_bytes(where: str, text: str) -> int:
    """Read ``200MiB``, ``1.5G`` or ``1000000``.

    Raises:
        UsageError: where it is no number from 1 on.
    """
    return round(_quantity(where, text, BYTES, "1 byte or more, as 200MiB, 1.5GB or 2e8", least=1.0))


def parse_duration(where: str, text: str) -> float:
    """Read ``30ms`` or ``0.5s``, into seconds.

    Raises:
        UsageError: where it has no unit, or is not above 0.
    """
    return _quantity(where, text, SECONDS, "a duration above 0 in s, ms, us or µs, as 30ms or 0.5s")


NUMBER = r"[0-9]{1,18}(?:\.[0-9]{0,18})?(?:[eE][+-]?[0-9]{1,3})?"


def _quantity(where: str, text: str, units: dict[str, float], rule: str, least: float = 0.0) -> float:
    match = re.fullmatch(rf"({NUMBER})\s*([A-Za-zµ]*)", text.strip())
    value = float(match[1]) * units[match[2]] if match and match[2] in units else 0.0
    if not (value > 0 and least <= value < math.inf):
        raise UsageError(Problem(where, f"must be {rule}", f"'{text}'"))
    return value


Progress = Callable[[str, float], None]


class Capacity(NamedTuple):
    """What a network keeps for whatever comes behind it. It is no accuracy: depth and kernels are not in it.

    Attributes:
        backbone_channels: of the maps that the pyramid or the head is built on, summed.
        channels: of every level; of a network without a pyramid, of the map that its head sees.
        levels: of the pyramid; 1 without one.
        cells: of the finest of these maps.
    """

    backbone_channels: int
    channels: int
    levels: int
    cells: int

    @property
    def product(self) -> int:
        """All four counted alike: twice the channels are worth twice the cells. It orders; it has no unit."""
        return self.backbone_channels * self.channels * self.levels * self.cells


class Figures(NamedTuple):
    """What a run costs: parameters, MACs of one image, bytes of weights and activations of the batch."""

    parameters: int
    macs: int
    memory_bytes: int
    capacity: Capacity


class Planned(NamedTuple):
    """A run, and what its plan says of it."""

    run: Run
    figures: Figures


@dataclass
class PlannedSpace:
    """A space worked out.

    Attributes:
        runs: valid, within the budget, each once.
        invalid: combinations that are no network, by reason.
        cut: runs beyond the budget, by what they exceed.
        repeated: runs that other combinations give too.
    """

    runs: list[Planned] = field(default_factory=list)
    invalid: Counter[str] = field(default_factory=Counter)
    cut: Counter[str] = field(default_factory=Counter)
    repeated: int = 0


def plan_space(space: Space, budget: Budget, progress: Progress = lambda _doing, _share: None) -> PlannedSpace:
    """Work out every run.

    Raises:
        UsageError: where a choice is wrong by itself, or there are more runs than anybody can wait for.
    """
    space.check()
    with gc_paused():
        return _plan_space(space, budget, progress)


@contextmanager
def gc_paused() -> Iterator[None]:
    """Leave garbage alone: what is made here has no cycles and stays; looking through it takes a tenth of the time."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _plan_space(space: Space, budget: Budget, progress: Progress) -> PlannedSpace:
    executions = space.executions()
    made, seen, done, total = PlannedSpace(), set[tuple[NetworkSettings, Size]](), 0, space.count
    for one in space.networks():
        if isinstance(one, Invalid):
            made.invalid[one.reason] += one.runs
            done += one.runs
        else:
            done += len(executions)
            if one in seen:
                made.repeated += len(executions)
                continue
            seen.add(one)
            sort_in(made, plan_runs(*one, executions), budget)
        if done % 100 < len(executions):
            progress("planning", done / total)
    return made


def plan_runs(settings: NetworkSettings, size: Size, executions: Iterable[Execution]) -> Iterator[Planned]:
    """A network at a size, run in each of some ways."""
    plan = plan_network(settings)
    cost = network_cost(plan, size)
    total, capacity = cost.total, _capacity(walk(plan, size))
    image, activations = NetworkInput(1, settings.in_channels, size), dict[str, int]()
    for execution in executions:
        dtype = execution.dtype
        if dtype not in activations:
            activations[dtype] = activation_bytes(plan, image, dtype)
        memory = cost.state_bytes(dtype) + execution.batch * activations[dtype]
        yield Planned(Run(settings, size, execution), Figures(total.parameters, total.macs, memory, capacity))


def sort_in(made: PlannedSpace, runs: Iterable[Planned], budget: Budget) -> None:
    """Put runs where they belong: among those within the budget, or among those that are cut."""
    for one in runs:
        exceeded = budget.exceeded(one.figures)
        if exceeded:
            made.cut[exceeded] += 1
        else:
            made.runs.append(one)


def _capacity(walked: Walk) -> Capacity:
    pyramid = walked.plan.pyramid
    if pyramid is None:
        channels = walked.plan.backbone.stages[-1].out_channels
        return Capacity(channels, channels, 1, cells(walked.stages[-1]))
    tapped = sum(level.lateral.in_channels for level in pyramid.levels)
    return Capacity(tapped, pyramid.channels, len(pyramid.names), cells(walked.levels[0]))


def kept(capacity: Capacity, most: int) -> float:
    """The capacity kept, as a share of the most that any run has: the geometric mean of the four shares.

    ``most``: the largest `Capacity.product`. That the shares of runs are ordered as their products are is all that
    choices rest on.
    """
    share: float = (capacity.product / most) ** 0.25
    return share


def planned_run(one: Planned) -> PlannedRun:
    """Describe a run by its plan, as it was asked for."""
    run, figures = one
    execution = run.execution
    return PlannedRun(
        settings=run.settings,
        input=image_input(run.input),
        runtime=execution.runtime,
        device=execution.device,
        dtype=execution.dtype,
        threads=execution.threads,
        train=execution.train,
        cost=PlannedCost(
            parameters=figures.parameters,
            macs=figures.macs,
            planned_memory_bytes=figures.memory_bytes,
            capacity=CapacityRecord(**figures.capacity._asdict()),
        ),
    )
