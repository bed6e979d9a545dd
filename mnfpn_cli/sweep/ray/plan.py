"""A design space planned on a Ray cluster, part by part: a million cells take minutes on one core."""

from collections import deque
from collections.abc import Collection
from typing import Any

from mnfpn_cli.errors import MnfpnError
from mnfpn_cli.settings.input import Size
from mnfpn_cli.settings.network import NetworkSettings
from mnfpn_cli.space.axes import Invalid, Space
from mnfpn_cli.space.planned import Budget, Planned, PlannedSpace, Progress, plan_cells, sort_in
from mnfpn_cli.sweep.ray.connect import connected, lost, short
from mnfpn_cli.sweep.ray.members import asking, problem_of
from mnfpn_cli.sweep.ray.nodes import alive

CELLS_AT_ONCE = 1000
"""A part takes about a quarter of a second; what Ray does for it a few milliseconds."""

LOOK_S = 60.0

Part = list[Invalid | list[Planned]]


def plan_on(
    address: str, space: Space, budget: Budget, progress: Progress = lambda _doing, _share: None
) -> PlannedSpace:
    """Work out every cell, as `plan_space` does and with what it gives, on all cores of a cluster.

    Raises:
        UsageError: where a choice is wrong by itself, there are more cells than anybody can wait for, or the address is
            none.
        MnfpnError: where the cluster does not answer, or no node of it has this package.
    """
    import ray

    space.check()
    with connected(address):
        try:
            return plan_by(usable_nodes(address), space, budget, progress)
        except (ray.exceptions.RayError, ConnectionError) as error:
            raise lost(address, error) from error


def plan_by(nodes: Collection[str], space: Space, budget: Budget, progress: Progress) -> PlannedSpace:
    """Work out every cell on some nodes of the cluster that this process is connected to."""
    import ray
    from ray.util.scheduling_strategies import In, NodeLabelSchedulingStrategy

    # The cells are for `Budget` to sort here: it costs little, and which of them repeat others is known only here.
    here = NodeLabelSchedulingStrategy(hard={"ray.io/node-id": In(*nodes)})  # type: ignore[no-untyped-call]
    plan = ray.remote(plan_part).options(num_cpus=1, scheduling_strategy=here)
    step = max(1, CELLS_AT_ONCE * space.combinations // space.count)
    sent = ray.put(space)
    parts = deque(plan.remote(sent, first, first + step) for first in range(0, space.combinations, step))
    made, seen, total = PlannedSpace(), set[tuple[NetworkSettings, Size]](), len(parts)
    while parts:
        _take(made, seen, ray.get(parts.popleft()), budget)  # Ray keeps what is referred to, and no more
        progress("planning", 1 - len(parts) / total)
    return made


def usable_nodes(address: str) -> list[str]:
    """The ids of the nodes that have cores, and this package.

    Raises:
        MnfpnError: where there is none, with what each lacks.
    """
    import ray

    nodes = {asking(node): node for node in alive().values() if node.cpus >= 1}
    answered, _ = ray.wait(list(nodes), num_returns=len(nodes), timeout=LOOK_S) if nodes else ([], [])
    problems = {nodes[ref]: _problem(ref) for ref in answered}
    usable = [node.id for node, problem in problems.items() if not problem]
    if not usable:
        lines = [f"{node.host}: {problem}" for node, problem in problems.items()]
        raise MnfpnError("\n".join([f"--ray {address}: no node can plan:", *lines]))
    return usable


def plan_part(space: Space, first: int, end: int) -> Part:
    """Some combinations of a space's settings worked out: the cells of each network, or why it is none."""
    ways = space.executions()
    return [one if isinstance(one, Invalid) else list(plan_cells(*one, ways)) for one in space.networks(first, end)]


def _take(made: PlannedSpace, seen: set[tuple[NetworkSettings, Size]], part: Part, budget: Budget) -> None:
    for one in part:
        if isinstance(one, Invalid):
            made.invalid[one.reason] += one.cells
        elif one[0].cell.network in seen:
            made.repeated += len(one)
        else:
            seen.add(one[0].cell.network)
            sort_in(made, one, budget)


def _problem(ref: Any) -> str:
    import ray

    try:
        return problem_of(ray.get(ref))
    except ray.exceptions.RayError as error:
        return short(error)
