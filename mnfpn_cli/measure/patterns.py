"""What is wrong with samples that should be alike: they drift, or they have two humps."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import sqrt

from mnfpn_cli.measure.statistics import Latency

LEAST_DRIFT = 0.02
"""A smaller change over a run would hardly matter to anyone, relative to the median."""

LEAST_DISTANCE = 6.0
"""Deviations between two humps, as Ashman et al. 1994 count them: one flat hump cut in halves gives 2.7."""

NORMAL_IQR = 1.349
"""Standard deviations in a normal distribution's interquartile range."""

LEAST_SHARE = 0.1
"""Samples that make a hump: fewer are outliers."""

LEAST_FOR_DRIFT = 18
LEAST_FOR_HUMPS = 60
"""Of fewer, one hump with a long tail (exponential) looks like two in more than one case of a hundred."""


@dataclass(frozen=True, slots=True)
class Humps:
    """Two groups of samples: the median of each in seconds, and the share of the slower."""

    fast: float
    slow: float
    share_slow: float


def drift(samples: Sequence[float]) -> float | None:
    """By how much the last third of the samples is slower than the first, relative to it; None where it does not drift.

    It drifts where the medians' 95 % intervals do not meet, and the change is not too small to matter.
    """
    if len(samples) < LEAST_FOR_DRIFT:
        return None
    third = len(samples) // 3
    first, last = Latency(tuple(samples[:third])), Latency(tuple(samples[-third:]))
    change = last.median / first.median - 1
    if first.interval is None or last.interval is None or abs(change) < LEAST_DRIFT:
        return None
    meet = first.interval.low <= last.interval.high and last.interval.low <= first.interval.high
    return None if meet else change


def humps(latency: Latency) -> Humps | None:
    """The two humps of samples that have two; None where they have one, or are too few to tell.

    The samples are cut where the two sides are most alike within (Otsu 1979); two humps are sides that lie far apart
    for how wide they are (Ashman's D, by order: a spike on the slower hump must not hide it).
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
    """The two sides of the best cut, less outliers: sides too small for a hump, which all together stay so small."""
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
    """How many samples lie below the cut with the largest variance between the two sides."""
    n, total = len(ordered), sum(ordered)
    sums = list(accumulate(ordered))
    return max(range(1, n), key=lambda k: (sums[k - 1] / k - (total - sums[k - 1]) / (n - k)) ** 2 * k * (n - k))
