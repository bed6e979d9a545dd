"""What made a GPU unsteady while something was measured. No torch here."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

from mnfpn_cli.measure.unsteady import Unsteady, deciles

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnfpn_cli.measure.nvml import GpuState

GPU_CLOCK_SPREAD = 0.05
"""Between deciles of samples: a GPU's steps are 15 MHz, and the clock stays where nothing limits it."""

THROTTLED_READINGS = 0.10
"""Of readings of a GPU: a limit met once, for a moment, moves no median."""

THROTTLING_HELPS = {
    "power limit": "lock a clock that the power allows (nvidia-smi --lock-gpu-clocks), or raise its --power-limit",
    "thermal limit": "let it cool down, or cool it better",
    "hardware thermal limit": "let it cool down, or cool it better",
    "power brake": "look after its power supply",
    "hardware slowdown": "look after its cooling and its power supply",
}
"""The hardware's slowdown comes last: it is also set where heat or the power brake is the reason."""


def unsteady_gpu(states: Sequence[GpuState]) -> tuple[Unsteady, ...]:
    """What was wrong with a GPU, by readings taken while it worked. A clock that a limit explains is not told twice."""
    found = _throttled(states) or _gpu_clock(states)
    return (found,) if found else ()


def _throttled(states: Sequence[GpuState]) -> Unsteady | None:
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
    return Unsteady(
        "gpu_throttled",
        f"the GPU was slowed down ({' and '.join(reasons)}) {', '.join(figures)}",
        THROTTLING_HELPS[reasons[0]],
    )


def _gpu_clock(states: Sequence[GpuState]) -> Unsteady | None:
    low, high = deciles([state.sm_clock_hz for state in states if state.sm_clock_hz])
    if low >= (1 - GPU_CLOCK_SPREAD) * high:
        return None
    return Unsteady(
        "gpu_clock",
        f"the GPU's clock moved between {low / 1e6:.0f} and {high / 1e6:.0f} MHz while this was measured",
        "a longer --warmup, or one clock for all the time (nvidia-smi --lock-gpu-clocks)",
    )
