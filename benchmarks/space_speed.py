"""Time the plans of a design space: every run's shapes, parameters, MACs, memory and capacity, and the frontier.

Three spaces of 100,000 runs: one as people state them, where runs share backbones; one in which every run is another
network, of a hundred widths; and one in which they have 12,500 backbones. In turn, in one process, on one core.

    python benchmarks/space_speed.py
"""

import argparse
import os
import resource
import time
from collections.abc import Sequence
from statistics import median

from mnfpn_cli.space.axes import Axis, Space
from mnfpn_cli.space.frontier import planned_frontier
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
    counts: dict[str, tuple[int, int]] = {}
    for _ in range(arguments.rounds):
        for name, space in spaces(arguments.runs).items():
            start = time.perf_counter()
            planned = plan_space(space, Budget())
            middle = time.perf_counter()
            best = planned_frontier(planned.runs)
            timed.setdefault(name, []).append((middle - start, time.perf_counter() - middle))
            counts[name] = (len(planned.runs), len(best))
    print(f"{'space':18}{'runs':>9}{'plan':>10}{'a run':>10}{'frontier':>11}{'of':>6}   target")
    for name, times in timed.items():
        plan, choose = (median(column) for column in zip(*times, strict=True))
        number, frontier = counts[name]
        met = "met" if (plan + choose) * 100_000 / number <= TARGET_S else "MISSED"
        print(
            f"{name:18}{number:>9,}{plan:>8.1f} s{plan / number * 1e6:>7.0f} µs{choose:>9.2f} s{frontier:>6}   "
            f"100,000 in {TARGET_S:g} s: {met}"
        )
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


if __name__ == "__main__":
    main()
