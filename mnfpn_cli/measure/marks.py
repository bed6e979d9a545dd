"""Points in a device's time, many of them in one pass, taken without holding the device up."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Protocol

import torch

from mnfpn_cli.measure.timers import Event


class Marks(Protocol):
    """Points in a device's time."""

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
    """Events on the device's own queue, read when all of it is done: no layer waits for the host."""

    new_event: Callable[[], Event]
    synchronize: Callable[[], object]
    _events: list[Event] = field(default_factory=list)

    def mark(self) -> None:
        """Queue an event."""
        event = self.new_event()
        event.record()
        self._events.append(event)

    def take(self) -> list[float]:
        """The seconds from each event to the next."""
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
            )
        case "mps":
            return HostMarks(synchronize=torch.mps.synchronize)
        case _:
            return HostMarks()
