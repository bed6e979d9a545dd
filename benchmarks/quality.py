"""How often a comparison is wrong: a network against itself, and against itself with a planted delay.

Each comparison is made twice, with the same number of passes: by mnfpn's engine (A B B A, the interval of the ratio of
blocks against a margin of 1 %), and one after the other with a rank test at 5 %, as it is usually done.

    python benchmarks/quality.py --same 200 --delayed 100 --seconds 5
"""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable
from copy import deepcopy
from functools import partial
from statistics import median

import torch
from scipy.stats import mannwhitneyu

from mnfpn_cli.devices.timers import HostTimer
from mnfpn_cli.measure.engine import RatioRule, TimedRun, take_samples, warm_up
from mnfpn_cli.measure.statistics import paired_ratio
from mnfpn_cli.network.network import build_network
from mnfpn_cli.settings.measuring import Sampling
from mnfpn_cli.settings.network import NetworkSettings

MARGIN = 0.01
DELAY = 0.03

Run = Callable[[], object]


def twice(size: int) -> tuple[Run, Run]:
    """Passes of two copies of the default network, made as `compare` makes its sides."""
    network, images = build_network(NetworkSettings()), torch.rand(1, 3, size, size)
    a, b = deepcopy(network), deepcopy(network)
    return partial(a, images), partial(b, images)


def delayed(run: Run) -> Run:
    """The same pass, and a wait of a fixed share of the time that it took."""

    def slower() -> None:
        start = time.perf_counter()
        run()
        end = time.perf_counter()
        until = end + DELAY * (end - start)
        while time.perf_counter() < until:
            pass

    return slower


def interleaved(a: Run, b: Run, seconds: float) -> tuple[str, float, int]:
    """The verdict, the ratio and the number of passes of a side."""
    runs = [TimedRun(a, HostTimer()), TimedRun(b, HostTimer())]
    take_samples(runs, RatioRule(Sampling(precision=MARGIN / 2, min_time_s=0.5, max_time_s=seconds)))
    ratio = paired_ratio(runs[0].samples, runs[1].samples)
    assert ratio is not None
    return ratio.verdict(MARGIN), ratio.value, len(runs[0].samples)


def one_after_the_other(a: Run, b: Run, passes: int) -> tuple[str, float]:
    """What a rank test says of the medians."""
    timer = HostTimer()
    first, second = ([timer(run).seconds for _ in range(passes)] for run in (a, b))
    ratio = median(second) / median(first)
    if mannwhitneyu(first, second).pvalue >= 0.05:
        return "same", ratio
    return "a_faster" if ratio > 1 else "b_faster", ratio


def experiment(title: str, a: Run, b: Run, count: int, seconds: float) -> None:
    """Compare so many times, both ways in turn, and print what they said."""
    ours, theirs = Counter[str](), Counter[str]()
    our_ratios, their_ratios, passes = [], [], []
    for done in range(count):
        print(f"{done} of {count}", end="\r", file=sys.stderr)
        verdict, ratio, n = interleaved(a, b, seconds)
        ours[verdict] += 1
        our_ratios.append(ratio)
        passes.append(n)
        verdict, ratio = one_after_the_other(a, b, n)
        theirs[verdict] += 1
        their_ratios.append(ratio)
    print(f"{title}: {count} comparisons, {median(passes):.0f} passes a side")
    for name, verdicts, ratios in (("A B B A", ours, our_ratios), ("one after the other", theirs, their_ratios)):
        shares = ", ".join(f"{verdict} {verdicts[verdict]}" for verdict in sorted(verdicts))
        print(f"  {name:20} {shares}; ratios {min(ratios):.4f} to {max(ratios):.4f}, median {median(ratios):.4f}")


@torch.inference_mode()
def main() -> None:
    """Run both experiments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--same", type=int, default=200)
    parser.add_argument("--delayed", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=5.0, help="the most for one comparison")
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--threads", type=int, default=1, help="of the CPU; one of them is left to other work")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    a, b = twice(options.size)
    for run in (a, b):
        warm_up(run, HostTimer())
    experiment("A network against itself", a, b, options.same, options.seconds)
    experiment(f"Against itself, {DELAY:.0%} slower", a, delayed(b), options.delayed, options.seconds)


if __name__ == "__main__":
    main()
