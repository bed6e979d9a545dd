"""A design space planned on the cores of a Ray cluster: a million runs take minutes on one core."""

from collections import deque
from collections.abc import Collection
from contextlib import suppress

from mnfpn_cli.errors import MnfpnError, Problem
from mnfpn_cli.settings.input import Size
from mnfpn_cli.settings.network import NetworkSettings
from mnfpn_cli.space.axes import Invalid, Space
from mnfpn_cli.space.planned import Budget, Planned, PlannedSpace, Progress, plan_runs
from mnfpn_cli.sweep.ray.cluster import Node, alive, connected, on_node
from mnfpn_cli.sweep.ray.worker import prepare, problem_of

PART = 1000
"""Runs that one task plans: about a quarter of a second, of which Ray takes a few milliseconds."""

LOOK_S = 60.0


def plan_on(
    address: str, space: Space, budget: Budget, progress: Progress = lambda _doing, _share: None
) -> PlannedSpace:
    """Plan a space as `plan_space` does, with the same result, on all cores of a cluster.

    Raises:
        UsageError: where `plan_space` refuses the space, or the address is none.
        MnfpnError: where the cluster does not answer, or no node of it has mnfpn.
    """
    space.check()
    with connected(address):
        return plan_by(usable_nodes(address), space, budget, progress)


def plan_by(nodes: Collection[str], space: Space, budget: Budget, progress: Progress) -> PlannedSpace:
    """Plan a space on these nodes of the cluster that this process is connected to."""
    import ray
    from ray.util.scheduling_strategies import In, NodeLabelSchedulingStrategy

    here = NodeLabelSchedulingStrategy(hard={"ray.io/node-id": In(*nodes)})  # type: ignore[no-untyped-call]
    plan = ray.remote(plan_part).options(num_cpus=1, scheduling_strategy=here)
    step = max(1, PART * space.combinations // space.count)
    sent = ray.put(space)
    parts = deque(plan.remote(sent, first, first + step) for first in range(0, space.combinations, step))
    made, seen, total = PlannedSpace(), set[tuple[NetworkSettings, Size]](), len(parts)
    while parts:
        for one in ray.get(parts.popleft()):  # Ray frees what nothing refers to
            if isinstance(one, Invalid):
                made.invalid[one.reason] += one.runs
            elif one[0].run.network in seen:
                made.repeated += len(one)
            else:
                seen.add(one[0].run.network)
                made.add(one, budget)
        progress("planning", 1 - len(parts) / total)
    return made


def usable_nodes(address: str) -> list[str]:
    """Return the ids of the nodes that have cores, and mnfpn.

    Raises:
        MnfpnError: where there is none, with what each lacks.
    """
    import ray

    asked = {on_node(prepare, node, num_cpus=0).remote(): node for node in alive() if node.cpus >= 1}
    answered, _ = ray.wait(list(asked), num_returns=len(asked), timeout=LOOK_S) if asked else ([], [])
    problems = dict[Node, str]()
    for ref in answered:
        with suppress(ray.exceptions.RayError):  # it is gone
            problems[asked[ref]] = problem_of(ray.get(ref))
    usable = [node.id for node, problem in problems.items() if not problem]
    if not usable:
        each = (Problem(node.name, problem) for node, problem in problems.items())
        raise MnfpnError(Problem(f"`ray` {address}", "no node can plan:"), *each)
    return usable


def plan_part(space: Space, first: int, end: int) -> list[Invalid | list[Planned]]:
    """Plan some combinations of a space's settings: the runs of each network, or why it is invalid."""
    ways = space.executions()
    return [one if isinstance(one, Invalid) else list(plan_runs(*one, ways)) for one in space.networks(first, end)]
