"""The time of one pass, with all of its work in it and nothing else; and points in a device's time within a pass.

Each kind of device gives one of these: the host's clock, or events on a queue of the device's own.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple, Protocol

AHEAD = 3
"""How many times as long as the host needs for a pass the device is kept busy: with marks it needs more."""


class Timing(NamedTuple):
    """The time of one pass in seconds; ``enqueue`` is what the host took to hand it to a device with a queue."""

    seconds: float
    enqueue: float | None = None


class Timer(Protocol):
    """Takes the time of one pass on some kind of device."""

    def __call__(self, run: Callable[[], object]) -> Timing:
        """Run once, wait until the device is done, and return the time."""


@dataclass(frozen=True)
class HostTimer:
    """Monotonic clock of the host; ``synchronize`` waits for a device that works on its own."""

    clock: Callable[[], float] = time.perf_counter
    synchronize: Callable[[], object] = lambda: None

    def __call__(self, run: Callable[[], object]) -> Timing:
        """Seconds from before the call until the device is done."""
        self.synchronize()
        start = self.clock()
        run()
        self.synchronize()
        return Timing(self.clock() - start)


class Event(Protocol):
    """What a CUDA event can do."""

    def record(self) -> None:
        """Put the event behind the work that was queued so far."""

    def elapsed_time(self, end_event: Any) -> float:
        """Milliseconds from this event to another."""


@dataclass(frozen=True)
class EventTimer:
    """Events on the device's own queue around the pass, and the host's clock around the call that queues it.

    The device is idle before: what it waits for while the host still queues is in the time, as it is in a user's.
    """

    new_event: Callable[[], Event]
    synchronize: Callable[[], object]
    clock: Callable[[], float] = time.perf_counter

    def __call__(self, run: Callable[[], object]) -> Timing:
        """Seconds between an event before the pass and one behind it."""
        start, end = self.new_event(), self.new_event()
        self.synchronize()
        start.record()
        before = self.clock()
        run()
        queued = self.clock() - before
        end.record()
        self.synchronize()
        return Timing(start.elapsed_time(end) / 1e3, queued)


@dataclass(frozen=True)
class ColdTimer:
    """Another timer, with the caches cleared before each pass."""

    timer: Timer
    clear: Callable[[], object]

    def __call__(self, run: Callable[[], object]) -> Timing:
        """The time of a pass that finds none of its data in a cache."""
        self.clear()
        return self.timer(run)


class Marks(Protocol):
    """Points in a device's time."""

    def get_ahead(self) -> None:
        """Let the host queue the next pass before the device begins with it."""

    def mark(self) -> None:
        """Take the time when the device has come to here."""

    def take(self) -> list[float]:
        """The seconds from each mark to the next, once the device has come to the last; and forget them."""


@dataclass
class HostMarks:
    """Readings of the host's clock; ``synchronize`` waits for a device that works on its own."""

    clock: Callable[[], float] = time.perf_counter
    synchronize: Callable[[], object] = lambda: None
    _times: list[float] = field(default_factory=list)

    def get_ahead(self) -> None:
        """There is no queue."""

    def mark(self) -> None:
        """Read the clock."""
        self.synchronize()
        self._times.append(self.clock())

    def take(self) -> list[float]:
        """The seconds from each reading to the next."""
        times, self._times = self._times, []
        return [end - start for start, end in pairwise(times)]


@dataclass
class EventMarks:
    """Events on the device's own queue, read when all of it is done.

    Where the host is slower than the device, a layer's events have its waiting for the host between them; so the
    device is kept busy while the host queues.
    """

    new_event: Callable[[], Event]
    synchronize: Callable[[], object]
    busy: Callable[[float], object]
    clock: Callable[[], float] = time.perf_counter
    _events: list[Event] = field(default_factory=list)
    _started: float = 0.0
    _to_queue: float = 0.0
    _ahead: bool = False

    def get_ahead(self) -> None:
        """Keep the device busy for longer than the host will need, by what it needed for the pass before."""
        self.busy(AHEAD * self._to_queue)
        self._ahead = True

    def mark(self) -> None:
        """Queue an event."""
        if not self._events:
            self._started = self.clock()
        event = self.new_event()
        event.record()
        self._events.append(event)

    def take(self) -> list[float]:
        """The seconds from each event to the next."""
        if self._events and not self._ahead:  # a full queue would have the host wait for the device that it keeps busy
            self._to_queue = self.clock() - self._started
        self._ahead = False
        self.synchronize()
        events, self._events = self._events, []
        return [start.elapsed_time(end) / 1e3 for start, end in pairwise(events)]
