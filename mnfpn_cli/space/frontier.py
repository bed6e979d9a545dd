"""The runs worth measuring: those that no other beats, or some of them."""

import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from math import ceil
from typing import NamedTuple, Protocol, TypeVar

from mnfpn_cli.space.planned import Planned

T = TypeVar("T")


class MaybeMeasured(Protocol):
    """What a frontier needs to know of a run, as `store.rows.StoredRun` does: what it costs, where, and how long."""

    @property
    def planned(self) -> Planned:
        """The run with what its plan says."""

    @property
    def machine(self) -> str:
        """The kind of machine that it was measured on, or is for."""

    @property
    def device(self) -> str:
        """Where it ran there."""

    @property
    def latency_s(self) -> float | None:
        """The median of a pass in seconds; None where it was not measured."""


M = TypeVar("M", bound=MaybeMeasured)


class TimingGroup(NamedTuple):
    """Runs whose times can be held against each other: one kind of machine, one device of it, one batch, one pass."""

    machine: str
    device: str
    batch: int
    train: bool = False


def pareto(items: Iterable[T], cost: Callable[[T], float], worth: Callable[[T], float]) -> list[T]:
    """Those for which none costs as little and is worth more, or costs less and is worth as much; the cheapest first.

    Those that are equal in both stay together.
    """
    best, found = float("-inf"), list[T]()
    for item in sorted(items, key=lambda one: (cost(one), -worth(one))):
        tied = found and (cost(item), worth(item)) == (cost(found[-1]), worth(found[-1]))
        if worth(item) > best or tied:
            found.append(item)
            best = worth(item)
    return found


def planned_frontier(runs: Iterable[Planned]) -> list[Planned]:
    """The runs that keep the most capacity for their MACs, the cheapest first."""
    return pareto(runs, lambda one: one.figures.macs, lambda one: one.figures.capacity.product)


def measured_frontier(runs: Iterable[M]) -> dict[TimingGroup, list[M]]:
    """The measured runs for which none is as fast and keeps more, or faster and keeps as much; the fastest first.

    Runs that were not measured are left out; the rest are compared with those of the same bench only.
    """
    benches = defaultdict[TimingGroup, list[tuple[float, M]]](list)
    for one in runs:
        if one.latency_s is not None:
            benches[timing_group(one)].append((one.latency_s, one))
    return {
        where: [one for _, one in pareto(timed, lambda pair: pair[0], lambda pair: _product(pair[1]))]
        for where, timed in sorted(benches.items())
    }


def timing_group(one: MaybeMeasured) -> TimingGroup:
    """What a run's time can be held against."""
    execution = one.planned.run.execution
    return TimingGroup(one.machine, one.device, execution.batch, execution.train)


def largest_product(runs: Iterable[MaybeMeasured]) -> int:
    """The largest capacity among runs, measured or not: what `planned.kept` is a share of; 0 where there are none."""
    return max(map(_product, runs), default=0)


def _product(one: MaybeMeasured) -> int:
    return one.planned.figures.capacity.product


def spread(frontier: Sequence[Planned], count: int) -> list[Planned]:
    """So many runs of a frontier, spread along it from end to end; a network's runs stay together."""
    networks = list[list[Planned]]()
    for one in frontier:
        if networks and networks[-1][0].run.network == one.run.network:
            networks[-1].append(one)
        else:
            networks.append([one])
    wanted = min(len(networks), max(1, ceil(count * len(networks) / max(1, len(frontier)))))
    step = (len(networks) - 1) / max(1, wanted - 1)
    chosen = [networks[round(index * step)] for index in range(wanted)]
    return [one for network in chosen for one in network][:count]


def choose(runs: Sequence[Planned], measure: str) -> list[Planned]:
    """The runs to measure: ``all``, those on the ``frontier``, ``none``, or so many spread along it."""
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
    """The same in random order: what the machine does in time falls on all alike."""
    mixed = list(runs)
    random.Random(seed).shuffle(mixed)
    return mixed
