"""Conditions of a measurement: load by other processes, steal, throttling by a container's limit, and the CPU's clock.

The kernel counts CPU time and the periods of a limit, so two readings give everything that happened between them, and
nothing is read while passes are timed. The number of runnable processes between passes would be a worse measure: it
includes this process's own threads, which spin for some milliseconds after each pass. The clock has no counter:
`ClockWatch` samples it.
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from mnfpn_cli.devices.machine import THIS_MACHINE, Machine, Process, control_groups, read_or_none

N = TypeVar("N", int, float)

CLOCK_PERIOD_S = 0.25
"""Seconds between readings of the clock: eight in the shortest usual measurement, at most a thousandth of the time."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """One reading of the kernel's counters, over the CPUs that this process may run on. None: could not be read.

    Attributes:
        time_s: a monotonic clock in seconds.
        cpus: the number of CPUs that ``busy_s`` and ``steal_s`` are summed over.
        busy_s: CPU time of all processes and of the kernel, in seconds.
        steal_s: seconds that a hypervisor gave to other machines while these CPUs had work; None without a hypervisor.
        own_s: CPU time of this process and its descendants, in seconds.
        waited_s: seconds that threads of this process were ready to run and got no CPU.
        periods: the periods of the container's CPU limit so far.
        throttled_periods: the periods in which the limit stopped this container.
        others: all processes but this one and its descendants.
    """

    time_s: float
    cpus: int = 1
    busy_s: float | None = None
    steal_s: float | None = None
    own_s: float | None = None
    waited_s: float | None = None
    periods: int | None = None
    throttled_periods: int | None = None
    others: tuple[Process, ...] = ()


def read_conditions(machine: Machine = THIS_MACHINE) -> Conditions:
    """Read the counters now. Takes about 0.1 ms for each process of the machine: do not call it while timing."""
    processes = read_or_none(lambda: tuple(machine.processes())) or ()
    own = os.getpid() if machine.pid is None else machine.pid
    family = _family(processes, own)
    periods = read_or_none(lambda: _periods(machine))
    # Values that are subtracted from each other are read close together, after the slow readings.
    times = read_or_none(lambda: _own_cpus(machine.cpu_times(), machine.allowed_cpus()))
    return Conditions(
        time_s=machine.clock(),
        cpus=len(times or [0]),
        busy_s=sum(map(_busy, times)) if times else None,
        steal_s=sum(t.steal for t in times) if times and hasattr(times[0], "steal") else None,
        own_s=machine.process_time() + sum(_of_family(process, own) for process in processes if process.pid in family),
        waited_s=read_or_none(lambda: _waited(machine)),
        periods=periods[0] if periods else None,
        throttled_periods=periods[1] if periods else None,
        others=tuple(process for process in processes if process.pid not in family),
    )


@dataclass(frozen=True, slots=True)
class Span:
    """What happened between two readings of `Conditions`. None: could not be read.

    Attributes:
        seconds: the time between the readings.
        other_cores: the mean number of cores that other processes kept busy.
        busiest: the other process with the most CPU time; its ``cpu_s`` counts this interval alone.
        steal_share: the share of the CPUs' time that a hypervisor gave to other machines.
        waited_s: seconds that threads of this process were ready to run and got no CPU, summed over the threads.
        periods: the periods of the container's CPU limit.
        throttled_periods: the periods in which the limit stopped this container.
    """

    seconds: float
    other_cores: float | None = None
    busiest: Process | None = None
    steal_share: float | None = None
    waited_s: float | None = None
    periods: int | None = None
    throttled_periods: int | None = None


def span_between(before: Conditions, after: Conditions) -> Span:
    """Subtract one reading from a later one."""
    seconds = max(after.time_s - before.time_s, 1e-9)  # two readings on a coarse clock
    busy, own = _rise(before.busy_s, after.busy_s), _rise(before.own_s, after.own_s)
    steal = _rise(before.steal_s, after.steal_s)
    earlier = {process.pid: process.cpu_s for process in before.others}
    rises = [replace(process, cpu_s=process.cpu_s - earlier.get(process.pid, 0.0)) for process in after.others]
    return Span(
        seconds=seconds,
        other_cores=None if busy is None or own is None else max(0.0, busy - own) / seconds,
        busiest=max(rises, key=lambda process: process.cpu_s, default=None),
        steal_share=None if steal is None else steal / seconds / after.cpus,
        waited_s=_rise(before.waited_s, after.waited_s),
        periods=_rise(before.periods, after.periods),
        throttled_periods=_rise(before.throttled_periods, after.throttled_periods),
    )


class ClockWatch:
    """Samples the clock of the fastest CPU: CPUs without work idle at a lower one.

    There are no samples where the kernel does not report the clock: in most virtual machines, on macOS and Windows.
    """

    def __init__(self, machine: Machine = THIS_MACHINE) -> None:
        clock = "devices/system/cpu/cpu{}/cpufreq/scaling_cur_freq"
        files = [machine.sys / clock.format(cpu) for cpu in machine.allowed_cpus() or ()]
        self._files = [file for file in files if read_or_none(file.read_text)]
        self._clock, self._due = machine.clock, machine.clock()
        self.samples_hz: list[float] = []

    def sample(self) -> None:
        """Read the clock, at most once in `CLOCK_PERIOD_S`. Call it right after a pass, outside its time."""
        if not self._files or self._clock() < self._due:
            return
        self._due = self._clock() + CLOCK_PERIOD_S
        if (fastest := read_or_none(lambda: max(int(file.read_text()) for file in self._files))) is not None:
            self.samples_hz.append(fastest * 1e3)


def _rise(before: N | None, after: N | None) -> N | None:
    """Return the growth of a counter, at least 0: a thread or process that ended takes its part of the counter away."""
    return None if before is None or after is None else max(after - before, type(after)(0))


def _own_cpus(times: Sequence[Any], cpus: list[int] | None) -> Sequence[Any]:
    """Return the times of these CPUs; of all where the numbers are unknown, or have gaps because a CPU is offline."""
    return [times[cpu] for cpu in cpus] if cpus and max(cpus) < len(times) else times


def _busy(times: Any) -> float:
    """Return a CPU's time that was not idle, waiting for a disk, or stolen. ``user`` includes guests."""
    return float(sum(getattr(times, name, 0.0) for name in ("user", "nice", "system", "irq", "softirq")))


def _family(processes: Iterable[Process], own: int) -> set[int]:
    """Return the ids of a process and its descendants."""
    family = {own}
    while more := {process.pid for process in processes if process.parent in family} - family:
        family |= more
    return family


def _of_family(process: Process, own: int) -> float:
    """Return the CPU time of a descendant, or of ended children, which this process's own clock does not include."""
    return process.ended_children_s + (0.0 if process.pid == own else process.cpu_s)


def _waited(machine: Machine) -> float:
    """Return the seconds that this process's threads waited to run; ``schedstat``, on Linux, has nanoseconds."""
    threads = (machine.proc / "self/task").iterdir()
    return sum(int((thread / "schedstat").read_text().split()[1]) for thread in threads) / 1e9


def _periods(machine: Machine) -> tuple[int, int] | None:
    """Return the periods and the throttled periods; None without a control group that counts them."""
    stats = [read_or_none(partial(_stat, group)) for group in control_groups(machine)]
    read = [stat for stat in stats if stat]
    return (sum(stat[0] for stat in read), sum(stat[1] for stat in read)) if read else None


def _stat(group: Path) -> tuple[int, int]:
    fields = dict(line.split() for line in (group / "cpu.stat").read_text().splitlines())
    return int(fields["nr_periods"]), int(fields["nr_throttled"])
