"""The timed loop, with a clock and with events that are scripted: nothing here sleeps."""

import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnfpn_cli.measure.latency import EventTimer, HostTimer, Latency, measure_latency
from mnfpn_cli.settings.measuring import Sampling


@dataclass
class FakeClock:
    """A clock that moves only when work is done."""

    now: float = 0.0

    def __call__(self) -> float:
        """Seconds."""
        return self.now


@dataclass
class FakeDevice:
    """A device with a queue: work and events are done when it is synchronised."""

    now_ms: float = 0.0
    queue: list[Callable[[], None]] = field(default_factory=list)
    synchronised: int = 0

    def work(self, milliseconds: float) -> None:
        """Queue work."""
        self.queue.append(lambda: setattr(self, "now_ms", self.now_ms + milliseconds))

    def synchronize(self) -> None:
        """Do all that was queued."""
        self.synchronised += 1
        for task in self.queue:
            task()
        self.queue.clear()

    def event(self) -> "FakeEvent":
        """Make an event on this device's queue."""
        return FakeEvent(self)


@dataclass
class FakeEvent:
    """An event that reads the device's time when the queue reaches it."""

    device: FakeDevice
    at_ms: float | None = None

    def record(self) -> None:
        """Queue the reading."""
        self.device.queue.append(lambda: setattr(self, "at_ms", self.device.now_ms))

    def elapsed_time(self, end_event: "FakeEvent") -> float:
        """Milliseconds; wrong use shows as an error, as on the real device."""
        assert self.at_ms is not None
        assert end_event.at_ms is not None
        return end_event.at_ms - self.at_ms


def passes(clock: FakeClock, durations: Iterator[float]) -> Callable[[], None]:
    """A network whose passes take these times."""

    def run() -> None:
        clock.now += next(durations)

    return run


def test_warm_up_passes_are_not_among_the_samples() -> None:
    """Nor is anything lost or reordered."""
    clock = FakeClock()
    run = passes(clock, iter([9.0, 9.0, 0.5, 0.25, 0.75]))
    latency = measure_latency(run, HostTimer(clock), Sampling(2, 3, 0.0), lambda _: None)
    assert latency.samples == (0.5, 0.25, 0.75)


def test_passes_go_on_until_both_bounds_are_reached() -> None:
    """Three passes are enough in number, not in time."""
    clock = FakeClock()
    run = passes(clock, iter([0.25] * 99))
    assert len(measure_latency(run, HostTimer(clock), Sampling(0, 3, 1.5), lambda _: None).samples) == 6
    assert len(measure_latency(run, HostTimer(clock), Sampling(0, 8, 1.5), lambda _: None).samples) == 8


def test_progress_rises_to_one() -> None:
    """Whichever bound is the last to be reached."""
    for sampling in (Sampling(2, 3, 0.0), Sampling(2, 3, 5.0), Sampling(0, 1, 0.0)):
        clock, shares = FakeClock(), list[float]()
        measure_latency(passes(clock, iter([0.25] * 99)), HostTimer(clock), sampling, shares.append)
        assert shares[-1] == 1.0
        assert all(0 < share <= 1 for share in shares)


def test_events_measure_the_device_and_not_the_queueing() -> None:
    """Work queued before the pass is waited for first; each sample is synchronised."""
    device = FakeDevice()
    device.work(1000.0)
    timer = EventTimer(device.event, device.synchronize)
    latency = measure_latency(lambda: device.work(3.0), timer, Sampling(1, 4, 0.0), lambda _: None)
    assert latency.samples == (0.003,) * 4
    assert device.synchronised == 2 * 5


def test_a_device_that_works_on_its_own_is_waited_for_by_the_host_timer() -> None:
    """Before the pass, and before the clock is read again."""
    clock, device = FakeClock(), FakeDevice()

    def synchronize() -> None:
        device.synchronize()
        clock.now = device.now_ms / 1e3

    device.work(1000.0)
    timer = HostTimer(clock, synchronize)
    assert timer(lambda: device.work(2.0)) == pytest.approx(0.002)


@given(st.lists(st.floats(1e-6, 1e3), min_size=2))
def test_statistics_are_those_of_the_samples(samples: list[float]) -> None:
    """Median, quartiles and minimum, against the standard library's definitions."""
    latency = Latency(tuple(samples))
    first, middle, third = statistics.quantiles(samples, n=4, method="inclusive")
    assert latency.median == pytest.approx(middle)
    assert latency.iqr == pytest.approx(third - first)
    assert latency.min == min(samples)


def test_one_sample_has_no_spread() -> None:
    """And its own value for everything else."""
    latency = Latency((0.5,))
    assert (latency.median, latency.iqr, latency.min) == (0.5, 0.0, 0.5)
