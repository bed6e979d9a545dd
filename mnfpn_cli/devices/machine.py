"""This machine: its processor's name, its processes, and the cores that this process may use. No torch here."""

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
    """Read the CPU's model name beside other work, and give a function that waits for it.

    py-cpuinfo starts a process, which takes a second: it must have ended before anything is timed, and is asked once.
    """
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(_cpu_name).result


@cache
def _cpu_name() -> str:
    return str(get_cpu_info().get("brand_raw") or platform.processor() or platform.machine())


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Process:
    """A process, its CPU time so far in seconds, and that of its children that have ended."""

    pid: int
    parent: int | None
    name: str
    cpu_s: float
    ended_children_s: float = 0.0


def read_processes() -> tuple[Process, ...]:
    """The processes that can be seen; about 0.1 ms each."""
    seen = []
    for process in psutil.process_iter(["pid", "ppid", "name", "cpu_times"]):
        info: dict[str, Any] = process.info
        if times := info["cpu_times"]:  # None where it may not be read
            ended = getattr(times, "children_user", 0.0) + getattr(times, "children_system", 0.0)
            name = "".join(filter(str.isprintable, info["name"] or ""))  # a process may call itself anything
            seen.append(Process(info["pid"], info["ppid"], name, times.user + times.system, ended))
    return tuple(seen)


def may_run_on() -> list[int] | None:
    """The numbers of the CPUs that this process may run on; None where the system does not say (macOS, Windows)."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None


@dataclass(frozen=True)
class Machine:
    """Where conditions are read."""

    proc: Path = Path("/proc")
    sys: Path = Path("/sys")
    pid: int | None = None
    clock: Callable[[], float] = time.perf_counter
    process_time: Callable[[], float] = time.process_time
    cpu_times: Callable[[], Sequence[Any]] = lambda: psutil.cpu_times(percpu=True)
    processes: Callable[[], Iterable[Process]] = read_processes
    may_run_on: Callable[[], list[int] | None] = may_run_on
    cpu_count: Callable[[bool], int | None] = lambda logical: psutil.cpu_count(logical=logical)


HERE = Machine()


@dataclass(frozen=True, slots=True)
class Cores:
    """What this process may compute on.

    Attributes:
        logical: the CPUs that it may run on.
        physical: the cores that these belong to: two CPUs of one core share its arithmetic.
        quota: how many cores' time the container grants; None without a limit.
    """

    logical: int
    physical: int
    quota: float | None = None

    @property
    def usable(self) -> int:
        """Threads that each get a core of their own."""
        return max(1, min(self.physical, int(self.quota or self.physical)))


def read_cores(machine: Machine = HERE) -> Cores:
    """The cores that this process may use, by its affinity and by the limits of its container."""
    cpus = machine.may_run_on()
    logical = len(cpus) if cpus else machine.cpu_count(True) or 1
    topology = "devices/system/cpu/cpu{}/topology/thread_siblings_list"
    siblings = or_none(lambda: {(machine.sys / topology.format(cpu)).read_text() for cpu in cpus or ()})
    physical = len(siblings) if siblings else machine.cpu_count(False) or logical
    limits = [limit for group in groups(machine) if (limit := _quota(group)) is not None]
    return Cores(logical, min(physical, logical), min(limits, default=None))


def or_none(read: Callable[[], T]) -> T | None:
    """What was read, or None where this system does not have it, or does not show it."""
    try:
        return read()
    except (OSError, ValueError, KeyError, AttributeError, NotImplementedError, psutil.Error):
        return None


def groups(machine: Machine) -> Iterator[Path]:
    """The control groups that may limit CPU time, from this process's own up; of version 1 and version 2."""
    root = machine.sys / "fs/cgroup"
    for line in (or_none((machine.proc / "self/cgroup").read_text) or "").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        top = root / "cpu" if controllers else root
        group = top / path.lstrip("/")
        # In a container the path may be the host's; what is mounted at the top is then the container's group.
        yield from (folder for folder in (group, *group.parents) if folder.is_relative_to(top))


def _quota(group: Path) -> float | None:
    """How many cores' time a group may use; None without a limit."""
    text = or_none((group / "cpu.max").read_text) or or_none(
        lambda: " ".join((group / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
    )
    limit, period = (text or "max 1").split()
    return None if limit in ("max", "-1") else int(limit) / int(period)
