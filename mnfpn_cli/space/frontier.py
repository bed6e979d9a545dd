"""Find the frontier: what nothing else beats on both cost and worth. Choose which runs of a space to measure."""

import random
from collections.abc import Callable, Iterable, Sequence
from math import ceil
from typing import TypeVar

from mnfpn_cli.space.planned import Planned

T = TypeVar("T")


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


def by_macs(runs: Iterable[Planned]) -> list[Planned]:
    """Return runs in the order of their MACs, the fewest first; the runs of a network one after the other."""
    networks = dict[object, list[Planned]]()
    for planned in runs:
        networks.setdefault(planned.run.network, []).append(planned)
    ordered = sorted(networks.values(), key=lambda some: some[0].figures.macs)
    return [planned for some in ordered for planned in some]


def spread(ordered: Sequence[Planned], count: int) -> list[Planned]:
    """Return ``count`` runs, evenly spaced along an order from end to end; the runs of a network are one point."""
    networks = list[list[Planned]]()
    for planned in ordered:
        if networks and networks[-1][0].run.network == planned.run.network:
            networks[-1].append(planned)
        else:
            networks.append([planned])
    points = min(len(networks), max(1, ceil(count * len(networks) / max(1, len(ordered)))))
    step = (len(networks) - 1) / max(1, points - 1)
    chosen = [networks[round(index * step)] for index in range(points)]
    return [planned for network in chosen for planned in network][:count]


def choose(runs: Sequence[Planned], measure: str) -> list[Planned]:
    """Return the runs to measure: ``all``, ``none``, or a number of runs from the fewest MACs to the most."""
    match measure:
        case "all":
            return list(runs)
        case "none":
            return []
        case _:
            return spread(by_macs(runs), int(measure))


def shuffled(runs: Sequence[T], seed: int = 0) -> list[T]:
    """Return the runs in random order, so that drift of the machine affects all networks alike."""
    order = list(runs)
    random.Random(seed).shuffle(order)
    return order
