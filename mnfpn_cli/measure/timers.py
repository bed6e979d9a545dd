"""Taking the time of one pass, so that all of its work is in it and nothing else."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch


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


def timer_for(device: torch.device) -> Timer:
    """The timer that is right for a device."""
    match device.type:
        case "cuda":
            return EventTimer(
                new_event=lambda: torch.cuda.Event(enable_timing=True),  # type: ignore[no-untyped-call]
                synchronize=lambda: torch.cuda.synchronize(device),
            )
        case "mps":
            return HostTimer(synchronize=torch.mps.synchronize)
        case _:
            return HostTimer()
