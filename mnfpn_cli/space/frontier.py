"""The cells worth measuring: those that no other beats, or some of them."""

import random
from collections.abc import Callable, Iterable, Sequence
from math import ceil
from typing import TypeVar

from mnfpn_cli.space.planned import Planned

T = TypeVar("T")


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


def planned_frontier(cells: Iterable[Planned]) -> list[Planned]:
    """The cells that keep the most capacity for their MACs, the cheapest first."""
    return pareto(cells, lambda one: one.figures.macs, lambda one: one.figures.capacity.product)


def spread(frontier: Sequence[Planned], count: int) -> list[Planned]:
    """So many cells of a frontier, spread along it from end to end; a network's runs stay together."""
    networks = list[list[Planned]]()
    for one in frontier:
        if networks and networks[-1][0].cell.network == one.cell.network:
            networks[-1].append(one)
        else:
            networks.append([one])
    wanted = min(len(networks), max(1, ceil(count * len(networks) / max(1, len(frontier)))))
    step = (len(networks) - 1) / max(1, wanted - 1)
    chosen = [networks[round(index * step)] for index in range(wanted)]
    return [one for network in chosen for one in network][:count]


def choose(cells: Sequence[Planned], measure: str) -> list[Planned]:
    """The cells to measure: ``all``, those on the ``frontier``, ``none``, or so many spread along it."""
    match measure:
        case "all":
            return list(cells)
        case "none":
            return []
        case "frontier":
            return planned_frontier(cells)
        case _:
            return spread(planned_frontier(cells), int(measure))


def shuffled(cells: Sequence[T], seed: int = 0) -> list[T]:
    """The same in random order: what the machine does in time falls on all alike."""
    mixed = list(cells)
    random.Random(seed).shuffle(mixed)
    return mixed
