"""Time the plans of a design space: every run's shapes, parameters, MACs and memory.

Three spaces of 100,000 runs: one as people state them, where runs share backbones; one in which every run is another
network, of a hundred widths; and one in which they have 12,500 backbones. In turn, in one process, on one core. The
targets are for the processor time, which other programs on the machine change less than the time on the clock.

    python benchmarks/space_speed.py
"""

import argparse
import os
import resource
import time
from collections.abc import Sequence
from statistics import median

from mnfpn_cli.space.axes import Axis, Space
from mnfpn_cli.space.planned import Budget, plan_space
from mnfpn_cli.space.read import axis_of, merge_axes

TARGET_S = 30.0


def spaces(runs: int) -> dict[str, Space]:
    """The spaces, each of so many runs."""
    side = round((runs / 10) ** 0.5)
    widths, channels = [round(0.35 + k / side, 4) for k in range(side)], list(range(32, 32 + 4 * side, 4))
    sizes = [f"{height}x{height * 3 // 2}" for height in range(256, 1024, 153)]
    smooth = axis_of("pyramid.smooth", "smooth", ["conv", "separable"])
    every = [round(0.2 + k / runs, 7) for k in range(runs)]
    return {
        "shared backbones": _space(
            ("width_mult", widths), ("pyramid.channels", channels), ("size", sizes[:5]), more=smooth
        ),
        "other networks": _space(
            ("width_mult", every[:: runs // 100]), ("pyramid.channels", list(range(1, runs // 100 + 1)))
        ),
        "12,500 backbones": _space(("in_channels", range(1, 101)), ("stem_channels", range(1, runs // 100 + 1))),
    }


def _space(*axes: tuple[str, Sequence[object]], more: Axis | None = None) -> Space:
    return merge_axes([*(axis_of(key, key, values) for key, values in axes), *([more] if more else [])])


def main() -> None:
    """Time each space, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    timed: dict[str, list[tuple[float, float]]] = {}
    counts: dict[str, int] = {}
    for _ in range(arguments.rounds):
        for name, space in spaces(arguments.runs).items():
            start, processor = time.perf_counter(), time.process_time()
            planned = plan_space(space, Budget())
            timed.setdefault(name, []).append((time.perf_counter() - start, time.process_time() - processor))
            counts[name] = len(planned.runs)
    print(f"{'space':18}{'runs':>9}{'time':>10}{'processor':>12}{'a run':>10}   target")
    for name, times in timed.items():
        on_clock, busy = (median(column) for column in zip(*times, strict=True))
        met = "met" if busy * 100_000 / counts[name] <= TARGET_S else "MISSED"
        print(
            f"{name:18}{counts[name]:>9,}{on_clock:>8.1f} s{busy:>10.1f} s{busy / counts[name] * 1e6:>7.0f} µs   "
            f"100,000 in {TARGET_S:g} s: {met}"
        )
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


if __name__ == "__main__":
    main()
