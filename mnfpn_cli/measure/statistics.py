"""Statistics of samples: medians, intervals, and the ratio of two medians."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import accumulate
from math import sqrt
from statistics import NormalDist, fmean, median, quantiles, stdev
from typing import NamedTuple

from mnfpn_cli.documents.compare import Verdict
from mnfpn_cli.documents.records import LatencyRecord

ONE_IN = 40
"""A 95 % interval leaves out one case in forty at each end."""

NORMAL_QUANTILE = 1.959964
EXACT_UP_TO = 1000
"""Up to this number of samples the binomial distribution is exact; beyond, it is approximated by the normal one."""

NORMAL_MAD = 0.67449
"""The median absolute deviation of a normal distribution, in standard deviations."""

OUTLIER_MADS = 14.826
"""An outlier is further than this many median absolute deviations from the median: ten standard deviations where
samples are normal."""

CLOCK_S = 1e-6
"""A sample this close to the median is no outlier: CUDA's events resolve 0.5 µs, and all other samples may be equal."""

LEAST_FOR_PERCENTILE = {90: 64, 99: 662}
"""The fewest samples from which a percentile is given."""


class Interval(NamedTuple):
    """A confidence interval."""

    low: float
    high: float

    def half_width(self, middle: float) -> float:
        """Return the distance of the farther end from the middle, over the middle; infinite where that is zero."""
        return max(self.high - middle, middle - self.low) / middle if middle else math.inf


@dataclass(frozen=True)
class Latency:
    """Samples of the time of one pass, in seconds, in the order in which they were taken."""

    samples: tuple[float, ...]

    @cached_property
    def ordered(self) -> tuple[float, ...]:
        """The samples, the fastest first."""
        return tuple(sorted(self.samples))

    @property
    def median(self) -> float:
        """The median in seconds."""
        return median(self.ordered)

    @property
    def interval(self) -> Interval | None:
        """The 95 % confidence interval of the median in seconds; None with fewer than six samples."""
        return median_interval(self.ordered)

    @property
    def half_width(self) -> float:
        """The half-width of the interval, as a share of the median; infinite without an interval."""
        return self.interval.half_width(self.median) if self.interval else math.inf

    @property
    def quartiles(self) -> tuple[float, float]:
        """The first and third quartile in seconds (inclusive method: the samples are all there is)."""
        if len(self.samples) == 1:
            return self.samples[0], self.samples[0]
        first, _, third = quantiles(self.ordered, n=4, method="inclusive")
        return first, third

    @property
    def iqr(self) -> float:
        """The interquartile range in seconds."""
        first, third = self.quartiles
        return third - first

    @property
    def min(self) -> float:
        """The fastest pass in seconds."""
        return self.ordered[0]

    @cached_property
    def mad(self) -> float:
        """The median absolute deviation from the median in seconds, not scaled to a standard deviation."""
        return mad(self.samples)

    def percentile(self, per_cent: int) -> float | None:
        """Return a high percentile in seconds; None with fewer samples than `LEAST_FOR_PERCENTILE`."""
        if len(self.samples) < LEAST_FOR_PERCENTILE[per_cent]:
            return None
        return quantiles(self.ordered, n=100, method="inclusive")[per_cent - 1]

    @property
    def outliers(self) -> tuple[int, ...]:
        """The indices of samples that are far from the median; they are reported, not removed."""
        return outliers(self.samples, CLOCK_S)

    @property
    def slow_first(self) -> bool:
        """Whether the first sample is a slow outlier: the warm-up was too short."""
        return 0 in self.outliers and self.samples[0] > self.median


def mad(values: Sequence[float]) -> float:
    """Return the median absolute deviation from the median, not scaled to a standard deviation."""
    middle = median(values)
    return median(abs(value - middle) for value in values)


def outliers(values: Sequence[float], least: float) -> tuple[int, ...]:
    """Return the indices of values that are further than `OUTLIER_MADS` and than ``least`` from the median."""
    middle, limit = median(values), max(OUTLIER_MADS * mad(values), least)
    return tuple(index for index, value in enumerate(values) if abs(value - middle) > limit)


def latency_record(latency: Latency) -> LatencyRecord:
    """Return the record of samples and their statistics for a document."""
    return LatencyRecord(
        median=latency.median,
        ci95=latency.interval,
        quartiles=latency.quartiles,
        iqr=latency.iqr,
        min=latency.min,
        mad=latency.mad,
        p90=latency.percentile(90),
        p99=latency.percentile(99),
        outliers=latency.outliers,
        samples=latency.samples,
    )


def median_interval(ordered: Sequence[float]) -> Interval | None:
    """Return the distribution-free 95 % interval of the median of sorted samples; None with fewer than six.

    Its ends are the j-th samples from either end, for the largest j for which fewer than j of n fair coins come up
    heads in at most one case of forty.
    """
    rank = _rank(len(ordered))
    return Interval(ordered[rank - 1], ordered[-rank]) if rank else None


@lru_cache(maxsize=256)
def _rank(n: int) -> int:
    """Return the j of `median_interval`; 0 where even the extremes are too narrow."""
    if n > EXACT_UP_TO:
        return math.floor((n + 1 - NORMAL_QUANTILE * math.sqrt(n)) / 2)
    outcomes, ways = 0, 1
    for j in range(n + 1):
        outcomes += ways  # those with at most j heads
        if outcomes * ONE_IN > 2**n:
            return j
        ways = ways * (n - j) // (j + 1)
    return 0


LEAST_DRIFT = 0.02
"""Smaller relative changes of the median are too small to matter."""

LEAST_DISTANCE = 6.0
"""The least distance D of two humps (Ashman et al. 1994): one flat hump cut in half gives 2.7."""

NORMAL_IQR = 1.349
"""The interquartile range of a normal distribution, in standard deviations."""

LEAST_SHARE = 0.1
"""The least share of the samples that makes a hump: fewer are outliers."""

LEAST_FOR_DRIFT = 18
LEAST_FOR_HUMPS = 60
"""With fewer samples, one hump with a long tail (exponential) looks like two in more than one case of a hundred."""


@dataclass(frozen=True, slots=True)
class Humps:
    """Two groups of samples: the median of each in seconds, and the share of the slower."""

    fast: float
    slow: float
    share_slow: float


def drift(samples: Sequence[float]) -> float | None:
    """Return by how much the last third of the samples is slower than the first, as a share of it; None without drift.

    Samples drift where the 95 % intervals of the two medians do not overlap and the change is at least `LEAST_DRIFT`.
    """
    if len(samples) < LEAST_FOR_DRIFT:
        return None
    third = len(samples) // 3
    first, last = Latency(tuple(samples[:third])), Latency(tuple(samples[-third:]))
    change = last.median / first.median - 1
    if first.interval is None or last.interval is None or abs(change) < LEAST_DRIFT:
        return None
    overlap = first.interval.low <= last.interval.high and last.interval.low <= first.interval.high
    return None if overlap else change


def humps(latency: Latency) -> Humps | None:
    """Return the two humps of samples that have two; None where they have one, or are too few.

    The samples are cut where the variance within the two sides is least (Otsu 1979). The sides are humps where they
    lie far apart for their width (Ashman's D, of medians and quartiles: a spike on the slower hump must not hide it).
    """
    sides = _sides(latency.ordered) if len(latency.samples) >= LEAST_FOR_HUMPS else None
    if sides is None:
        return None
    fast, slow = (Latency(tuple(side)) for side in sides)
    distance, width = slow.median - fast.median, sqrt(fast.iqr**2 + slow.iqr**2) / NORMAL_IQR
    if sqrt(2) * distance < LEAST_DISTANCE * width or distance < LEAST_DRIFT * latency.median:
        return None
    return Humps(fast.median, slow.median, len(slow.samples) / (len(fast.samples) + len(slow.samples)))


def _sides(ordered: Sequence[float]) -> tuple[Sequence[float], Sequence[float]] | None:
    """Return the two sides of the best cut, without outliers: sides that even together are too few for a hump."""
    few = LEAST_SHARE * len(ordered)
    left = ordered
    while len(ordered) - len(left) < few:
        cut = _best_cut(left)
        fast, slow = left[:cut], left[cut:]
        if min(len(fast), len(slow)) >= few:
            return fast, slow
        left = max(fast, slow, key=len)
    return None


def _best_cut(ordered: Sequence[float]) -> int:
    """Return the number of samples below the cut with the largest variance between the two sides."""
    n, total = len(ordered), sum(ordered)
    sums = list(accumulate(ordered))
    return max(range(1, n), key=lambda k: (sums[k - 1] / k - (total - sums[k - 1]) / (n - k)) ** 2 * k * (n - k))


PAIRED = "median of the ratios of interleaved ABBA blocks, distribution-free 95 % interval"
MEDIANS = "ratio of the medians, of too few passes for an interval"
UNPAIRED = "Hodges-Lehmann ratio of independent samples, Mann-Whitney 95 % interval"
FEW_PROCESSES = "geometric mean of the ratios of {} pairs of processes, Student's 95 % interval: it covers their layout"
MANY_PROCESSES = "median ratio of {} pairs of processes, distribution-free 95 % interval: it covers their layout"
ONE_PROCESS = f"{PAIRED}, of one pair of processes: it does not cover their layout"

MANY_PAIRS = 9
"""Pairs of processes from which on the median's interval leaves out the least and the greatest ratio."""

LEAST_FOR_ODD = 4
"""Pairs of processes from which on it shows that one is odd; of four that differ by chance, up to 3 % have one."""

STUDENT = (12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646)
"""The 97.5 % quantiles of Student's t, for the degrees of freedom of 2 to 8 pairs."""

MOST_UNPAIRED = 500
"""The most samples of a side: each is compared with each of the other side. Of more, every second, third, … is used."""


@dataclass(frozen=True, slots=True)
class TimeRatio:
    """The time of B over the time of A, its 95 % interval (None with too few samples), and the method."""

    value: float
    interval: Interval | None
    method: str

    @property
    def half_width(self) -> float:
        """The half-width of the interval, as a share of the ratio; infinite without an interval."""
        return self.interval.half_width(self.value) if self.interval else math.inf

    def verdict(self, margin: float) -> Verdict:
        """Return what the interval shows: a difference larger than the margin, no such difference, or neither."""
        if self.interval is None:
            return "inconclusive"
        if self.interval.low > 1 + margin:
            return "a_faster"
        if self.interval.high < 1 / (1 + margin):
            return "b_faster"
        within = self.interval.low >= 1 / (1 + margin) and self.interval.high <= 1 + margin
        return "same" if within else "inconclusive"


def paired_ratio(a: Sequence[float], b: Sequence[float]) -> TimeRatio | None:
    """Return the ratio of passes that were timed A B B A, A B B A, …; None before the first block is complete.

    Each block gives one ratio: whatever slows the machine for longer than a block slows both sides.
    """
    blocks = min(len(a), len(b)) // 2
    ratios = sorted((b[2 * k] + b[2 * k + 1]) / (a[2 * k] + a[2 * k + 1]) for k in range(blocks))
    return TimeRatio(median(ratios), median_interval(ratios), PAIRED) if ratios else None


def process_ratio(a: Sequence[Sequence[float]], b: Sequence[Sequence[float]]) -> TimeRatio | None:
    """Return the ratio of B to A over several processes a side; None where no pair has a whole block.

    Two copies of one network differ from process to process: by where their memory and their code lie, by the order of
    what is hashed. More passes do not average that out, only more processes do. So each pair counts as one observation
    (Kalibera and Jones 2013). From `MANY_PAIRS` on the ratio is their median, which one odd process on either side
    hardly moves; of fewer it is the mean of their logs, with Student's interval.

    Args:
        a: the samples of each process of A, in seconds.
        b: those of B; the k-th was timed in turn, A B B A, with the k-th of A.
    """
    pairs = pair_ratios(a, b)
    if len(pairs) < 2:
        return replace(pairs[0], method=ONE_PROCESS) if pairs else None
    if len(pairs) >= MANY_PAIRS:
        ratios = sorted(pair.value for pair in pairs)
        return TimeRatio(median(ratios), median_interval(ratios), MANY_PROCESSES.format(len(ratios)))
    logs = [math.log(pair.value) for pair in pairs]
    middle, reach = fmean(logs), pairs_reach(len(logs)) * stdev(logs)
    interval = Interval(math.exp(middle - reach), math.exp(middle + reach))
    return TimeRatio(math.exp(middle), interval, FEW_PROCESSES.format(len(logs)))


def pair_ratios(a: Sequence[Sequence[float]], b: Sequence[Sequence[float]]) -> list[TimeRatio]:
    """Return the ratio of each pair of processes that has a whole block; arguments as in `process_ratio`."""
    return [ratio for pair in zip(a, b, strict=True) if (ratio := paired_ratio(*pair))]


def odd_pairs(pairs: Sequence[TimeRatio]) -> tuple[int, ...]:
    """Return the indices of odd pairs: the ratio is an outlier, and its interval does not hold the median of all."""
    if len(pairs) < LEAST_FOR_ODD:
        return ()
    middle = median(pair.value for pair in pairs)
    far = outliers([math.log(pair.value) for pair in pairs], LEAST_DRIFT)
    return tuple(k for k in far if (own := pairs[k].interval) and not own.low <= middle <= own.high)


def pairs_reach(n: int) -> float:
    """Return how far the interval of `process_ratio` reaches over n pairs, in the standard deviations of their ratios.

    Of one pair it is the interval of its blocks. The ends of the median's interval are ratios of single pairs: of
    normal values these are expected where Blom (1958) has them.
    """
    if n == 1:
        return NORMAL_QUANTILE
    if n < MANY_PAIRS:
        return STUDENT[n - 2] / sqrt(n)
    return NormalDist().inv_cdf((n + 1 - _rank(n) - 3 / 8) / (n + 1 / 4))


def unpaired_ratio(a: Sequence[float], b: Sequence[float]) -> TimeRatio:
    """Return the ratio of samples that were taken one after the other, or on different days.

    The method assumes that each side's samples are independent, which those of a loaded machine are not: what changed
    between the two runs is in the ratio, and not in the interval.
    """
    a, b = _thinned(a), _thinned(b)
    differences = sorted(math.log(y) - math.log(x) for x in a for y in b)
    n, m = len(a), len(b)
    rank = math.floor((n * m - 1) / 2 - NORMAL_QUANTILE * math.sqrt(n * m * (n + m + 1) / 12))
    interval = Interval(math.exp(differences[rank]), math.exp(differences[-rank - 1])) if rank >= 0 else None
    return TimeRatio(math.exp(median(differences)), interval, UNPAIRED)


def _thinned(samples: Sequence[float]) -> Sequence[float]:
    return samples[:: -(-len(samples) // MOST_UNPAIRED)]
