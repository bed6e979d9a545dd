"""The engine times scripted passes: nothing here sleeps."""

from collections.abc import Callable, Iterator, Sequence
from itertools import chain, repeat

import pytest

from mnfpn_cli.devices.timers import EventTimer, HostTimer, Timing
from mnfpn_cli.documents.records import Ended
from mnfpn_cli.errors import MnfpnError
from mnfpn_cli.measure import engine
from mnfpn_cli.measure.engine import (
    OTHER_RUNTIME,
    SAME_RUNTIME,
    STEADY,
    WARM_UP_MAX_S,
    WARM_UP_MAX_WINDOWS,
    WINDOW_PASSES,
    WINDOW_S,
    Rule,
    Settling,
    TimedRun,
    WarmUp,
    rewarm,
    settling_of,
    take_samples,
    warm_up,
)
from tests.measure.clocks import FakeClock, FakeDevice, Script, passes, scripted


def warmed(times: Iterator[float], number: int | None = None) -> WarmUp:
    """A warm-up whose passes take these times."""
    clock = FakeClock()
    return warm_up(passes(clock, times), HostTimer(clock), number)


def test_a_warm_up_ends_when_two_windows_agree() -> None:
    """Passes that are steady from the first need two windows, which is the least."""
    assert warmed(repeat(1.0)) == WarmUp(2 * WINDOW_PASSES, 6.0, settled=True)


def test_a_slow_start_is_passed_through() -> None:
    """Steps from slow to steady: it ends with the second window of the steady ones, and not on the way there."""
    steps = [1.0] * 3 + [0.5] * 3 + [0.25] * 3
    assert warmed(chain(steps, repeat(0.125))) == WarmUp(15, sum(steps) + 6 * 0.125, settled=True)


def test_windows_further_apart_than_the_limit_do_not_agree() -> None:
    """Upwards as downwards."""
    for factor in (1 + STEADY + 0.01, 1 - STEADY - 0.01):
        assert warmed(chain([1.0] * 3, repeat(factor))).passes == 9
    for factor in (1 + STEADY - 0.01, 1 - STEADY + 0.01):
        assert warmed(chain([1.0] * 3, repeat(factor))).passes == 6


def test_a_spike_does_not_keep_a_warm_up_going() -> None:
    """A window's median is compared, not its mean."""
    warm = warmed(chain([0.5, 2.0, 0.5, 0.5, 0.5, 4.0], repeat(0.5)))
    assert warm == WarmUp(6, 8.0, settled=True)


def test_windows_of_fast_passes_have_many_of_them() -> None:
    """Each takes a least time: three passes of a microsecond would show nothing."""
    warm = warmed(repeat(0.001))
    assert warm.settled
    assert warm.passes == pytest.approx(2 * WINDOW_S / 0.001, abs=2)


def test_slow_passes_settle_before_the_ceiling() -> None:
    """A window is then a single pass: three of them would leave no time for a second window."""
    assert warmed(repeat(7.0)) == WarmUp(2, 14.0, settled=True)


def test_a_warm_up_that_never_settles_ends_at_the_ceiling_and_says_so() -> None:
    """Of windows, or of time."""
    doubling = (0.02 * 3 ** (k // 3 % 2) for k in range(10**6))
    warm = warmed(doubling)
    assert (warm.passes, warm.settled) == (WARM_UP_MAX_WINDOWS * WINDOW_PASSES, False)
    alternating = (0.6 * 2 ** (k // 3 % 2) for k in range(10**6))
    warm = warmed(alternating)
    assert warm.settled is False
    assert WARM_UP_MAX_S < warm.seconds <= WARM_UP_MAX_S + WINDOW_PASSES * 1.2


@pytest.mark.parametrize("number", [0, 1, 7])
def test_a_number_of_passes_that_was_asked_for_is_exact(number: int) -> None:
    """Whatever they take; whether they settled was not looked at."""
    times = iter([1.0 + k for k in range(number)])
    assert warmed(times, number) == WarmUp(number, sum(1.0 + k for k in range(number)), settled=None)
    assert next(times, None) is None


def after(rounds: int, ended: Ended = "passes") -> Rule:
    """A rule that ends the measurement after this number of rounds."""
    left = iter(range(rounds - 1, -1, -1))
    return lambda *_: None if next(left) else ended


@pytest.mark.parametrize(
    ("names", "order"), [("A", "AAAA"), ("AB", "ABBAABBA"), ("ABC", "ABCCBAABCCBA")], ids=["one", "two", "three"]
)
def test_runs_are_timed_there_and_back_again(names: str, order: str) -> None:
    """Each is as often before a neighbour as behind it."""
    log: list[str] = []
    take_samples([scripted(repeat(1.0), lambda name=name: log.append(name)) for name in names], after(4))  # type: ignore[misc]
    assert "".join(log) == order


def test_samples_keep_their_order_and_the_rule_ends_the_measurement() -> None:
    """Nothing is lost, sorted or dropped: a spike stays."""
    run = scripted([0.5, 0.25, 99.0, 0.75])
    assert take_samples([run], after(4, "precision")) == "precision"
    assert run.samples == [0.5, 0.25, 99.0, 0.75]
    assert run.enqueue == []


def test_the_time_to_queue_a_pass_is_recorded_with_its_sample() -> None:
    """On a device that has a queue."""
    clock, device = FakeClock(), FakeDevice()

    def one_pass() -> None:
        clock.now += 0.25
        device.work(500.0)

    run = TimedRun(one_pass, EventTimer(device.event, device.synchronize, clock))
    take_samples([run], after(3))
    assert (run.samples, run.enqueue) == ([0.5] * 3, [0.25] * 3)


def test_a_run_that_fails_keeps_its_samples_and_the_others_are_timed_on() -> None:
    """In the same order without it; the rule gets the runs that have not failed."""
    log, running = list[str](), list[int]()

    def said(name: str) -> Callable[[], None]:
        return lambda: log.append(name)

    a, c = (scripted(repeat(1.0), said(name)) for name in "AC")
    b = scripted([1.0, 2.0, MnfpnError("out of memory")], said("B"))
    ends = after(5)

    def rule(runs: Sequence[TimedRun], seconds: float) -> Ended | None:
        running.append(len(runs))
        return ends(runs, seconds)

    assert take_samples([a, b, c], rule) == "passes"
    assert "".join(log) == "ABCCBAABCCAAC"
    assert running == [3, 3, 2, 2, 2]
    assert (b.samples, b.failure) == ([1.0, 2.0], "out of memory")
    assert (len(a.samples), len(c.samples), a.failure) == (5, 5, None)


def test_where_all_have_failed_that_is_what_ended_it() -> None:
    """At once, and whatever the rule would say; so it is where there is nothing to time."""

    def never(*_: object) -> Ended | None:
        raise AssertionError("there is nothing to ask about")

    a, b = scripted([MnfpnError("one")]), scripted([MnfpnError("two")])
    assert take_samples([a, b], never) == "failed"
    assert (a.failure, b.failure, a.samples, b.samples) == ("one", "two", [], [])
    assert take_samples([], never) == "failed"


def test_a_bug_is_no_failure_of_a_run() -> None:
    """Only what is explained in words is kept as a reason; the rest stays a traceback."""
    with pytest.raises(ZeroDivisionError):
        take_samples([scripted([1.0, ZeroDivisionError()])], after(3))


@pytest.mark.parametrize("at", range(6))
def test_ctrl_c_keeps_what_was_measured(at: int) -> None:
    """Wherever it comes: the pass that it met has no sample, and nobody failed."""
    order = (0, 1, 1, 0, 0, 1)
    times: tuple[list[float | BaseException], ...] = ([1.0] * 9, [1.0] * 9)
    times[order[at]][order[:at].count(order[at])] = KeyboardInterrupt()
    a, b = (scripted(time) for time in times)
    assert take_samples([a, b], after(9)) == "interrupted"
    assert [len(a.samples), len(b.samples)] == [order[:at].count(0), order[:at].count(1)]
    assert a.failure is b.failure is None


def test_ctrl_c_between_rounds_keeps_what_was_measured() -> None:
    """Where the machine is looked after, and where the rule counts."""
    interrupt = iter([None, KeyboardInterrupt])

    def meet() -> None:
        exception = next(interrupt)
        if exception:
            raise exception

    run = scripted(repeat(1.0))
    assert take_samples([run], after(9), meet) == "interrupted"
    assert run.samples == [1.0, 1.0]

    def rule(*_: object) -> Ended | None:
        raise KeyboardInterrupt

    run = scripted(repeat(1.0))
    assert take_samples([run], rule) == "interrupted"
    assert run.samples == [1.0]


def test_the_machine_is_looked_after_between_rounds() -> None:
    """Once each, behind all passes and before the rule."""
    log: list[str] = []
    runs = [scripted(repeat(1.0), lambda: log.append("pass")) for _ in range(2)]
    ends = after(2)

    def rule(runs: Sequence[TimedRun], seconds: float) -> Ended | None:
        log.append("rule")
        return ends(runs, seconds)

    take_samples(runs, rule, lambda: log.append("look"))
    assert log == ["pass", "pass", "look", "rule"] * 2


def test_a_run_settles_where_the_run_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    """It rests, then come passes that are no samples, here for 0.6 seconds; a run that follows itself is settled.

    All of it is time that the round took.
    """
    clock, log, rounds, ends = FakeClock(), list[str](), list[float](), after(4)

    def sleep(seconds: float) -> None:
        clock.now += seconds
        log.append(f" {seconds} ")

    def rule(runs: Sequence[TimedRun], seconds: float) -> Ended | None:
        rounds.append(seconds)
        return ends(runs, seconds)

    monkeypatch.setattr(engine, "perf_counter", clock)
    monkeypatch.setattr(engine, "sleep", sleep)

    def said(name: str) -> Callable[[], None]:
        def run() -> None:
            clock.now += 0.5
            log.append(name)

        return run

    runs = [TimedRun(said(name), HostTimer(clock)) for name in "AB"]
    take_samples(runs, rule, settling=Settling(rest_s=0.1, passes_s=0.6))
    assert "".join(log) == " 0.1 AAA 0.1 BBBB 0.1 AAAA 0.1 BBBB 0.1 AAA"
    assert rounds == pytest.approx([3.2, 2.1, 2.1, 2.1])
    assert [run.samples for run in runs] == [[0.5] * 4] * 2


def test_a_run_that_fails_while_it_settles_has_no_sample() -> None:
    """The other goes on."""
    failing, other = scripted([MnfpnError("out of memory")]), scripted(repeat(1.0))
    take_samples([failing, other], after(2), settling=Settling(rest_s=0.0, passes_s=0.0))
    assert (failing.samples, failing.failure, other.samples) == ([], "out of memory", [1.0, 1.0])


@pytest.mark.parametrize(
    ("device", "runtimes", "settling"),
    [
        ("cpu", ["eager", "fused"], OTHER_RUNTIME),
        ("cpu", ["eager", "eager"], SAME_RUNTIME),
        ("cpu", ["eager"], None),
        ("cuda", ["eager", "fused"], None),
    ],
)
def test_how_runs_settle(device: str, runtimes: list[str], settling: Settling | None) -> None:
    """A run alone is as it was left, and before a pass a GPU has nothing to do."""
    assert settling_of(device, runtimes) == settling


def test_a_script_is_used_up_pass_by_pass() -> None:
    """The fake itself: each pass runs what it times."""
    ran: list[int] = []
    timer = Script(iter([1.0, 2.0]), enqueue=0.5)
    assert [timer(lambda: ran.append(1)) for _ in range(2)] == [Timing(1.0, 0.5), Timing(2.0, 0.5)]
    assert ran == [1, 1]


def test_a_gpu_executes_one_more_pass_of_each_run_before_timing() -> None:
    """Preparing another run released the memory that torch cached; a run that fails now is not timed."""
    log: list[str] = []

    def fail() -> None:
        raise MnfpnError("the driver has gone")

    runs = [TimedRun(lambda: log.append("a"), HostTimer()), TimedRun(fail, HostTimer())]
    rewarm(runs, "cpu")
    assert log == []
    rewarm(runs, "cuda")
    assert log == ["a"]
    assert [(run.samples, run.failure) for run in runs] == [([], None), ([], "the driver has gone")]
