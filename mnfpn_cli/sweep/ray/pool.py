"""A pool of the machines or GPUs of a Ray cluster: an actor reserves each, and measures one run at a time."""

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

from mnfpn_cli.errors import MnfpnError, Problem, UsageError
from mnfpn_cli.space.runs import Run
from mnfpn_cli.sweep.command import Scored, ScoreTask
from mnfpn_cli.sweep.pool import Ending, Lost, Worker
from mnfpn_cli.sweep.process import Outcome, Task, run_on_worker
from mnfpn_cli.sweep.ray.cluster import Node, connected, error_line, living_nodes, on_node
from mnfpn_cli.sweep.ray.worker import Measurer, NodeReport, prepare

REFRESH_S = 2.0  # between two requests for the list of nodes
PATIENCE_S = 30.0  # before the first run, for workers to be ready; after that the others start without them
GRACE_S = 60.0  # for a cluster to replace its last worker for a run
MAX_LOSSES = 3  # runs in a row that are lost on a living node before it is left out

Measure = Callable[[Task | ScoreTask], Outcome | Scored]


@dataclass
class Actor:
    """An actor of Ray's on a node.

    Attributes:
        node: the node.
        kind: the kind of its worker.
        handle: Ray's handle of the actor.
        answer: the reference to its next answer; None where it is idle.
        worker: the worker that it is; None until `prepare` has answered.
    """

    node: Node
    kind: str
    handle: Any
    answer: Any
    worker: Worker | None = None


@dataclass
class RayPool:
    """The workers of the cluster that this process is connected to; `ray_pool` has the arguments."""

    address: str
    devices: Collection[str]
    accelerator: str | None = None
    measure: Measure = run_on_worker
    clock: Callable[[], float] = time.monotonic
    _nodes: dict[str, Node] = field(default_factory=dict)
    _actors: list[Actor] = field(default_factory=list)
    _losses: Counter[str] = field(default_factory=Counter)
    _notes: list[str] = field(default_factory=list)
    _refreshed: float = float("-inf")
    _left_out: float = float("-inf")  # when a node was last left out

    def idle(self) -> Sequence[Worker]:
        """Return the workers that measure nothing."""
        return [one.worker for one in self._actors if one.worker and not one.answer]

    def start(self, worker: Worker, task: Task | ScoreTask) -> None:
        """Have an idle worker measure a run."""
        actor = next(one for one in self._actors if one.worker == worker)
        actor.answer = actor.handle.call.remote(self.measure, task)

    def wait(self, seconds: float) -> Sequence[tuple[Worker, Ending]]:
        """Wait at most this long; return what has finished, or was lost."""
        import ray

        self._refresh()
        waiting = {one.answer: one for one in self._actors if one.answer}
        if not waiting:
            time.sleep(seconds)
            return []
        ready, _ = ray.wait(list(waiting), timeout=seconds)
        return [finished for answer in ready for finished in self._receive(waiting[answer])]

    def alive(self, run: Run) -> bool:
        """Return whether a worker for a run is there, starts, or was there within the last `GRACE_S` seconds."""
        device = run.execution.device.partition(":")[0]
        return self._serves(device) or self.clock() - self._left_out < GRACE_S

    def notes(self) -> Sequence[str]:
        """Return the warnings since the last call: nodes that cannot measure, are busy, or are gone."""
        notes, self._notes = self._notes, []
        return notes

    def close(self) -> None:
        """Kill all actors; the process of each run ends with its actor."""
        for one in list(self._actors):
            self._end(one)

    def join(self) -> None:
        """Start the workers, and wait for them before the first run.

        Raises:
            MnfpnError: where no node can measure on one of the devices.
        """
        end = self.clock() + PATIENCE_S
        self.wait(0)
        while self.clock() < end and not all(one.worker for one in self._actors):
            self.wait(0.5)
        late = {one.node.name for one in self._actors if not one.worker}
        self._notes += [
            f"{name} is busy: other work on the cluster has its cores or GPUs; it measures once they are free"
            for name in sorted(late)
        ]
        for device in self.devices:
            if not self._serves(device):
                needed = f"`device` {device}" + f" `accelerator` {self.accelerator}" * bool(self.accelerator)
                problem = Problem(f"`ray` {self.address}", f"no node can measure with {needed}:")
                raise MnfpnError(problem, *map(str, living_nodes()), *self.notes())

    def _serves(self, device: str) -> bool:
        """Return whether a node that is not left out has a worker for a device."""
        usable = [node for node in self._nodes.values() if self._losses[node.id] < MAX_LOSSES]
        kinds = {reserved.kind for node in usable for reserved in node.reservations(self.devices)}
        return bool(kinds) if device == "auto" else not kinds.isdisjoint({"", device})

    def _refresh(self) -> None:
        """Request the list of nodes; start actors on those that joined, and remove those that left."""
        now = self.clock()
        if now - self._refreshed < REFRESH_S:
            return
        self._refreshed = now
        living = {node.id: node for node in living_nodes() if node.reservations(self.devices, self.accelerator)}
        self._nodes = {**living, **self._nodes}  # a node keeps its first name, as results have it
        for node in list(self._nodes.values()):
            actors = [one for one in self._actors if one.node is node]
            if node.id in living and self._losses[node.id] < MAX_LOSSES:
                for reserved in node.reservations(self.devices)[len(actors) :]:
                    handle = on_node(Measurer, node, num_cpus=reserved.cpus, num_gpus=reserved.gpus).remote()
                    self._actors.append(Actor(node, reserved.kind, handle, handle.call.remote(prepare)))
            elif node.id not in living and not any(one.worker and one.answer for one in actors):
                self._leave_out(node, "has left the cluster")
                del self._nodes[node.id]
                for one in actors:
                    self._end(one)

    def _receive(self, actor: Actor) -> list[tuple[Worker, Ending]]:
        """Receive an actor's answer; return the outcome of its run, or nothing where `prepare` has answered."""
        import ray

        node, worker = actor.node, actor.worker
        try:
            answer, actor.answer = ray.get(actor.answer), None
        except ray.exceptions.RayError as error:
            self._end(actor)
            self._losses[node.id] += 1
            if self._losses[node.id] == MAX_LOSSES:
                self._leave_out(node, f"is not used any more: lost {MAX_LOSSES} times in a row: {error_line(error)}")
            return [(worker, Lost(error_line(error)))] if worker else []
        if worker:
            if self._losses[node.id] < MAX_LOSSES:
                self._losses[node.id] = 0
            return [(worker, replace(answer, worker=worker.name))]
        prepared = NodeReport.model_validate_json(answer)
        if prepared.problem:
            self._end(actor)
            self._leave_out(node, f"is not used: {prepared.problem}")
        else:
            gpu = f", GPU {prepared.gpus[0]}" if prepared.gpus and node.gpus > 1 else ""
            actor.worker = Worker(f"{node.id}/{prepared.actor}", f"{node.name}{gpu}", actor.kind)
        return []

    def _leave_out(self, node: Node, why: str) -> None:
        """Use a node no more; note why, once."""
        if self._losses[node.id] <= MAX_LOSSES:
            self._notes.append(f"{node.name} {why}")
        self._losses[node.id], self._left_out = MAX_LOSSES + 1, self.clock()

    def _end(self, actor: Actor) -> None:
        import ray

        self._actors.remove(actor)
        with suppress(ray.exceptions.RayError, ConnectionError, ValueError):  # it, or the cluster, is gone already
            ray.kill(actor.handle)


@contextmanager
def ray_pool(
    address: str, devices: Collection[str], accelerator: str | None = None, measure: Measure = run_on_worker
) -> Iterator[RayPool]:
    """Connect to a Ray cluster; give a pool of its machines or GPUs.

    Args:
        address: ``auto`` for the cluster that runs on this machine, ``local`` for a new one, ``ray://host:10001``, or
            ``host:6379`` on one of its nodes.
        devices: the devices that runs are for.
        accelerator: the kind of GPU that nodes must have, as Ray names it: ``H100``.
        measure: measures a run on the worker.

    Raises:
        UsageError: where the address is not valid, or no Ray cluster can measure on one of the devices.
        MnfpnError: where Ray is not installed, the cluster does not answer, or none of its nodes can measure.
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
