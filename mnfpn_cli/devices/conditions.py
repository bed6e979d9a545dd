"""What else the machine did while something was measured: other processes, steal, a container's limit, the clock.

The kernel keeps sums of CPU time and of a limit's periods, so two readings tell all that happened between them, and
nothing is read while passes are timed. The number of runnable processes between passes would tell less: this process's
own workers are among them, as they spin for some milliseconds after each pass. Only the clock has no sum: `ClockWatch`.
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from mnfpn_cli.devices.machine import HERE, Machine, Process, groups, or_none

N = TypeVar("N", int, float)

CLOCK_PERIOD_S = 0.25
"""Between readings of the clock: eight in the shortest usual measurement, and a thousandth of the time at most."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """Sums at one moment, in seconds of CPU time; of the CPUs that this process may run on. Unreadable: None.

    Attributes:
        time_s: of a monotonic clock.
        cpus: how many CPUs ``busy_s`` and ``steal_s`` are summed over.
        busy_s: CPU time of all processes and of the kernel.
        steal_s: what a hypervisor gave to others while these CPUs had work; None where there is no such thing.
        own_s: CPU time of this process and its descendants.
        waited_s: how long threads of this process stood ready without getting a CPU.
        periods: the periods of the container's CPU limit so far.
        throttled_periods: those in which the limit stopped this container.
        others: every process but this and its descendants.
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


def read_conditions(machine: Machine = HERE) -> Conditions:
    """Read what can be read. Takes about 0.1 ms for each process of the machine: not to be called while timing."""
    processes = or_none(lambda: tuple(machine.processes())) or ()
    own = os.getpid() if machine.pid is None else machine.pid
    family = _family(processes, own)
    periods = or_none(lambda: _periods(machine))
    # What is subtracted from each other below is read in one go, after all that takes long.
    times = or_none(lambda: _own_cpus(machine.cpu_times(), machine.may_run_on()))
    return Conditions(
        time_s=machine.clock(),
        cpus=len(times or [0]),
        busy_s=sum(map(_busy, times)) if times else None,
        steal_s=sum(t.steal for t in times) if times and hasattr(times[0], "steal") else None,
        own_s=machine.process_time() + sum(_of_family(process, own) for process in processes if process.pid in family),
        waited_s=or_none(lambda: _waited(machine)),
        periods=periods[0] if periods else None,
        throttled_periods=periods[1] if periods else None,
        others=tuple(process for process in processes if process.pid not in family),
    )


@dataclass(frozen=True, slots=True)
class Span:
    """What happened between two readings; None where it could not be read.

    Attributes:
        seconds: how long it was.
        other_cores: how many cores other processes kept busy, on average.
        busiest: the other process with most CPU time: its ``cpu_s`` is that of the interval.
        steal_share: the share of the CPUs' time that a hypervisor gave to others.
        waited_s: how long threads of this process stood ready without getting a CPU, all added up.
        periods: of the container's CPU limit.
        throttled_periods: those in which it stopped this container.
    """

    seconds: float
    other_cores: float | None = None
    busiest: Process | None = None
    steal_share: float | None = None
    waited_s: float | None = None
    periods: int | None = None
    throttled_periods: int | None = None


def between(before: Conditions, after: Conditions) -> Span:
    """What happened between two readings."""
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
    """Samples of the CPU's clock: of the fastest CPU, as those without work idle at a lower one.

    Nothing is sampled where the kernel does not say: in most virtual machines, on macOS and Windows.
    """

    def __init__(self, machine: Machine = HERE) -> None:
        clock = "devices/system/cpu/cpu{}/cpufreq/scaling_cur_freq"
        files = [machine.sys / clock.format(cpu) for cpu in machine.may_run_on() or ()]
        self._files = [file for file in files if or_none(file.read_text)]
        self._clock, self._due = machine.clock, machine.clock()
        self.samples_hz: list[float] = []

    def sample(self) -> None:
        """Read the clock, if the last reading is a while ago. To be called right after a pass, outside its time."""
        if not self._files or self._clock() < self._due:
            return
        self._due = self._clock() + CLOCK_PERIOD_S
        if (fastest := or_none(lambda: max(int(file.read_text()) for file in self._files))) is not None:
            self.samples_hz.append(fastest * 1e3)


def _rise(before: N | None, after: N | None) -> N | None:
    """By how much a sum has grown; a thread or a process that ended takes its part away, which is no growth."""
    return None if before is None or after is None else max(after - before, type(after)(0))


def _own_cpus(times: Sequence[Any], cpus: list[int] | None) -> Sequence[Any]:
    """The times of these CPUs; of all where their numbers are not known, or have holes where a CPU is off."""
    return [times[cpu] for cpu in cpus] if cpus and max(cpus) < len(times) else times


def _busy(times: Any) -> float:
    """Not idle, not waiting for a disk, not stolen. ``user`` includes guests; Windows has some in ``system``."""
    return float(sum(getattr(times, name, 0.0) for name in ("user", "nice", "system", "irq", "softirq")))


def _family(processes: Iterable[Process], own: int) -> set[int]:
    """This process and its descendants."""
    family = {own}
    while more := {process.pid for process in processes if process.parent in family} - family:
        family |= more
    return family


def _of_family(process: Process, own: int) -> float:
    """CPU time that the own process's clock does not tell."""
    return process.ended_children_s + (0.0 if process.pid == own else process.cpu_s)


def _waited(machine: Machine) -> float:
    """Linux: of each thread, the nanoseconds that it ran, and that it waited to run."""
    threads = (machine.proc / "self/task").iterdir()
    return sum(int((thread / "schedstat").read_text().split()[1]) for thread in threads) / 1e9


def _periods(machine: Machine) -> tuple[int, int] | None:
    """Periods and throttled periods; None without a group that counts them."""
    stats = [or_none(partial(_stat, group)) for group in groups(machine)]
    read = [stat for stat in stats if stat]
    return (sum(stat[0] for stat in read), sum(stat[1] for stat in read)) if read else None


def _stat(group: Path) -> tuple[int, int]:
    fields = dict(line.split() for line in (group / "cpu.stat").read_text().splitlines())
    return int(fields["nr_periods"]), int(fields["nr_throttled"])
