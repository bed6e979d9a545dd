"""Conditions of a measurement: read from files and functions that a test writes, and subtracted."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
import pytest

from mnfpn_cli.devices.conditions import CLOCK_PERIOD_S, ClockWatch, Conditions, read_conditions, span_between
from mnfpn_cli.devices.machine import Cores, Machine, Process, read_cores, read_processes


@dataclass
class Cpu:
    """The times of one CPU as Linux has them; ``user`` includes ``guest``."""

    user: float = 0.0
    nice: float = 0.0
    system: float = 0.0
    idle: float = 0.0
    iowait: float = 0.0
    irq: float = 0.0
    softirq: float = 0.0
    steal: float = 0.0
    guest: float = 0.0


@dataclass
class MacCpu:
    """And as macOS has them."""

    user: float
    nice: float
    system: float
    idle: float


def refused(*_: object) -> float:
    """Refuse a reading."""
    raise psutil.AccessDenied


def write(folder: Path, files: dict[str, str]) -> None:
    """Write files of another system."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine with two idle CPUs, and no other readings."""
    return Machine(
        proc=tmp_path / "proc",
        sys=tmp_path / "sys",
        pid=10,
        clock=lambda: 5.0,
        process_time=lambda: 0.0,
        cpu_times=lambda: [Cpu(), Cpu()],
        processes=tuple,
        allowed_cpus=lambda: [0, 1],
        cpu_count=lambda _: 2,
    )


def test_other_load_is_the_busy_time_that_is_neither_ours_nor_our_descendants(machine: Machine) -> None:
    """However many threads of ours compute, and whether a child still runs or has ended."""
    before = replace(
        machine,
        cpu_times=lambda: [Cpu(user=100.0), Cpu(user=200.0)],
        process_time=lambda: 30.0,
        processes=lambda: (
            Process(12, 11, "grandchild", 1.0),
            Process(10, 1, "we", 30.0),
            Process(11, 10, "child", 2.0),
        ),
    )
    after = replace(
        machine,
        clock=lambda: 15.0,
        # 20 more: of them ours 8, the child's 2, the grandchild's 4 in its parent's account; so 6 of others.
        cpu_times=lambda: [
            Cpu(user=106.0, nice=1.0, system=1.0),
            Cpu(user=210.0, irq=1.0, softirq=1.0, idle=9, iowait=9),
        ],
        process_time=lambda: 38.0,
        processes=lambda: (Process(10, 1, "we", 38.0), Process(11, 10, "child", 4.0, ended_children_s=5.0)),
    )
    interval = span_between(read_conditions(before), read_conditions(after))
    assert interval.seconds == 10.0
    assert interval.other_cores == pytest.approx(0.6)


def test_the_load_of_others_is_never_negative(machine: Machine) -> None:
    """A descendant may end between the readings, and the kernel's two counters differ by some ticks."""
    before = Conditions(0.0, busy_s=10.0, own_s=5.0)
    assert span_between(before, Conditions(1.0, busy_s=11.0, own_s=6.1)).other_cores == 0.0
    assert span_between(before, Conditions(1.0, busy_s=11.0, own_s=4.0)).other_cores == 1.0
    assert span_between(before, before).other_cores == 0.0


def test_the_busiest_other_process_is_named_with_its_time_of_the_interval(machine: Machine) -> None:
    """Not that of its life, and never this process or a descendant, whatever the order in which they are listed."""
    old, busy, own = Process(1, None, "init", 900.0), Process(77, 1, "pytest", 5.0), Process(10, 1, "we", 1.0)
    before = replace(machine, processes=lambda: (old, busy, own))
    after = replace(
        machine,
        processes=lambda: (
            Process(13, 12, "grandchild", 500.0),
            Process(12, 10, "child", 400.0),
            replace(old, cpu_s=901.0),
            replace(busy, cpu_s=8.0),
            replace(own, cpu_s=99.0),
            Process(78, 1, "short", 2.5),
        ),
    )
    assert span_between(read_conditions(before), read_conditions(after)).busiest == Process(77, 1, "pytest", 3.0)
    assert span_between(read_conditions(machine), read_conditions(machine)).busiest is None


def test_only_the_cpus_that_this_process_may_run_on_count(machine: Machine) -> None:
    """Load on the other CPUs of a large machine does not slow this process."""
    times = [Cpu(user=1.0, steal=0.1), Cpu(user=2.0, steal=0.2), Cpu(user=4.0, steal=0.4)]
    pinned = read_conditions(replace(machine, cpu_times=lambda: times, allowed_cpus=lambda: [0, 2]))
    assert (pinned.cpus, pinned.busy_s, pinned.steal_s) == (2, 5.0, 0.5)
    free = read_conditions(replace(machine, cpu_times=lambda: times, allowed_cpus=lambda: None))
    assert (free.cpus, free.busy_s) == (3, 7.0)
    numbers_with_holes = read_conditions(replace(machine, cpu_times=lambda: times, allowed_cpus=lambda: [0, 3]))
    assert (numbers_with_holes.cpus, numbers_with_holes.busy_s) == (3, 7.0)


def test_steal_is_a_share_of_the_cpus_time() -> None:
    """Half a second of 4 s on 2 CPUs is a sixteenth."""
    before, after = Conditions(10.0, cpus=2, steal_s=1.0), Conditions(14.0, cpus=2, steal_s=1.5)
    assert span_between(before, after).steal_share == pytest.approx(1 / 16)


def test_waiting_for_a_cpu_is_added_up_over_our_threads(machine: Machine) -> None:
    """In seconds; the kernel writes nanoseconds run, nanoseconds waited, turns."""
    write(machine.proc, {"self/task/10/schedstat": "9 1500000000 4\n", "self/task/12/schedstat": "9 500000000 4\n"})
    before = read_conditions(machine)
    assert before.waited_s == 2.0
    assert span_between(before, replace(before, waited_s=2.5)).waited_s == 0.5


def test_what_cannot_be_read_is_none_and_the_rest_is_read(machine: Machine) -> None:
    """As on macOS and Windows, and where /proc is hidden."""
    blind = replace(machine, cpu_times=refused, processes=refused, allowed_cpus=lambda: None)  # type: ignore[arg-type]
    nothing = read_conditions(blind)
    assert nothing == Conditions(5.0, cpus=1, own_s=0.0)
    interval = span_between(nothing, replace(nothing, time_s=7.0))
    assert interval.seconds == 2.0
    assert {interval.other_cores, interval.steal_share, interval.waited_s, interval.periods, interval.busiest} == {None}
    mac = read_conditions(replace(machine, cpu_times=lambda: [MacCpu(1.0, 0.0, 2.0, 9.0)], allowed_cpus=lambda: None))
    assert (mac.busy_s, mac.steal_s, mac.cpus) == (3.0, None, 1)


@pytest.mark.parametrize(
    ("groups", "files", "quota"),
    [
        ("0::/\n", {"cpu.max": "150000 100000\n", "cpu.stat": "usage_usec 1\nnr_periods 9\nnr_throttled 4\n"}, 1.5),
        (
            "0::/a/b\n",
            {
                "a/b/cpu.max": "max 100000\n",
                "a/cpu.max": "50000 100000\n",
                "a/cpu.stat": "nr_periods 9\nnr_throttled 4\n",
            },
            0.5,
        ),
        (
            "0::/a/b\n",
            {
                "a/b/cpu.max": "400000 100000\n",
                "a/cpu.max": "250000 100000\n",
                "a/cpu.stat": "nr_periods 9\nnr_throttled 4\n",
            },
            2.5,
        ),
        (  # version 1; the path is the host's, and what is mounted is the container's
            "5:memory:/x\n3:cpu,cpuacct:/docker/1\n0::/\n",
            {
                "cpu/cpu.cfs_quota_us": "200000\n",
                "cpu/cpu.cfs_period_us": "100000\n",
                "cpu/cpu.stat": "nr_periods 9\nnr_throttled 4\nthrottled_time 1\n",
            },
            2.0,
        ),
    ],
    ids=["version 2", "a group above", "the lowest of two", "version 1"],
)
def test_the_cpu_limit_of_a_container_is_found(
    machine: Machine, groups: str, files: dict[str, str], quota: float
) -> None:
    """The limit in cores, and in how many of its periods it stopped the container."""
    write(machine.proc, {"self/cgroup": groups})
    write(machine.sys / "fs/cgroup", files)
    assert read_cores(machine).quota == quota
    before = read_conditions(machine)
    assert (before.periods, before.throttled_periods) == (9, 4)
    later = span_between(before, replace(before, periods=109, throttled_periods=41))
    assert (later.periods, later.throttled_periods) == (100, 37)


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"cpu.max": "max 100000\n", "cpu.stat": "usage_usec 1\n"},
        {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"},
    ],
    ids=["nothing", "version 2", "version 1"],
)
def test_without_a_limit_there_is_no_quota(machine: Machine, files: dict[str, str]) -> None:
    """Unlimited is None, and so are periods that nobody counts."""
    write(machine.proc, {"self/cgroup": "3:cpu:/\n0::/\n"})
    write(machine.sys / "fs/cgroup", files)
    assert read_cores(machine).quota is None
    assert read_conditions(machine).periods is None


def test_physical_cores_are_those_of_the_cpus_that_this_process_may_use(machine: Machine) -> None:
    """Two hardware threads share one core, and it is the affinity that counts, not the machine."""
    siblings = {f"devices/system/cpu/cpu{n}/topology/thread_siblings_list": f"{n % 4},{n % 4 + 4}\n" for n in range(8)}
    write(machine.sys, siblings)
    assert read_cores(replace(machine, allowed_cpus=lambda: [*range(8)])) == Cores(8, 4)
    assert read_cores(replace(machine, allowed_cpus=lambda: [1, 5])) == Cores(2, 1)
    assert read_cores(
        replace(machine, allowed_cpus=lambda: None, cpu_count=lambda logical: 8 if logical else 6)
    ) == Cores(8, 6)
    assert read_cores(replace(machine, allowed_cpus=lambda: None, cpu_count=lambda _: None)) == Cores(1, 1)


@pytest.mark.parametrize(
    ("cores", "usable"),
    [(Cores(8, 4), 4), (Cores(8, 4, 2.5), 2), (Cores(8, 4, 0.5), 1), (Cores(8, 4, 64.0), 4)],
)
def test_usable_cores_are_the_lesser_of_cores_and_quota(cores: Cores, usable: int) -> None:
    """Half a core's time is one thread's all the same."""
    assert cores.usable == usable


def scripted_clock(times: Iterable[float]) -> Callable[[], float]:
    """A clock with these times, one for each reading."""
    return iter(times).__next__


def test_the_clock_is_that_of_the_fastest_cpu(machine: Machine) -> None:
    """Cores without work idle at a lower one. The kernel writes kilohertz."""
    file = "devices/system/cpu/cpu{}/cpufreq/scaling_cur_freq"
    write(machine.sys, {file.format(0): "800000\n", file.format(1): "3400000\n", file.format(2): "5000000\n"})
    watch = ClockWatch(machine)
    watch.sample()
    assert watch.samples_hz == [3.4e9]


def test_the_clock_is_read_seldom(machine: Machine) -> None:
    """However fast the passes are: reading it costs what a short pass does."""
    write(machine.sys, {"devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "2000000\n"})
    now = 0.0
    watch = ClockWatch(replace(machine, clock=lambda: now))
    for round in range(100):
        now = round * CLOCK_PERIOD_S / 10
        watch.sample()
    assert watch.samples_hz == [2e9] * 10


def test_where_the_clock_cannot_be_read_there_are_no_samples(machine: Machine) -> None:
    """As in most virtual machines; nor where it could be read once, and then no more."""
    watch = ClockWatch(machine)
    watch.sample()
    assert watch.samples_hz == []
    file = machine.sys / "devices/system/cpu/cpu0/cpufreq/scaling_cur_freq"
    write(machine.sys, {str(file.relative_to(machine.sys)): "2000000\n"})
    watch = ClockWatch(machine)
    nowhere = ClockWatch(replace(machine, allowed_cpus=lambda: None))
    nowhere.sample()
    assert nowhere.samples_hz == []
    file.unlink()
    watch.sample()
    assert watch.samples_hz == []


def test_processes_are_read_by_psutil(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without those whose times may not be read, and without children's times where the system has none."""

    @dataclass
    class Times:
        user: float
        system: float

    @dataclass
    class LinuxTimes(Times):
        children_user: float
        children_system: float

    @dataclass
    class Seen:
        info: dict[str, object]

    seen = [
        Seen({"pid": 1, "ppid": None, "name": None, "cpu_times": Times(1.0, 2.0)}),
        Seen({"pid": 2, "ppid": 1, "name": "s\x1bh", "cpu_times": LinuxTimes(1.0, 2.0, 3.0, 4.0)}),
        Seen({"pid": 3, "ppid": 1, "name": "secret", "cpu_times": None}),
    ]
    monkeypatch.setattr(psutil, "process_iter", lambda _: seen)
    assert read_processes() == (Process(1, None, "", 3.0), Process(2, 1, "sh", 3.0, 7.0))


def test_this_machine_can_be_read() -> None:
    """Whatever it is: nothing raises, time passes, and there is a core."""
    before = read_conditions()
    interval = span_between(before, read_conditions())
    assert interval.seconds > 0
    assert 1 <= read_cores().usable <= read_cores().physical <= read_cores().logical
    ClockWatch().sample()
