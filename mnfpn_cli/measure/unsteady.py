"""What makes a measurement less than it seems, in words: the cause, with figures, and what helps."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import quantiles

MIN_CLOCKS = 4
"""Fewer samples have no deciles to speak of."""


@dataclass(frozen=True, slots=True)
class Unsteady:
    """Something that makes a measurement less than it seems.

    Attributes:
        kind: one word for programs: load, steal, cpu_quota, threads, contention, clock, gpu_throttled, gpu_clock, ….
        cause: what was seen, with figures.
        helps: what to do about it.
    """

    kind: str
    cause: str
    helps: str


def deciles(clocks_hz: Sequence[float]) -> tuple[float, float]:
    """The first and the last decile: a single odd sample is none; twice the same where there are too few."""
    if len(clocks_hz) < MIN_CLOCKS:
        return 0.0, 0.0
    low, *_, high = quantiles(clocks_hz, n=10, method="inclusive")
    return low, high
