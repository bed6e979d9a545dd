"""A node that takes part in a sweep: whether it can measure, and the actors that have its cores or its GPUs."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from mnfpn_cli import __version__
from mnfpn_cli.space.cells import KEY_VERSION
from mnfpn_cli.sweep.pool import Lane, Lost
from mnfpn_cli.sweep.process import Outcome
from mnfpn_cli.sweep.ray.connect import short
from mnfpn_cli.sweep.ray.nodes import Node, Place


def on_node(remote: Any, node: Node, **more: Any) -> Any:
    """A remote function or class for this node and no other."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return remote.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node.id, soft=False), **more)


def asking(node: Node) -> Any:
    """Ask a node what it has: a reference to what `look_around` will say there."""
    import ray

    from mnfpn_cli.sweep.ray.node import look_around

    return on_node(ray.remote(look_around), node, num_cpus=0).remote()


def problem_of(said: Mapping[str, Any]) -> str:
    """Why a node cannot measure, by what it said; empty where it can."""
    version = said.get("version")
    if version is None:
        return f"its Python ({said['python']}) has no mnfpn: pip install mnfpn=={__version__}"
    if version != __version__:
        return f"it has mnfpn {version}, this is {__version__}"
    if said.get("key_version") != KEY_VERSION:
        return f"its mnfpn measures cells of version {said.get('key_version')}, this one of {KEY_VERSION}"
    if not said["torch"]:
        return f"its Python ({said['python']}) has no torch"
    return ""


MAX_LOSSES = 3
"""So many cells in a row may be lost on a node that is still there."""

PATIENCE_S = 15.0
"""After which it is told that a place is waited for."""

Measure = Callable[[str, float], dict[str, Any]]
Told = tuple[Lane, Outcome | Lost]


@dataclass
class Seat:
    """A place on a node, and the actor that has it, or waits for it, since a moment.

    ``awaited``: what the actor is to say next; None where it is idle. ``lane``: from when it has its place on.
    """

    place: Place
    actor: Any
    awaited: Any
    since: float | None
    lane: Lane | None = None

    def measure(self, work: str, timeout_s: float) -> None:
        """Have the actor measure."""
        self.awaited = self.actor.measure.remote(work, timeout_s)

    def end(self) -> None:
        """End the actor, and the process that measures with it."""
        import ray

        try:
            ray.kill(self.actor)
        except (ray.exceptions.RayError, ConnectionError, ValueError):
            return  # it, or the cluster, is gone already


@dataclass
class Member:
    """A node that takes part.

    Attributes:
        node: which.
        name: what rows call it.
        places: where it measures.
        asked: what it is to say it has; None when it has said so.
        tell: is told what people should know of it.
        problem: why it is not used.
        seats: the places that it has given, or is to give.
    """

    node: Node
    name: str
    places: Sequence[Place]
    asked: Any
    tell: Callable[[str], None]
    problem: str = ""
    seats: list[Seat] = field(default_factory=list)
    _losses: int = 0
    _numbers: Iterator[int] = field(default_factory=count)

    @property
    def awaited(self) -> dict[Any, Seat | None]:
        """What is to be heard from it next, and of which seat."""
        said: dict[Any, Seat | None] = {self.asked: None} if self.asked else {}
        return said | {seat.awaited: seat for seat in self.seats if seat.awaited}

    @property
    def measures(self) -> bool:
        """Whether a cell is being measured there."""
        return any(seat.lane and seat.awaited for seat in self.seats)

    def sit(self, measure: Measure | None, now: float) -> None:
        """Have an actor wait for each place that has none; tell of those that wait for long."""
        import ray

        from mnfpn_cli.sweep.ray.node import Measurer

        if self.asked or self.problem:
            return
        for seat in self.seats:
            if not seat.lane and seat.since is not None and now - seat.since > PATIENCE_S:
                self.tell(f"{self.name} is waited for: other work on the cluster has its cores or GPUs")
                seat.since = None
        for place in self.places[len(self.seats) :]:
            kind = {"accelerator_type": place.accelerator} if place.gpus and place.accelerator else {}
            remote = on_node(ray.remote(Measurer), self.node, num_cpus=place.cpus, num_gpus=place.gpus, **kind)
            actor = remote.remote(measure)
            self.seats.append(Seat(place, actor, actor.gpus.remote(), now))

    def hear(self, ref: Any, seat: Seat | None) -> Told | None:
        """Take what it, or the actor of a seat, has said; what came of a cell is returned."""
        import ray

        try:
            said = ray.get(ref)
        except ray.exceptions.RayError as error:
            if seat:
                return self._lose(seat, short(error))
            self._refuse(f"it did not say what it has: {short(error)}")
            return None
        if seat is None:
            self._refuse(problem_of(said))
            return None
        seat.awaited = None
        if seat.lane is None:
            which = f", GPU {said[0]}" if said and self.node.gpus > 1 else ""
            seat.lane = Lane(f"{self.node.id}/{next(self._numbers)}", f"{self.name}{which}", seat.place.kind)
            return None
        self._losses = 0
        return seat.lane, Outcome(**{**said, "node": seat.lane.node})

    def _refuse(self, problem: str) -> None:
        """It has said what it has: no problem, or one."""
        self.asked, self.problem = None, problem
        if problem:
            self.tell(f"{self.name} is not used: {problem}")

    def _lose(self, seat: Seat, why: str) -> Told | None:
        """An actor died, with its cell if it had one."""
        self.seats.remove(seat)
        seat.end()
        self._losses += 1
        if self._losses >= MAX_LOSSES and not self.problem:
            self.problem = f"{self._losses} times in a row what was to measure there was lost: {why}"
            self.tell(f"{self.name} is not used any more: {self.problem}")
        return (seat.lane, Lost(why)) if seat.lane else None
