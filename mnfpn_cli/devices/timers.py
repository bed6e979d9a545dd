"""Timers measure one pass; marks measure the time between points within a pass.

Both come in two kinds: by the host's clock, or by events on a device's own queue.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple, Protocol

from mnfpn_cli.devices.allocator import page_faults

AHEAD = 3
"""The device is kept busy for this many times the host's time for the last pass: with marks the host takes longer."""


class Timing(NamedTuple):
    """The time of one pass.

    Attributes:
        seconds: of the pass.
        enqueue: the seconds that the host took to queue it; None where the device has no queue.
        faults: the page faults in it; None where the device has a queue, and where the system does not count them.
    """

    seconds: float
    enqueue: float | None = None
    faults: int | None = None


class Timer(Protocol):
    """Measures the time of one pass on a kind of device."""

    def __call__(self, run: Callable[[], object]) -> Timing:
        """Run one pass, wait until the device has finished, and return the time."""


@dataclass(frozen=True)
class HostTimer:
    """Times a pass by the host's monotonic clock; ``synchronize`` waits for a device that works asynchronously."""

    clock: Callable[[], float] = time.perf_counter
    synchronize: Callable[[], object] = lambda: None

    def __call__(self, run: Callable[[], object]) -> Timing:
        """Return the time from before the call until the device has finished, and the page faults meanwhile."""
        self.synchronize()
        before = page_faults()
        start = self.clock()
        run()
        self.synchronize()
        seconds = self.clock() - start
        after = page_faults()
        return Timing(seconds, faults=None if before is None or after is None else after - before)


class Event(Protocol):
    """The part of `torch.cuda.Event` that is used here."""

    def record(self) -> None:
        """Queue the event after the work queued so far."""

    def elapsed_time(self, end_event: Any) -> float:
        """Return the milliseconds from this event to another."""


@dataclass(frozen=True)
class EventTimer:
    """Times a pass by events on the device's queue, and by the host's clock the call that queues the pass.

    The device is idle before the pass, as it is for a user: the time includes any waiting for the host to queue work.
    """

    new_event: Callable[[], Event]
    synchronize: Callable[[], object]
    clock: Callable[[], float] = time.perf_counter

    def __call__(self, run: Callable[[], object]) -> Timing:
        """Return the time between an event before the pass and one after it."""
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
    """Clears the caches before each pass, and times the pass by another timer."""

    timer: Timer
    clear: Callable[[], object]

    def __call__(self, run: Callable[[], object]) -> Timing:
        """Return the time of a pass that finds none of its data in a cache."""
        self.clear()
        return self.timer(run)


class Marks(Protocol):
    """Measures the time between points within a pass."""

    def get_ahead(self) -> None:
        """Keep the device busy, so that the host queues the whole next pass before the device starts it."""

    def mark(self) -> None:
        """Mark this point: its time is when the device reaches it."""

    def take(self) -> list[float]:
        """Wait until the device reaches the last mark; return the seconds between neighbours, and forget the marks."""


@dataclass
class HostMarks:
    """Marks by the host's clock; ``synchronize`` waits for a device that works asynchronously."""

    clock: Callable[[], float] = time.perf_counter
    synchronize: Callable[[], object] = lambda: None
    _times: list[float] = field(default_factory=list)

    def get_ahead(self) -> None:
        """Do nothing: there is no queue."""

    def mark(self) -> None:
        """Read the clock."""
        self.synchronize()
        self._times.append(self.clock())

    def take(self) -> list[float]:
        """Return the seconds between neighbouring readings."""
        times, self._times = self._times, []
        return [end - start for start, end in pairwise(times)]


@dataclass
class EventMarks:
    """Marks by events on the device's queue, read after all work is done.

    Where the host is slower than the device, the time between two events would include waiting for the host.
    `get_ahead` keeps the device busy while the host queues the pass.
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
        """Keep the device busy for longer than the host will need, judged by the host's time for the last pass."""
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
        """Return the seconds between neighbouring events."""
        if self._events and not self._ahead:  # a full queue makes the host wait for the busy device
            self._to_queue = self.clock() - self._started
        self._ahead = False
        self.synchronize()
        events, self._events = self._events, []
        return [start.elapsed_time(end) / 1e3 for start, end in pairwise(events)]
