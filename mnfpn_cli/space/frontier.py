"""Compute the frontier, the runs that no other run beats on both cost and capacity, and choose runs from it."""

import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from math import ceil
from typing import NamedTuple, Protocol, TypeVar

from mnfpn_cli.space.planned import Planned

T = TypeVar("T")


class MaybeMeasured(Protocol):
    """A run that may have been measured, such as `store.rows.StoredRun`."""

    @property
    def planned(self) -> Planned:
        """The run and its planned cost."""

    @property
    def machine(self) -> str:
        """The kind of machine that measured it, or else that it is for."""

    @property
    def device(self) -> str:
        """The device that it was measured on, or else that it is for."""

    @property
    def latency_s(self) -> float | None:
        """The median time of a pass in seconds; None where it was not measured."""


RunT = TypeVar("RunT", bound=MaybeMeasured)


class TimingGroup(NamedTuple):
    """What runs must have in common so that their times are comparable: machine, device, batch size, kind of pass."""

    machine: str
    device: str
    batch: int
    train: bool = False


def pareto(items: Iterable[T], cost: Callable[[T], float], worth: Callable[[T], float]) -> list[T]:
    """Return the items that no other item dominates, the cheapest first.

    An item dominates another where it costs no more and is worth no less, and is strictly better in one of the two. Of
    items that are equal in both, all are returned.
    """
    best, frontier = float("-inf"), list[T]()
    for item in sorted(items, key=lambda item: (cost(item), -worth(item))):
        is_tie = frontier and (cost(item), worth(item)) == (cost(frontier[-1]), worth(frontier[-1]))
        if worth(item) > best or is_tie:
            frontier.append(item)
            best = worth(item)
    return frontier


def planned_frontier(runs: Iterable[Planned]) -> list[Planned]:
    """Return the frontier of capacity over MACs, the fewest MACs first."""
    return pareto(runs, lambda run: run.figures.macs, lambda run: run.figures.capacity.product)


def measured_frontier(runs: Iterable[RunT]) -> dict[TimingGroup, list[RunT]]:
    """Return the frontier of capacity over latency in each timing group, the fastest run first.

    Runs without a measured latency are left out.
    """
    groups = defaultdict[TimingGroup, list[tuple[float, RunT]]](list)
    for run in runs:
        if run.latency_s is not None:
            groups[timing_group(run)].append((run.latency_s, run))
    return {
        group: [run for _, run in pareto(timed, lambda pair: pair[0], lambda pair: _product(pair[1]))]
        for group, timed in sorted(groups.items())
    }


def timing_group(run: MaybeMeasured) -> TimingGroup:
    """Return the group of runs whose times are comparable with this run's."""
    execution = run.planned.run.execution
    return TimingGroup(run.machine, run.device, execution.batch, execution.train)


def largest_product(runs: Iterable[MaybeMeasured]) -> int:
    """Return the largest `Capacity.product` of the runs, which `planned.capacity_share` divides by; 0 without runs."""
    return max(map(_product, runs), default=0)


def _product(run: MaybeMeasured) -> int:
    return run.planned.figures.capacity.product


def spread(frontier: Sequence[Planned], count: int) -> list[Planned]:
    """Return ``count`` runs, evenly spaced along a frontier from end to end; the runs of a network are one point."""
    networks = list[list[Planned]]()
    for planned in frontier:
        if networks and networks[-1][0].run.network == planned.run.network:
            networks[-1].append(planned)
        else:
            networks.append([planned])
    points = min(len(networks), max(1, ceil(count * len(networks) / max(1, len(frontier)))))
    step = (len(networks) - 1) / max(1, points - 1)
    chosen = [networks[round(index * step)] for index in range(points)]
    return [planned for network in chosen for planned in network][:count]


def choose(runs: Sequence[Planned], measure: str) -> list[Planned]:
    """Return the runs to measure: ``all``, ``none``, those on the ``frontier``, or a number of runs spread along it."""
    match measure:
        case "all":
            return list(runs)
        case "none":
            return []
        case "frontier":
            return planned_frontier(runs)
        case _:
            return spread(planned_frontier(runs), int(measure))


def shuffled(runs: Sequence[T], seed: int = 0) -> list[T]:
    """Return the runs in random order, so that drift of the machine affects all networks alike."""
    order = list(runs)
    random.Random(seed).shuffle(order)
    return order
