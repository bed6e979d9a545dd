"""Which interval to trust for several processes a side: simulated comparisons, whose truth is known.

Processes differ by their luck, passes by the noise of the machine (`tests/measure/luck.py`). Of each method: how often
the 95 % interval covers the truth, how often a side that is the same lies beyond a gate of 3 % as a whole, and how wide
the interval is; then how often a planted 5 % lies beyond that gate.

    python benchmarks/intervals.py --count 400
"""

import argparse
import math
import sys
from collections.abc import Callable
from functools import partial
from itertools import product
from statistics import median

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.stats import sem, t

from mnfpn_cli.measure.statistics import MANY_PAIRS, Interval, median_interval, paired_ratio, process_ratio
from tests.measure.luck import NOISES, Luck, Processes, processes

LUCKS = {
    "0": Luck(0.0),
    "0.25 %": Luck(0.0025),
    "0.5 %": Luck(0.005),
    "1 %": Luck(0.01),
    "2 %": Luck(0.02),
    "5 %": Luck(0.05),
    "0.5 %, one in ten 10 % slower": Luck(0.005, odd=math.log(1.1)),
    "0.5 %, one in 80 40 % slower": Luck(0.005, odd=math.log(1.4), share=1 / 80),
}
COUNTS = (2, 3, 4, 5, 6, 8, 9, 12)
PASSES = (12, 100)
RESAMPLES = 200
GATE, PLANTED = 1.03, 1.05

Method = Callable[[Processes, Processes], Interval | None]


def mnfpn(a: Processes, b: Processes) -> Interval | None:
    """Student's over few pairs of processes, the median's over many."""
    ratio = process_ratio(a, b)
    return ratio.interval if ratio else None


def student(a: Processes, b: Processes) -> Interval | None:
    """Student's also over many pairs."""
    if len(a) < MANY_PAIRS:
        return None  # it is mnfpn's
    logs = np.median(_block_logs(a, b), -1)
    low, high = t.interval(0.95, len(logs) - 1, logs.mean(), sem(logs))
    return Interval(math.exp(low), math.exp(high))


def median_pair(a: Processes, b: Processes) -> Interval | None:
    """The median's also over few pairs: none with fewer than six."""
    if len(a) >= MANY_PAIRS:
        return None
    return median_interval(sorted(np.exp(np.median(_block_logs(a, b), -1)).tolist()))


def as_one(a: Processes, b: Processes) -> Interval | None:
    """All blocks together, as if they were of one process."""
    ratio = paired_ratio(*([time for times in side for time in times] for side in (a, b)))
    return ratio.interval if ratio else None


def bootstrap(random: Generator, a: Processes, b: Processes) -> Interval | None:
    """Hierarchical: pairs are drawn with replacement, and blocks of each; the ends are quantiles of the means."""
    logs = _block_logs(a, b)
    pairs, blocks = logs.shape
    drawn = random.integers(pairs, size=(RESAMPLES, pairs, 1))
    means = np.median(logs[drawn, random.integers(blocks, size=(RESAMPLES, pairs, blocks))], -1).mean(-1)
    low, high = np.exp(np.quantile(means, [0.025, 0.975]))
    return Interval(float(low), float(high))


def signed_rank(a: Processes, b: Processes) -> Interval | None:
    """Hodges and Lehmann's over the pairs: none with fewer than six."""
    logs = np.median(_block_logs(a, b), -1)
    means = np.sort([(x + y) / 2 for i, x in enumerate(logs) for y in logs[i:]])
    ways = np.array([1])
    for rank in range(1, len(logs) + 1):
        ways = np.concatenate([ways, np.zeros(rank, int)]) + np.concatenate([np.zeros(rank, int), ways])
    rank = int((np.cumsum(ways) <= 0.025 * 2 ** len(logs)).sum())
    return Interval(math.exp(means[rank - 1]), math.exp(means[-rank])) if rank else None


def _block_logs(a: Processes, b: Processes) -> NDArray[np.float64]:
    """The log ratios of the blocks, a row for each pair."""
    sums = [np.array(side).reshape(len(side), -1, 2).sum(-1) for side in (a, b)]
    logs: NDArray[np.float64] = np.log(sums[1] / sums[0])
    return logs


def coverage(methods: dict[str, Method], count: int, random: Generator) -> None:
    """Print what each method does for each number of processes, over all kinds of luck and noise."""
    print("processes  method       covers, least   beyond the gate, most   half-width, median")
    for number in COUNTS:
        covers, beyond, widths = ({name: list[float]() for name in methods} for _ in range(3))
        for luck, noise, passes in product(LUCKS.values(), NOISES.values(), PASSES):
            print(number, luck, file=sys.stderr)
            made = [processes(random, luck, noise, number, passes) for _ in range(count)]
            for name, method in methods.items():
                found = [interval for pair in made if (interval := method(*pair))]
                if found:
                    covers[name].append(sum(one.low <= 1 <= one.high for one in found) / count)
                    beyond[name].append(sum(one.low > GATE or one.high < 1 / GATE for one in found) / count)
                    widths[name].append(median(math.log(one.high / one.low) / 2 for one in found))
        for name in methods:
            if covers[name]:
                print(
                    f"{number:9}  {name:12} {median(covers[name]):5.1%}, {min(covers[name]):5.1%} "
                    f"{median(beyond[name]):13.1%}, {max(beyond[name]):5.1%} {median(widths[name]):17.2%}",
                    flush=True,
                )


def power(count: int, random: Generator) -> None:
    """Print how often a planted difference lies beyond the gate."""
    for noise in ("quiet", "load"):
        print(f"\nplanted 5 % found beyond 3 %, {noise}, 100 passes\n{'processes':30}", *(f"{n:6}" for n in COUNTS))
        for name, luck in LUCKS.items():
            shares = []
            for number in COUNTS:
                made = (processes(random, luck, NOISES[noise], number, 100, PLANTED) for _ in range(count))
                found = [mnfpn(*pair) for pair in made]
                shares.append(sum(one is not None and one.low > GATE for one in found) / count)
            print(f"{name:30}", *(f"{share:6.1%}" for share in shares), flush=True)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=400, help="comparisons of each kind")
    count, random = parser.parse_args().count, np.random.default_rng(20)
    methods: dict[str, Method] = {
        "mnfpn": mnfpn,
        "Student": student,
        "median": median_pair,
        "bootstrap": partial(bootstrap, random),
        "signed rank": signed_rank,
        "as one": as_one,
    }
    coverage(methods, count, random)
    power(count, random)


if __name__ == "__main__":
    main()
