"""How long a pass takes: warm-up, then timed passes, each synchronised and kept."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Any, Protocol

import torch

from mnfpn_cli.settings.measuring import Sampling


@dataclass(frozen=True, slots=True)
class Latency:
    """Samples of the time of one pass, in seconds, in the order in which they were taken."""

    samples: tuple[float, ...]

    @property
    def median(self) -> float:
        """The median in seconds."""
        return median(self.samples)

    @property
    def quartiles(self) -> tuple[float, float]:
        """The first and third quartile in seconds (inclusive method: the samples are all there is)."""
        if len(self.samples) == 1:
            return self.samples[0], self.samples[0]
        first, _, third = quantiles(self.samples, n=4, method="inclusive")
        return first, third

    @property
    def iqr(self) -> float:
        """The interquartile range in seconds."""
        first, third = self.quartiles
        return third - first

    @property
    def min(self) -> float:
        """The fastest pass in seconds."""
        return min(self.samples)


class Timer(Protocol):
    """Takes the time of one pass on some kind of device."""

    def __call__(self, run: Callable[[], object]) -> float:
        """Run once, wait until the device is done, and return seconds."""


@dataclass(frozen=True)
class HostTimer:
    """Monotonic clock of the host; ``synchronize`` waits for a device that works on its own."""

    clock: Callable[[], float] = time.perf_counter
    synchronize: Callable[[], object] = lambda: None

    def __call__(self, run: Callable[[], object]) -> float:
        """Seconds from before the call until the device is done."""
        self.synchronize()
        start = self.clock()
        run()
        self.synchronize()
        return self.clock() - start


class Event(Protocol):
    """What a CUDA event can do."""

    def record(self) -> None:
        """Put the event behind the work that was queued so far."""

    def elapsed_time(self, end_event: Any) -> float:
        """Milliseconds from this event to another."""


@dataclass(frozen=True)
class EventTimer:
    """Events on the device's own queue: the time to queue the work does not count where the device is busy."""

    new_event: Callable[[], Event]
    synchronize: Callable[[], object]

    def __call__(self, run: Callable[[], object]) -> float:
        """Seconds between an event before the pass and one behind it."""
        start, end = self.new_event(), self.new_event()
        self.synchronize()
        start.record()
        run()
        end.record()
        self.synchronize()
        return start.elapsed_time(end) / 1e3


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


def measure_latency(
    run: Callable[[], object], timer: Timer, sampling: Sampling, progress: Callable[[float], None]
) -> Latency:
    """Warm up, then time passes until there are enough. ``progress`` is told the share of the work that is done."""
    samples: list[float] = []
    total = 0.0
    passes = sampling.warmup + sampling.runs
    for done in range(sampling.warmup):
        timer(run)
        progress((done + 1) / passes)
    while len(samples) < sampling.runs or total < sampling.min_time_s:
        samples.append(timer(run))
        total += samples[-1]
        by_time = total / sampling.min_time_s if sampling.min_time_s else 1.0
        progress(min((sampling.warmup + len(samples)) / passes, by_time, 1.0))
    return Latency(tuple(samples))
