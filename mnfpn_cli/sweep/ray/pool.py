"""The workers of a Ray cluster: an actor reserves each node, or each GPU, and measures one run at a time."""

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

from mnfpn_cli.errors import MnfpnError, Problem, UsageError
from mnfpn_cli.space.runs import Run
from mnfpn_cli.sweep.pool import Lost, Worker
from mnfpn_cli.sweep.process import Outcome, Task, run_task
from mnfpn_cli.sweep.ray.cluster import Node, alive, connected, on_node, short
from mnfpn_cli.sweep.ray.worker import Measurer, prepare, problem_of

LOOK_S = 2.0  # between two looks at which nodes there are
PATIENCE_S = 30.0  # that the first run waits for workers that are not ready; others measure without them then
GRACE_S = 60.0  # in which a cluster that lost its last worker for a run may get another
MAX_LOSSES = 3  # runs in a row that may be lost on a node that is still there

Measure = Callable[[Task], Outcome]


@dataclass
class Actor:
    """An actor of Ray's. ``awaited``: its next answer, None where it is idle. ``worker``: None until it is ready."""

    node: Node
    kind: str
    handle: Any
    awaited: Any
    worker: Worker | None = None


@dataclass
class RayPool:
    """The workers of the cluster that this process is connected to; see `ray_pool`."""

    address: str
    devices: Collection[str]
    accelerator: str | None = None
    measure: Measure = run_task
    clock: Callable[[], float] = time.monotonic
    _nodes: dict[str, Node] = field(default_factory=dict)
    _actors: list[Actor] = field(default_factory=list)
    _losses: Counter[str] = field(default_factory=Counter)
    _notes: list[str] = field(default_factory=list)
    _looked: float = float("-inf")
    _left: float = float("-inf")

    def idle(self) -> Sequence[Worker]:
        """Return the workers that have nothing to do."""
        return [one.worker for one in self._actors if one.worker and not one.awaited]

    def start(self, worker: Worker, task: Task) -> None:
        """Have an idle worker measure a run."""
        actor = next(one for one in self._actors if one.worker == worker)
        actor.awaited = actor.handle.call.remote(self.measure, task)

    def wait(self, seconds: float) -> Sequence[tuple[Worker, Outcome | Lost]]:
        """Wait so long at most, and return what was finished, or lost."""
        import ray

        self._look()
        awaited = {one.awaited: one for one in self._actors if one.awaited}
        if not awaited:
            time.sleep(seconds)
            return []
        done, _ = ray.wait(list(awaited), timeout=seconds)
        return [one for ref in done for one in self._hear(awaited[ref])]

    def alive(self, run: Run) -> bool:
        """Return whether there is a worker for a run, was one a moment ago, or may soon be one."""
        device = run.execution.device.partition(":")[0]
        return self._serves(device) or self.clock() - self._left < GRACE_S

    def notes(self) -> Sequence[str]:
        """Return which nodes are unfit, waited for, or gone, since the last call."""
        notes, self._notes = self._notes, []
        return notes

    def close(self) -> None:
        """End what is being measured: each run's process ends with its actor."""
        for one in list(self._actors):
            self._end(one)

    def join(self) -> None:
        """Find out which nodes are fit, before the first run.

        Raises:
            MnfpnError: where none is, or none has a device that runs need.
        """
        end = self.clock() + PATIENCE_S
        self.wait(0)
        while self.clock() < end and not all(one.worker for one in self._actors):
            self.wait(0.5)
        late = {one.node.name for one in self._actors if not one.worker}
        self._notes += [
            f"{name} is waited for: other work on the cluster has its cores or GPUs" for name in sorted(late)
        ]
        for device in self.devices:
            if not self._serves(device):
                needed = f"`device` {device}" + f" `accelerator` {self.accelerator}" * bool(self.accelerator)
                problem = Problem(f"`ray` {self.address}", f"no node can measure with {needed}:")
                raise MnfpnError(problem, *map(str, alive()), *self.notes())

    def _serves(self, device: str) -> bool:
        """Return whether a node that is not unfit has a share for a device."""
        fit = [node for node in self._nodes.values() if self._losses[node.id] < MAX_LOSSES]
        kinds = {share.kind for node in fit for share in node.shares(self.devices)}
        return bool(kinds) if device == "auto" else not kinds.isdisjoint({"", device})

    def _look(self) -> None:
        """See which nodes joined or left; have an actor for each share of those that are fit."""
        now = self.clock()
        if now - self._looked < LOOK_S:
            return
        self._looked = now
        there = {node.id: node for node in alive() if node.shares(self.devices, self.accelerator)}
        self._nodes = {**there, **self._nodes}  # rows keep the name that a node had first
        for node in list(self._nodes.values()):
            actors = [one for one in self._actors if one.node is node]
            if node.id in there and self._losses[node.id] < MAX_LOSSES:
                for share in node.shares(self.devices)[len(actors) :]:
                    handle = on_node(Measurer, node, num_cpus=share.cpus, num_gpus=share.gpus).remote()
                    self._actors.append(Actor(node, share.kind, handle, handle.call.remote(prepare)))
            elif node.id not in there and not any(one.worker and one.awaited for one in actors):
                self._leave_out(node, "has left the cluster")
                del self._nodes[node.id]
                for one in actors:
                    self._end(one)

    def _hear(self, actor: Actor) -> list[tuple[Worker, Outcome | Lost]]:
        """Take what an actor answers; return what its run gave, if it measured one."""
        import ray

        node, worker = actor.node, actor.worker
        try:
            answer, actor.awaited = ray.get(actor.awaited), None
        except ray.exceptions.RayError as error:
            self._end(actor)
            self._losses[node.id] += 1
            if self._losses[node.id] == MAX_LOSSES:
                self._leave_out(node, f"is not used any more: lost {MAX_LOSSES} times in a row: {short(error)}")
            return [(worker, Lost(short(error)))] if worker else []
        if worker:
            if self._losses[node.id] < MAX_LOSSES:
                self._losses[node.id] = 0
            return [(worker, replace(answer, worker=worker.name))]
        if problem := problem_of(answer):
            self._end(actor)
            self._leave_out(node, f"is not used: {problem}")
        else:
            gpu = f", GPU {answer['gpus'][0]}" if answer["gpus"] and node.gpus > 1 else ""
            actor.worker = Worker(f"{node.id}/{answer['actor']}", f"{node.name}{gpu}", actor.kind)
        return []

    def _leave_out(self, node: Node, why: str) -> None:
        if self._losses[node.id] <= MAX_LOSSES:
            self._notes.append(f"{node.name} {why}")
        self._losses[node.id], self._left = MAX_LOSSES + 1, self.clock()

    def _end(self, actor: Actor) -> None:
        import ray

        self._actors.remove(actor)
        with suppress(ray.exceptions.RayError, ConnectionError, ValueError):  # it, or the cluster, is gone already
            ray.kill(actor.handle)


@contextmanager
def ray_pool(
    address: str, devices: Collection[str], accelerator: str | None = None, measure: Measure = run_task
) -> Iterator[RayPool]:
    """Connect to a Ray cluster, and use its machines as workers.

    Args:
        address: ``auto`` for the cluster that runs on this machine, ``local`` for a new one, ``ray://host:10001``, or
            ``host:6379`` on one of its nodes.
        devices: that runs need, as they name them.
        accelerator: the kind of GPU that nodes must have, as Ray calls it: ``H100``.
        measure: what measures a run, on the worker.

    Raises:
        UsageError: where the address is none, or no Ray cluster can measure on a device.
        MnfpnError: where Ray is not installed, the cluster does not answer, or no node of it can measure.
    """
    for device in devices:
        if device not in ("auto", "cpu", "cuda", "cuda:0"):
            rule = "must be auto, cpu or cuda on a Ray cluster, which picks the GPU"
            raise UsageError(Problem("`device`", rule, f"'{device}'"))
    with connected(address):
        pool = RayPool(address, {one.partition(":")[0] for one in devices}, accelerator, measure)
        try:
            pool.join()
            yield pool
        finally:
            pool.close()
