"""Warnings of CPUs: each cause has its words and figures, and a quiet machine has none."""

from dataclasses import replace

import pytest

from mnfpn_cli.devices.conditions import Span
from mnfpn_cli.devices.machine import Cores, Process
from mnfpn_cli.documents.records import WarningRecord
from mnfpn_cli.measure.unsteady import unsteady_cpu
from tests.measure.warned import kinds, only

QUIET = Span(
    10.0, 0.03, Process(1, None, "init", 0.3), steal_share=0.001, waited_s=0.02, periods=99, throttled_periods=0
)
TWO = Cores(2, 2)


@pytest.mark.parametrize(
    "interval",
    [
        QUIET,
        replace(QUIET, other_cores=0.099, steal_share=0.019),
        Span(10.0),
        Span(1e-9, other_cores=1e7, steal_share=0.9),
        replace(QUIET, seconds=0.2, other_cores=0.2, steal_share=0.2),
    ],
    ids=["quiet", "just below", "nothing read", "no time", "a few ticks of the kernel's clock"],
)
@pytest.mark.parametrize("threads", [None, 1, 2])
def test_a_quiet_machine_has_no_warning(interval: Span, threads: int | None) -> None:
    """Nor one of which nothing could be read, nor where what was counted is a few steps of the kernel's clock."""
    assert unsteady_cpu(interval, TWO, threads, [3.4e9, 3.3e9, 3.2e9, 3.3e9]) == ()


def test_a_process_that_made_the_load_is_named() -> None:
    """With the share of a core that it used."""
    busy = replace(QUIET, other_cores=0.37, busiest=Process(4711, 1, "pytest", 3.6))
    assert only(unsteady_cpu(busy, TWO, 2)) == WarningRecord(
        kind="load",
        cause="pytest (process 4711) used 37 % of a core while this was measured",
        helps="close what else is running, or measure when the machine is idle",
    )


@pytest.mark.parametrize(
    ("busiest", "who"),
    [
        (None, "other processes used 1.5 cores"),
        (Process(7, 1, "cc1", 7.0), "other processes used 1.5 cores"),
        (Process(7, 1, "ld", 9.0), "ld (process 7) and other processes used 1.5 cores"),
        (Process(7, 1, "ld", 14.9), "ld (process 7) used 1.5 cores"),
    ],
)
def test_who_made_the_load_is_told_as_far_as_it_is_known(busiest: Process | None, who: str) -> None:
    """A build is many short processes: none of them is the cause."""
    assert only(unsteady_cpu(replace(QUIET, other_cores=1.5, busiest=busiest), TWO, 2)).cause.startswith(who)


def test_our_own_threads_in_each_others_way_are_told() -> None:
    """Waiting that no other process explains: two runtimes in turns, each with workers that spin."""
    in_turns = replace(QUIET, other_cores=0.05, waited_s=8.5)
    assert only(unsteady_cpu(in_turns, TWO, 2)) == WarningRecord(
        kind="contention",
        cause="threads of different runtimes competed for cores 40 % of the time",
        helps="measuring one runtime at a time",
    )
    assert unsteady_cpu(replace(in_turns, waited_s=1.49), TWO, 2) == ()
    assert kinds(unsteady_cpu(replace(in_turns, waited_s=1.51), TWO, 2)) == ["contention"]


def test_waiting_that_something_else_explains_is_not_told_again() -> None:
    """Other processes, more threads than cores, a limit; and where a GPU computes, waiting threads are no loss."""
    waited = replace(QUIET, waited_s=9.0)
    assert kinds(unsteady_cpu(replace(waited, other_cores=0.9), TWO, 2)) == ["load"]
    assert kinds(unsteady_cpu(waited, TWO, 4)) == ["threads"]
    assert kinds(unsteady_cpu(replace(waited, throttled_periods=50), TWO, 2)) == ["cpu_quota"]
    assert unsteady_cpu(waited, TWO, None) == ()
    assert unsteady_cpu(replace(QUIET, other_cores=None, waited_s=9.0), TWO, 2) == ()
    assert unsteady_cpu(replace(QUIET, seconds=0.1, other_cores=0.0, waited_s=0.049), TWO, 2) == ()


@pytest.mark.parametrize(
    ("cores", "threads", "other", "warned"),
    [
        (2, 2, 0.10, True),
        (2, 1, 0.40, False),  # the other core is free for it
        (2, 1, 0.50, True),  # but memory and turbo are shared
        (16, 8, 3.9, False),
        (16, 8, 4.0, True),
        (16, 15, 1.05, False),
        (16, 15, 1.2, True),
        (64, 64, 0.5, False),  # the daemons of a server
        (64, 64, 0.7, True),
        (64, 200, 0.7, True),
    ],
)
def test_load_counts_where_it_takes_what_our_threads_want(cores: int, threads: int, other: float, warned: bool) -> None:
    """Cores that our threads leave free are others' to use, up to a point."""
    found = unsteady_cpu(replace(QUIET, other_cores=other), Cores(cores, cores), threads)
    assert ("load" in kinds(found)) is warned


def test_steal_is_told_as_a_share() -> None:
    """At 2 % of the CPUs' time."""
    assert only(unsteady_cpu(replace(QUIET, steal_share=0.071), TWO, 2)) == WarningRecord(
        kind="steal",
        cause="the host gave 7 % of this virtual machine's CPU time to others (steal)",
        helps="a machine with CPUs of its own, or measuring again at another time",
    )
    assert kinds(unsteady_cpu(replace(QUIET, steal_share=0.02), TWO, 2)) == ["steal"]


@pytest.mark.parametrize(
    ("cores", "cause"),
    [
        (Cores(8, 8, 2.5), "the container's limit of 2.5 cores stopped this process in 37 of 100 periods"),
        (Cores(8, 8, 1.0), "the container's limit of 1 core stopped this process in 37 of 100 periods"),
        (Cores(8, 8), "the container's CPU limit stopped this process in 37 of 100 periods"),
    ],
)
def test_a_container_that_is_stopped_by_its_limit_says_so(cores: Cores, cause: str) -> None:
    """And which number of threads stays within it."""
    found = only(unsteady_cpu(replace(QUIET, periods=100, throttled_periods=37), cores, 1))
    assert found == WarningRecord(
        kind="cpu_quota", cause=cause, helps=f"`threads` {cores.usable}, or a container with more CPU"
    )


@pytest.mark.parametrize(("throttled", "warned"), [(0, False), (1, False), (2, True)])
def test_a_limit_met_hardly_ever_is_no_warning(throttled: int, warned: bool) -> None:
    """At one period in a hundred."""
    found = unsteady_cpu(replace(QUIET, periods=200, throttled_periods=throttled), Cores(8, 8, 2.0), 2)
    assert kinds(found) == ["cpu_quota"] * warned


@pytest.mark.parametrize(
    ("cores", "threads", "cause", "helps"),
    [
        (TWO, 4, "4 threads on 2 cores", "`threads` 2"),
        (Cores(1, 1), 2, "2 threads on 1 core", "`threads` 1"),
        (Cores(8, 4), 8, "8 threads on 4 cores (8 CPUs, of which several share a core)", "`threads` 4"),
        (Cores(64, 32, 1.5), 2, "2 threads on the 1.5 cores that the container may use", "`threads` 1"),
        (Cores(8, 4, 6.0), 5, "5 threads on 4 cores (8 CPUs, of which several share a core)", "`threads` 4"),
    ],
)
def test_more_threads_than_cores_are_told_with_the_number_that_fits(
    cores: Cores, threads: int, cause: str, helps: str
) -> None:
    """Cores that do arithmetic, that this process may use, within its container's limit."""
    assert only(unsteady_cpu(QUIET, cores, threads)) == WarningRecord(kind="threads", cause=cause, helps=helps)
    assert unsteady_cpu(QUIET, cores, cores.usable) == ()
    assert unsteady_cpu(QUIET, cores, None) == ()


def test_a_changed_clock_is_told_by_its_deciles() -> None:
    """In gigahertz; a single odd sample is no change, and three samples are no measure."""
    fell = [3.4e9] * 10 + [2.1e9] * 10
    found = only(unsteady_cpu(QUIET, TWO, 2, fell))
    assert (found.kind, found.cause) == (
        "clock",
        "the CPU's clock moved between 2.10 and 3.40 GHz while this was measured",
    )
    assert unsteady_cpu(QUIET, TWO, 2, [3.4e9] * 19 + [2.1e9]) == ()
    assert unsteady_cpu(QUIET, TWO, 2, [3.4e9, 2.1e9, 1e9]) == ()
    assert unsteady_cpu(QUIET, TWO, 2, [3.4e9, 3.1e9] * 10) == ()


def test_several_causes_are_several_warnings() -> None:
    """Each for itself: what helps against one does not against another."""
    bad = replace(QUIET, other_cores=1.0, steal_share=0.1, throttled_periods=50)
    found = unsteady_cpu(bad, Cores(2, 2, 2.0), 4, [3e9, 3e9, 2e9, 2e9])
    assert kinds(found) == ["load", "steal", "cpu_quota", "threads", "clock"]
