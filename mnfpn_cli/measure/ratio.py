"""The ratio of two latencies, how sure it is, and the verdict on it.

Sources: blocks that hold both treatments, each in every position, Fisher 1935, "The Design of Experiments", chapter 4;
the interval of two independent samples, Hollander, Wolfe and Chicken 2014, "Nonparametric Statistical Methods", section
4.3 (Hodges and Lehmann's estimate, the interval by Mann and Whitney's statistic). That a difference is held against a
margin, and that "same" has to be shown as much as "faster", is how equivalence is tested: Schuirmann 1987.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from mnfpn_cli.documents.compare import Verdict
from mnfpn_cli.measure.statistics import NORMAL_QUANTILE, Interval, median_interval

PAIRED = "median of the ratios of interleaved ABBA blocks, distribution-free 95 % interval"
UNPAIRED = "Hodges-Lehmann ratio of independent samples, Mann-Whitney 95 % interval"

MOST_UNPAIRED = 500
"""Samples of a side that are compared each with each of the other's; of more, every second, third, … is taken."""


@dataclass(frozen=True, slots=True)
class Ratio:
    """The time of B over the time of A, its 95 % interval (None for too few samples), and how they were worked out."""

    value: float
    interval: Interval | None
    method: str

    @property
    def half_width(self) -> float:
        """How far the farther end of the interval is from the ratio, over the ratio; infinite where there is none."""
        if self.interval is None:
            return math.inf
        return max(self.interval.high - self.value, self.value - self.interval.low) / self.value

    def verdict(self, margin: float) -> Verdict:
        """What the interval shows: a difference of more than the margin, none of more than that, or neither."""
        if self.interval is None:
            return "inconclusive"
        if self.interval.low > 1 + margin:
            return "a_faster"
        if self.interval.high < 1 / (1 + margin):
            return "b_faster"
        within = self.interval.low >= 1 / (1 + margin) and self.interval.high <= 1 + margin
        return "same" if within else "inconclusive"


def paired_ratio(a: Sequence[float], b: Sequence[float]) -> Ratio | None:
    """The ratio from passes that were timed A B B A, A B B A, …; None before the first block is whole.

    Each block gives a ratio of its own: what slows the machine for longer than a block slows both.
    """
    blocks = min(len(a), len(b)) // 2
    ratios = sorted((b[2 * k] + b[2 * k + 1]) / (a[2 * k] + a[2 * k + 1]) for k in range(blocks))
    return Ratio(median(ratios), median_interval(ratios), PAIRED) if ratios else None


def unpaired_ratio(a: Sequence[float], b: Sequence[float]) -> Ratio:
    """The ratio from samples that were taken one after the other, or on different days.

    It takes each side's samples for independent of each other, which those of a loaded machine are not: what changed
    between the two runs is in the ratio and not in the interval.
    """
    a, b = _thinned(a), _thinned(b)
    differences = sorted(math.log(y) - math.log(x) for x in a for y in b)
    n, m = len(a), len(b)
    rank = math.floor((n * m - 1) / 2 - NORMAL_QUANTILE * math.sqrt(n * m * (n + m + 1) / 12))
    interval = Interval(math.exp(differences[rank]), math.exp(differences[-rank - 1])) if rank >= 0 else None
    return Ratio(math.exp(median(differences)), interval, UNPAIRED)


def _thinned(samples: Sequence[float]) -> Sequence[float]:
    return samples[:: -(-len(samples) // MOST_UNPAIRED)]
