"""What the timed loop adds to a pass: within the time that is reported, and around it. Target: under 20 µs.

The pass is a spin of a known length, so that all that is over is the engine's.

    python benchmarks/engine_overhead.py
"""

import time
from collections.abc import Callable
from statistics import median

from mnfpn_cli.bench.prepare import ExplainingTimer
from mnfpn_cli.devices.timers import HostTimer
from mnfpn_cli.measure.engine import BenchRule, TimedRun, take_samples
from mnfpn_cli.settings.measuring import Sampling

PASSES = 2000
ROUNDS = 9


def spin(seconds: float) -> Callable[[], None]:
    """A pass of a known length."""

    def run() -> None:
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            pass

    return run


def measure(seconds: float) -> tuple[float, float]:
    """Seconds that a reported pass is too long, and that the loop takes besides the passes, for each of them."""
    inside, around = [], []
    for _ in range(ROUNDS):
        run = TimedRun(spin(seconds), ExplainingTimer(HostTimer(), "a spin"))
        start = time.perf_counter()
        take_samples([run], BenchRule(Sampling(passes=PASSES, min_time_s=0.0)))
        wall = time.perf_counter() - start
        inside.append(median(run.samples) - seconds)
        around.append((wall - sum(run.samples)) / PASSES)
    return median(inside), median(around)


def main() -> None:
    """Print both for passes of two lengths."""
    for seconds in (1e-4, 1e-3):
        inside, around = measure(seconds)
        print(f"pass of {seconds * 1e3:.1f} ms: {inside * 1e6:5.2f} µs within its time, {around * 1e6:5.2f} µs around")


if __name__ == "__main__":
    main()
