"""Timers, with scripted clocks and events."""

import pytest

from mnfpn_cli.devices.timers import ColdTimer, EventTimer, HostTimer
from tests.measure.clocks import FakeClock, FakeDevice, passes


def test_the_host_timer_gives_the_time_of_the_pass_and_no_time_to_queue_it() -> None:
    """A CPU has no queue: what is not there is absent, and not zero."""
    clock = FakeClock(now=5.0)
    assert HostTimer(clock)(passes(clock, iter([0.25])))[:2] == (0.25, None)


def test_the_host_timer_waits_for_an_asynchronous_device() -> None:
    """Before the pass, and before the clock is read again."""
    clock, device = FakeClock(), FakeDevice()

    def synchronize() -> None:
        device.synchronize()
        clock.now = device.now_ms / 1e3

    device.work(1000.0)
    timer = HostTimer(clock, synchronize)
    assert timer(lambda: device.work(2.0)).seconds == pytest.approx(0.002)


def test_events_measure_the_device_and_not_the_queueing() -> None:
    """Work queued before the pass is waited for first; each sample is synchronised."""
    device = FakeDevice()
    device.work(1000.0)
    timer = EventTimer(device.event, device.synchronize)
    assert [timer(lambda: device.work(3.0)).seconds for _ in range(5)] == [0.003] * 5
    assert device.synchronised == 2 * 5


def test_the_time_to_queue_a_pass_is_measured_by_the_hosts_clock() -> None:
    """Around the call only: waiting for the device, before and after, is not included."""
    clock, device = FakeClock(), FakeDevice()

    def synchronize() -> None:
        device.synchronize()
        clock.now += 100.0

    def run() -> None:
        clock.now += 0.002
        device.work(3.0)

    timer = EventTimer(device.event, synchronize, clock)
    seconds, enqueue, faults = timer(run)
    assert seconds == pytest.approx(0.003)
    assert enqueue == pytest.approx(0.002)
    assert faults is None  # the host has them, not the device


def test_each_pass_has_events_of_its_own() -> None:
    """Recording an event again would overwrite its first time."""
    device, made = FakeDevice(), list[object]()

    def new_event() -> object:
        made.append(device.event())
        return made[-1]

    timer = EventTimer(new_event, device.synchronize)  # type: ignore[arg-type]
    timer(lambda: None)
    timer(lambda: None)
    assert len(made) == len({id(event) for event in made}) == 4


def test_caches_are_cleared_before_each_pass_and_outside_of_its_time() -> None:
    """With the host's clock."""
    clock, log = FakeClock(), list[str]()

    def clear() -> None:
        clock.now += 7.0
        log.append("clear")

    def run() -> None:
        clock.now += 0.5
        log.append("pass")

    timer = ColdTimer(HostTimer(clock), clear)
    assert [timer(run).seconds for _ in range(2)] == [0.5] * 2
    assert log == ["clear", "pass"] * 2


def test_clearing_that_is_queued_on_a_device_is_outside_of_the_time_of_the_pass() -> None:
    """The timer waits for it before its first event."""
    device = FakeDevice()
    timer = ColdTimer(EventTimer(device.event, device.synchronize), lambda: device.work(50.0))
    assert [timer(lambda: device.work(3.0)).seconds for _ in range(2)] == [pytest.approx(0.003)] * 2
