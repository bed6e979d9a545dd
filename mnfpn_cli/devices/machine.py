"""This machine: its CPU's name, its processes, and the cores that this process may use. Does not import torch."""

import os
import platform
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import psutil
from cpuinfo import get_cpu_info


@contextmanager
def reading_cpu_name() -> Iterator[Callable[[], str]]:
    """Read the CPU's model name in the background; yield a function that waits for the name.

    py-cpuinfo starts a process that takes a second: it runs once, and must have ended before anything is timed.
    """
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(_cpu_name).result


@cache
def _cpu_name() -> str:
    return str(get_cpu_info().get("brand_raw") or platform.processor() or platform.machine())


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Process:
    """A process: its CPU time so far, and that of its children that have ended, in seconds."""

    pid: int
    parent: int | None
    name: str
    cpu_s: float
    ended_children_s: float = 0.0


def read_processes() -> tuple[Process, ...]:
    """Return the processes that this one may see. Takes about 0.1 ms for each."""
    processes = []
    for process in psutil.process_iter(["pid", "ppid", "name", "cpu_times"]):
        info: dict[str, Any] = process.info
        if times := info["cpu_times"]:  # None where it may not be read
            ended = getattr(times, "children_user", 0.0) + getattr(times, "children_system", 0.0)
            name = "".join(filter(str.isprintable, info["name"] or ""))  # a name may have any characters
            processes.append(Process(info["pid"], info["ppid"], name, times.user + times.system, ended))
    return tuple(processes)


def allowed_cpus() -> list[int] | None:
    """Return the CPUs that this process may run on; None where the system does not tell (macOS, Windows)."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None


@dataclass(frozen=True)
class Machine:
    """The sources that conditions and cores are read from; tests replace them."""

    proc: Path = Path("/proc")
    sys: Path = Path("/sys")
    pid: int | None = None
    clock: Callable[[], float] = time.perf_counter
    process_time: Callable[[], float] = time.process_time
    cpu_times: Callable[[], Sequence[Any]] = lambda: psutil.cpu_times(percpu=True)
    processes: Callable[[], Iterable[Process]] = read_processes
    allowed_cpus: Callable[[], list[int] | None] = allowed_cpus
    cpu_count: Callable[[bool], int | None] = lambda logical: psutil.cpu_count(logical=logical)


THIS_MACHINE = Machine()


@dataclass(frozen=True, slots=True)
class Cores:
    """The cores that this process may use.

    Attributes:
        logical: the number of CPUs (hardware threads).
        physical: the number of cores of these CPUs: two CPUs of one core share its arithmetic units.
        quota: the container's CPU limit in cores; None without a limit.
    """

    logical: int
    physical: int
    quota: float | None = None

    @property
    def usable(self) -> int:
        """The number of threads that each get a whole core."""
        return max(1, min(self.physical, int(self.quota or self.physical)))


def read_cores(machine: Machine = THIS_MACHINE) -> Cores:
    """Return the cores that this process may use, by its affinity and by the limits of its container."""
    cpus = machine.allowed_cpus()
    logical = len(cpus) if cpus else machine.cpu_count(True) or 1
    topology = "devices/system/cpu/cpu{}/topology/thread_siblings_list"
    siblings = read_or_none(lambda: {(machine.sys / topology.format(cpu)).read_text() for cpu in cpus or ()})
    physical = len(siblings) if siblings else machine.cpu_count(False) or logical
    limits = [limit for group in control_groups(machine) if (limit := _quota(group)) is not None]
    return Cores(logical, min(physical, logical), min(limits, default=None))


def read_or_none(read: Callable[[], T]) -> T | None:
    """Return what ``read`` returns; None where this system does not have it, or may not show it."""
    try:
        return read()
    except (OSError, ValueError, KeyError, AttributeError, NotImplementedError, psutil.Error):
        return None


def control_groups(machine: Machine) -> Iterator[Path]:
    """Yield the control groups (version 1 and 2) that may limit CPU time, from this process's own group up."""
    root = machine.sys / "fs/cgroup"
    for line in (read_or_none((machine.proc / "self/cgroup").read_text) or "").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        top = root / "cpu" if controllers else root
        group = top / path.lstrip("/")
        # In a container the path may be the host's: the container's own group is then mounted at the top.
        yield from (folder for folder in (group, *group.parents) if folder.is_relative_to(top))


def _quota(group: Path) -> float | None:
    """Return a group's CPU limit in cores; None without a limit."""
    text = read_or_none((group / "cpu.max").read_text) or read_or_none(
        lambda: " ".join((group / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
    )
    limit, period = (text or "max 1").split()
    return None if limit in ("max", "-1") else int(limit) / int(period)
