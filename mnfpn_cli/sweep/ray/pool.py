"""The machines of a Ray cluster as lanes: an actor holds each node, or each GPU, and measures one cell at a time."""

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from mnfpn_cli.errors import MnfpnError, UsageError
from mnfpn_cli.space.cells import Cell
from mnfpn_cli.sweep.pool import Lane, Lost
from mnfpn_cli.sweep.process import Outcome, Task
from mnfpn_cli.sweep.ray.connect import connected, lost
from mnfpn_cli.sweep.ray.members import Measure, Member, asking
from mnfpn_cli.sweep.ray.nodes import Wanted, alive, check_head, check_wanted, node_name, places

LOOK_S = 2.0
"""Between two looks at which nodes there are."""

FIRST_LOOK_S = 60.0
"""Nodes that have not said by then what they have are waited for while others measure."""

GRACE_S = 60.0
"""For so long a cluster without a node for a cell may get one."""


@dataclass
class RayPool:
    """The lanes of a cluster that this process is connected to; see `ray_pool`."""

    address: str
    wanted: Wanted
    measure: Measure | None = None
    clock: Callable[[], float] = time.monotonic
    _members: dict[str, Member] = field(default_factory=dict)
    _notes: list[str] = field(default_factory=list)
    _served: dict[str, float] = field(default_factory=dict)
    _looked: float = float("-inf")

    def idle(self) -> Sequence[Lane]:
        """The lanes whose actors have their places, and do not measure."""
        return [seat.lane for one in self._members.values() for seat in one.seats if seat.lane and not seat.awaited]

    def start(self, lane: Lane, task: Task) -> None:
        """Have the actor of an idle lane measure a cell."""
        seat = next(seat for one in self._members.values() for seat in one.seats if seat.lane == lane)
        seat.measure(task.work.model_dump_json(), task.timeout_s)

    def wait(self, seconds: float) -> Sequence[tuple[Lane, Outcome | Lost]]:
        """What was finished by then, or lost.

        Raises:
            MnfpnError: where the whole cluster is gone.
        """
        import ray

        with self._told():
            self._look()
            awaited = {ref: (one, seat) for one in self._members.values() for ref, seat in one.awaited.items()}
            if not awaited:
                time.sleep(seconds)
                return []
            done, _ = ray.wait(list(awaited), timeout=seconds)
            heard = [one.hear(ref, seat) for ref in done for one, seat in [awaited[ref]]]
        return [one for one in heard if one]

    def alive(self, cell: Cell) -> bool:
        """Whether a node has, or had a moment ago, or may soon have, a place for a cell."""
        kinds = {place.kind for one in self._members.values() if not one.problem for place in one.places}
        device, now = cell.execution.device, self.clock()
        if any(Lane("", "", kind).takes(cell) for kind in kinds):
            self._served[device] = now
        return now - self._served.setdefault(device, now) < GRACE_S

    def notes(self) -> Sequence[str]:
        """Which nodes are not used, waited for, or gone, since this was asked last."""
        told = list(self._notes)
        self._notes.clear()
        return told

    def close(self) -> None:
        """End what is being measured: each cell's process ends with its actor."""
        for one in self._members.values():
            for seat in one.seats:
                seat.end()
        self._members.clear()

    def join(self) -> None:
        """Ask the nodes there are what they have, before the first cell.

        Raises:
            MnfpnError: where no node can measure, or none has a device that cells are for.
        """
        with self._told():
            check_wanted(self.address, alive().values(), self.wanted)
        end = self.clock() + FIRST_LOOK_S
        self.wait(0)
        while any(one.asked for one in self._members.values()) and self.clock() < end:
            self.wait(0.5)
        usable = [one.node for one in self._members.values() if not one.problem]
        if not usable:
            raise MnfpnError("\n".join([f"--ray {self.address}: no node can measure:", *self.notes()]))
        check_wanted(self.address, usable, self.wanted)

    def _look(self) -> None:
        """Take in nodes that joined, leave out those that are gone, and have actors take what places there are."""
        if self.clock() - self._looked < LOOK_S:
            return
        self._looked = self.clock()
        check_head()
        there = alive()
        for node in there.values():
            here = places(node, self.wanted)
            if here and node.id not in self._members:
                name = node_name(node, there.values())
                self._members[node.id] = Member(node, name, here, asking(node), self._notes.append)
        for key, one in list(self._members.items()):
            if key in there:
                one.sit(self.measure, self._looked)
            elif not one.measures:  # else that is lost first
                del self._members[key]
                self._notes += [f"{one.name} has left the cluster"] if not one.problem else []

    @contextmanager
    def _told(self) -> Iterator[None]:
        import ray

        try:
            yield
        except (ray.exceptions.RayError, ConnectionError) as error:
            raise lost(self.address, error) from error


@contextmanager
def ray_pool(
    address: str, devices: Collection[str], accelerator: str | None = None, measure: Measure | None = None
) -> Iterator[RayPool]:
    """The machines of a Ray cluster.

    Args:
        address: ``auto`` for the cluster that runs on this machine, ``local`` for a new one, ``ray://host:10001``, or
            ``host:6379`` on one of its nodes.
        devices: that cells are for, as they name them.
        accelerator: the kind of GPU that nodes must have, as Ray calls it: ``H100``.
        measure: measures in place of `run_task`; it gives the fields of an `Outcome`.

    Raises:
        UsageError: where the address is none, or no Ray cluster can measure on a device.
        MnfpnError: where Ray is not installed, the cluster does not answer, or no node of it can measure.
    """
    for device in devices:
        if device not in ("auto", "cpu", "cuda", "cuda:0"):
            raise UsageError(
                f"--device: must be auto, cpu or cuda on a Ray cluster, which picks the GPU, got '{device}'"
            )
    wanted = Wanted(frozenset(device.partition(":")[0] for device in devices), accelerator)
    with connected(address):
        pool = RayPool(address, wanted, measure)
        try:
            pool.join()
            yield pool
        finally:
            pool.close()
