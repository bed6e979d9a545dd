"""Clocks, devices and passes that are scripted: nothing here sleeps."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from mnfpn_cli.devices.timers import Timing
from mnfpn_cli.measure.engine import TimedRun


@dataclass
class FakeClock:
    """A clock that moves only when work is done."""

    now: float = 0.0

    def __call__(self) -> float:
        """Seconds."""
        return self.now


@dataclass
class FakeDevice:
    """A device with a queue, which it works off from the moment when the host, by its clock, has queued something."""

    now_ms: float = 0.0
    host: FakeClock = field(default_factory=FakeClock)
    queue: list[tuple[float, Callable[[], None]]] = field(default_factory=list)
    synchronised: int = 0

    def work(self, milliseconds: float) -> None:
        """Queue work."""
        self.put(lambda: setattr(self, "now_ms", self.now_ms + milliseconds))

    def put(self, task: Callable[[], None]) -> None:
        """Queue a task that is done when those before it are."""
        self.queue.append((1e3 * self.host.now, task))

    def synchronize(self) -> None:
        """Do all that was queued."""
        self.synchronised += 1
        for queued_ms, task in self.queue:
            self.now_ms = max(self.now_ms, queued_ms)
            task()
        self.queue.clear()
        self.host.now = max(self.host.now, self.now_ms / 1e3)

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
        self.device.put(lambda: setattr(self, "at_ms", self.device.now_ms))

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


@dataclass
class Script:
    """A timer whose passes take the times of a script; an exception in it is raised in its turn."""

    times: Iterator[float | BaseException]
    enqueue: float | None = None

    def __call__(self, run: Callable[[], object]) -> Timing:
        """Run, and say what the script says."""
        run()
        time = next(self.times)
        if isinstance(time, BaseException):
            raise time
        return Timing(time, self.enqueue)


def scripted(times: Iterable[float | BaseException], run: Callable[[], object] = lambda: None) -> TimedRun:
    """A timed run whose passes take these times."""
    return TimedRun(run, Script(iter(times)))
