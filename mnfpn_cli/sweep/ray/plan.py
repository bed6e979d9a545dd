"""Plan a design space on all cores of a Ray cluster: a million runs take minutes on one core."""

from collections import deque
from collections.abc import Collection
from contextlib import suppress

from mnfpn_cli.errors import MnfpnError, Problem
from mnfpn_cli.settings.input import Size
from mnfpn_cli.settings.network import NetworkSettings
from mnfpn_cli.space.axes import Invalid, Space
from mnfpn_cli.space.planned import Budget, Planned, PlannedSpace, plan_runs
from mnfpn_cli.sweep.ray.cluster import Node, connected, living_nodes, on_node
from mnfpn_cli.sweep.ray.worker import NodeReport, prepare
from mnfpn_cli.text import ReportProgress

PART = 1000
"""Runs that one task plans: about a quarter of a second, of which Ray takes a few milliseconds."""

CHECK_S = 60.0
"""The time in which nodes must answer whether they can plan."""


def plan_on(
    address: str, space: Space, budget: Budget, progress: ReportProgress = lambda _doing, _share: None
) -> PlannedSpace:
    """Plan a space as `plan_space` does, with the same result, on all cores of a cluster.

    Raises:
        UsageError: where `plan_space` raises it, or the address is not valid.
        MnfpnError: where the cluster does not answer, or no node of it has mnfpn.
    """
    space.check()
    with connected(address):
        return plan_by(usable_nodes(address), space, budget, progress)


def plan_by(nodes: Collection[str], space: Space, budget: Budget, progress: ReportProgress) -> PlannedSpace:
    """Plan a space on some nodes, by id, of the cluster that this process is connected to."""
    import ray
    from ray.util.scheduling_strategies import In, NodeLabelSchedulingStrategy

    these_nodes = NodeLabelSchedulingStrategy(hard={"ray.io/node-id": In(*nodes)})  # type: ignore[no-untyped-call]
    plan = ray.remote(plan_part).options(num_cpus=1, scheduling_strategy=these_nodes)
    step = max(1, PART * space.combinations // space.count)
    sent = ray.put(space)
    parts = deque(plan.remote(sent, first, first + step) for first in range(0, space.combinations, step))
    planned, seen, total = PlannedSpace(), set[tuple[NetworkSettings, Size]](), len(parts)
    while parts:
        for network in ray.get(parts.popleft()):  # popped, so that Ray can free the part
            if isinstance(network, Invalid):
                planned.invalid[network.reason] += network.runs
            elif network[0].run.network in seen:
                planned.repeated += len(network)
            else:
                seen.add(network[0].run.network)
                planned.add(network, budget)
        progress("planning", 1 - len(parts) / total)
    return planned


def usable_nodes(address: str) -> list[str]:
    """Return the ids of the nodes that have cores and mnfpn.

    Raises:
        MnfpnError: where there is none, with the reason for each.
    """
    import ray

    answers = {on_node(prepare, node, num_cpus=0).remote(): node for node in living_nodes() if node.cpus >= 1}
    ready, _ = ray.wait(list(answers), num_returns=len(answers), timeout=CHECK_S) if answers else ([], [])
    problems = dict[Node, str]()
    for answer in ready:
        with suppress(ray.exceptions.RayError):  # the node is gone
            problems[answers[answer]] = NodeReport.model_validate_json(ray.get(answer)).problem
    usable = [node.id for node, problem in problems.items() if not problem]
    if not usable:
        each = (Problem(node.name, problem) for node, problem in problems.items())
        raise MnfpnError(Problem(f"`ray` {address}", "no node can plan:"), *each)
    return usable


def plan_part(space: Space, first: int, end: int) -> list[Invalid | list[Planned]]:
    """Plan the combinations of settings from ``first`` to ``end``: the runs of each, or why it is invalid."""
    executions = space.executions()
    networks = space.networks(first, end)
    return [one if isinstance(one, Invalid) else list(plan_runs(*one, executions)) for one in networks]
