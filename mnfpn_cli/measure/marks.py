"""Points in a device's time, many of them in one pass, taken without holding the device up."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Protocol

import torch

from mnfpn_cli.measure.timers import Event

MOST_CLOCK_HZ = 3e9
"""More than the clock of any GPU: what is waited for in its cycles lasts no less than was asked for."""

AHEAD = 3
"""How many times as long as the host needs for a pass the device is kept busy: with marks it needs more."""


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


def marks_for(device: torch.device) -> Marks:
    """The marks that are right for a device."""
    match device.type:
        case "cuda":
            return EventMarks(
                new_event=lambda: torch.cuda.Event(enable_timing=True),  # type: ignore[no-untyped-call]
                synchronize=lambda: torch.cuda.synchronize(device),
                busy=lambda seconds: torch.cuda._sleep(int(seconds * MOST_CLOCK_HZ)),  # type: ignore[no-untyped-call]
            )
        case "mps":
            return HostMarks(synchronize=torch.mps.synchronize)
        case _:
            return HostMarks()
