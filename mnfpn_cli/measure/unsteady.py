"""Warnings of unsteady conditions: the cause with figures, and what helps. Does not import torch."""

from __future__ import annotations

from statistics import median, quantiles
from typing import TYPE_CHECKING

from mnfpn_cli.documents.records import WarningRecord
from mnfpn_cli.text import percent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnfpn_cli.devices.conditions import Span
    from mnfpn_cli.devices.machine import Cores
    from mnfpn_cli.devices.nvml import GpuState

MIN_CLOCKS = 4
"""The fewest samples of a clock from which deciles are taken."""


def deciles(clocks_hz: Sequence[float]) -> tuple[float, float]:
    """Return the first and the last decile, which a single odd sample does not move; zeros with too few samples."""
    if len(clocks_hz) < MIN_CLOCKS:
        return 0.0, 0.0
    low, *_, high = quantiles(clocks_hz, n=10, method="inclusive")
    return low, high


MIN_CPU_S = 0.05
"""Less CPU time makes no warning: the kernel counts in steps of 10 ms on each core."""

LOAD_CORES = 0.10
"""Warn where other processes take this many of the cores that our threads need. All threads wait for the slowest; an
idle system uses 1 to 3 % of a core."""

LOAD_SHARE = 0.01
"""Warn where they take this share of the cores that our threads need, if that is more: large machines have more
daemons, each of which matters less."""

SPARE_LOAD_SHARE = 0.25
"""Warn where other processes take this share of all cores, although our threads leave enough cores free: caches,
memory and turbo are shared nevertheless."""

STEAL_SHARE = 0.02
"""Warn where steal takes this share of the CPUs' time: on a quiet machine, the medians of one network measured
twice in turns differ by about as much."""

THROTTLED_PERIODS = 0.01
"""Warn where this share of a container's periods of 0.1 s was throttled: above it, more than one pass in a hundred may
have been stopped."""

CONTENTION_SHARE = 0.05
"""Warn where our threads wait for this share of their time. One runtime has less than 1 %; two in turns had 10 %
where a pass took a third longer, and 40 % where it took twice as long."""

CPU_CLOCK_SPREAD = 0.10
"""Relative difference of the deciles: turbo moves by some steps of 0.1 GHz all the time."""


def unsteady_cpu(
    interval: Span, cores: Cores, threads: int | None, clocks_hz: Sequence[float] = ()
) -> tuple[WarningRecord, ...]:
    """What was wrong with the CPUs while something was measured; nothing on a quiet machine.

    Args:
        interval: what happened between the readings before and after.
        cores: the cores that this process may use.
        threads: the number of threads that computed; None where a GPU computed.
        clocks_hz: samples of the CPU's clock in hertz.
    """
    found = (
        _load(interval, cores, threads or 1),
        _steal(interval),
        _quota(interval, cores),
        None if threads is None else _threads(cores, threads) or _contention(interval, threads),
        _clock(clocks_hz),
    )
    return tuple(one for one in found if one)


def _load(interval: Span, cores: Cores, threads: int) -> WarningRecord | None:
    """Other processes, where they and our threads together are more than the cores, or where they are very busy."""
    other = interval.other_cores
    if other is None or other * interval.seconds < MIN_CPU_S:
        return None
    wanted = min(threads, cores.physical)
    taken = other - (cores.physical - wanted)
    if taken < max(LOAD_CORES, LOAD_SHARE * wanted) and other < SPARE_LOAD_SHARE * cores.physical:
        return None
    return WarningRecord(
        kind="load",
        cause=f"{_who(interval, other)} used {_of_cores(other)} while this was measured",
        helps="close what else is running, or measure when the machine is idle",
    )


def _who(interval: Span, other: float) -> str:
    """Name the process that made most of the load; of many short processes only the sum is known."""
    busiest = interval.busiest
    if busiest is None or busiest.cpu_s < 0.5 * other * interval.seconds:
        return "other processes"
    named = f"{busiest.name} (process {busiest.pid})"
    return named if busiest.cpu_s > 0.9 * other * interval.seconds else f"{named} and other processes"


def _of_cores(cores: float) -> str:
    return f"{percent(cores, '.0f')} of a core" if cores < 0.995 else f"{cores:.1f} cores"


def _steal(interval: Span) -> WarningRecord | None:
    if interval.steal_share is None or interval.steal_share < STEAL_SHARE:
        return None
    if interval.steal_share * interval.seconds < MIN_CPU_S:
        return None
    return WarningRecord(
        kind="steal",
        cause=f"the host gave {percent(interval.steal_share, '.0f')} of this virtual machine's CPU time "
        "to others (steal)",
        helps="a machine with CPUs of its own, or measuring again at another time",
    )


def _quota(interval: Span, cores: Cores) -> WarningRecord | None:
    stopped, periods = interval.throttled_periods, interval.periods
    if not stopped or not periods or stopped < THROTTLED_PERIODS * periods:
        return None
    limit = "CPU limit" if cores.quota is None else f"limit of {cores.quota:g} {_cores(cores.quota)}"
    return WarningRecord(
        kind="cpu_quota",
        cause=f"the container's {limit} stopped this process in {stopped} of {periods} periods",
        helps=f"`threads` {cores.usable}, or a container with more CPU",
    )


def _threads(cores: Cores, threads: int) -> WarningRecord | None:
    if threads <= cores.usable:
        return None
    there = f"{cores.physical} {_cores(cores.physical)}"
    if cores.quota is not None and cores.quota < cores.physical:
        there = f"the {cores.quota:g} {_cores(cores.quota)} that the container may use"
    elif cores.logical > cores.physical:
        there += f" ({cores.logical} CPUs, of which several share a core)"
    return WarningRecord(kind="threads", cause=f"{threads} threads on {there}", helps=f"`threads` {cores.usable}")


def _contention(interval: Span, threads: int) -> WarningRecord | None:
    """Our own threads in each other's way, though they are no more than the cores.

    Our threads waited for other processes at most as long as these computed. The rest of the time they waited for each
    other: a runtime's threads spin for some milliseconds after its pass, and take cores from the next runtime's.
    """
    if interval.waited_s is None or interval.other_cores is None or interval.throttled_periods:
        return None
    waited = interval.waited_s - interval.other_cores * interval.seconds
    share = min(1.0, waited / interval.seconds / threads)
    if waited < MIN_CPU_S or share < CONTENTION_SHARE:
        return None
    return WarningRecord(
        kind="contention",
        cause=f"threads of different runtimes competed for cores {percent(share, '.0f')} of the time",
        helps="measuring one runtime at a time",
    )


def _cores(number: float) -> str:
    return "core" if number == 1 else "cores"


def _clock(clocks_hz: Sequence[float]) -> WarningRecord | None:
    low, high = deciles(clocks_hz)
    if low >= (1 - CPU_CLOCK_SPREAD) * high:
        return None
    return WarningRecord(
        kind="clock",
        cause=f"the CPU's clock moved between {low / 1e9:.2f} and {high / 1e9:.2f} GHz while this was measured",
        helps="a longer `warmup`, mains power, and the governor 'performance' (cpupower frequency-set -g performance)",
    )


GPU_CLOCK_SPREAD = 0.05
"""Relative difference of the deciles: a GPU's steps are 15 MHz, and its clock stays where nothing limits it."""

THROTTLED_READINGS = 0.10
"""The share of a GPU's readings: a limit met once, for a moment, does not move a median."""

THROTTLING_HELPS = {
    "power limit": "lock a clock that the power allows (nvidia-smi -lgc), or raise its limit (nvidia-smi -pl)",
    "thermal limit": "let it cool down, or cool it better",
    "hardware thermal limit": "let it cool down, or cool it better",
    "power brake": "check its power supply",
    "hardware slowdown": "check its cooling and its power supply",
}
"""What helps, by reason. The hardware slowdown is last: heat and the power brake set it too."""


def unsteady_gpu(states: Sequence[GpuState]) -> tuple[WarningRecord, ...]:
    """Warn of what slowed a GPU, from readings taken while it worked: limits, or else a low clock."""
    found = _throttled(states) or _gpu_clock(states)
    return (found,) if found else ()


def _throttled(states: Sequence[GpuState]) -> WarningRecord | None:
    read = [state for state in states if state.throttle_reasons is not None]
    slow = [state for state in read if state.throttle_reasons]
    if not slow or len(slow) < THROTTLED_READINGS * len(read):
        return None
    seen = {reason for state in slow for reason in state.throttle_reasons or ()}
    reasons = [reason for reason in THROTTLING_HELPS if reason in seen]
    figures = [f"in {len(slow)} of {len(read)} readings"]
    if clocks := [state.sm_clock_hz for state in slow if state.sm_clock_hz]:
        figures.append(f"at {median(clocks) / 1e6:.0f} MHz")
        if highest := slow[0].max_sm_clock_hz:
            figures[-1] += f" of {highest / 1e6:.0f}"
    if temperatures := [state.temperature_c for state in slow if state.temperature_c is not None]:
        figures.append(f"up to {max(temperatures):.0f} °C")
    return WarningRecord(
        kind="gpu_throttled",
        cause=f"the GPU was slowed down ({' and '.join(reasons)}) {', '.join(figures)}",
        helps=THROTTLING_HELPS[reasons[0]],
    )


def _gpu_clock(states: Sequence[GpuState]) -> WarningRecord | None:
    low, high = deciles([state.sm_clock_hz for state in states if state.sm_clock_hz])
    if low >= (1 - GPU_CLOCK_SPREAD) * high:
        return None
    return WarningRecord(
        kind="gpu_clock",
        cause=f"the GPU's clock moved between {low / 1e6:.0f} and {high / 1e6:.0f} MHz while this was measured",
        helps="a longer `warmup`, or one clock for all the time (nvidia-smi -lgc)",
    )
