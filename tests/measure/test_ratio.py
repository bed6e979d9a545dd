"""Ratios and verdicts: against published values, scipy's distribution, and simulated comparisons."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnfpn_cli.documents.compare import Verdict
from mnfpn_cli.measure.statistics import (
    MOST_UNPAIRED,
    PAIRED,
    UNPAIRED,
    Interval,
    TimeRatio,
    paired_ratio,
    unpaired_ratio,
)

Samples = st.lists(st.floats(1e-4, 10.0), min_size=1, max_size=40)


def in_turn(a: float, b: float, slowness: Sequence[float]) -> tuple[list[float], list[float]]:
    """Passes of A and B on a machine that is so slow at each of them, in the order A B B A."""
    times: tuple[list[float], list[float]] = ([], [])
    for at, factor in enumerate(slowness):
        side = (0, 1, 1, 0)[at % 4]
        times[side].append((a, b)[side] * factor)
    return times


def test_the_ratio_is_the_time_of_b_over_the_time_of_a() -> None:
    """The median of the blocks' ratios, with the second and the ninth of ten as its ends."""
    blocks = [1.0 + k / 10 for k in range(10)]
    ratio = paired_ratio([2.0, 2.0] * 10, [value * 2 for value in blocks for _ in range(2)])
    assert ratio is not None
    assert ratio.value == pytest.approx(1.45)
    assert ratio.interval == pytest.approx((1.1, 1.8))
    assert ratio.method == PAIRED


def test_a_block_is_two_passes_of_each() -> None:
    """Their sums are compared: within a block each side is as often first as second."""
    ratio = paired_ratio([1.0, 3.0], [2.0, 6.0])
    assert ratio is not None
    assert ratio.value == 2.0


def test_passes_of_an_incomplete_block_do_not_count() -> None:
    """Where it was ended in the middle, whichever side was the last."""
    whole = paired_ratio([1.0, 1.0], [2.0, 2.0])
    assert paired_ratio([1.0, 1.0, 9.0], [2.0, 2.0]) == whole
    assert paired_ratio([1.0, 1.0, 9.0], [2.0, 2.0, 9.0]) == whole
    assert paired_ratio([1.0, 1.0, 9.0], [2.0, 2.0, 9.0, 9.0]) == whole
    assert paired_ratio([1.0], [1.0, 1.0]) is None
    assert paired_ratio([], []) is None


@pytest.mark.parametrize("b", [1.0, 1.03])
@pytest.mark.parametrize("drift", [2.0, 0.5])
def test_a_machine_that_becomes_slower_or_faster_over_the_run_does_not_bias_the_ratio(b: float, drift: float) -> None:
    """Even where it ends at half or twice its speed: within a block a drift meets both sides alike."""
    ratio = paired_ratio(*in_turn(1.0, b, np.linspace(1.0, drift, 400).tolist()))
    assert ratio is not None
    assert ratio.value == pytest.approx(b, abs=1e-9)


def test_a_step_of_the_machines_speed_does_not_bias_the_ratio() -> None:
    """At most one block sees it."""
    ratio = paired_ratio(*in_turn(1.0, 1.03, [1.0] * 202 + [1.7] * 202))
    assert ratio is not None
    assert ratio.value == pytest.approx(1.03)
    assert ratio.interval == pytest.approx((1.03, 1.03))


@given(Samples, Samples)
def test_exchanging_the_sides_inverts_the_ratio_and_its_interval(a: list[float], b: list[float]) -> None:
    """Of independent samples, and of an odd number of blocks, whose median is one of them."""
    there, back = unpaired_ratio(a, b), unpaired_ratio(b, a)
    assert there.value * back.value == pytest.approx(1.0)
    assert (there.interval is None) == (back.interval is None)
    if there.interval and back.interval:
        assert there.interval.low * back.interval.high == pytest.approx(1.0)
    count = min(len(a), len(b)) // 2
    odd = 2 * (count - 1 + count % 2)
    one, other = paired_ratio(a[:odd], b[:odd]), paired_ratio(b[:odd], a[:odd])
    if one and other:
        assert one.value * other.value == pytest.approx(1.0)
        assert (one.interval is None) == (other.interval is None)
        if one.interval and other.interval:
            assert one.interval.low * other.interval.high == pytest.approx(1.0)


def test_the_ratio_of_independent_samples_is_hodges_and_lehmanns() -> None:
    """Hollander and Wolfe 1973, table 4.1: 0.305, -0.15 to 0.76; of differences, which are ratios of exponentials."""
    x = [0.80, 0.83, 1.89, 1.04, 1.45, 1.38, 1.91, 1.64, 0.73, 1.46]
    y = [1.15, 0.88, 0.90, 0.74, 1.21]
    ratio = unpaired_ratio([math.exp(value) for value in y], [math.exp(value) for value in x])
    assert math.log(ratio.value) == pytest.approx(0.305)
    assert ratio.interval is not None
    assert [math.log(end) for end in ratio.interval] == pytest.approx([-0.15, 0.76])
    assert ratio.method == UNPAIRED


@pytest.mark.parametrize("n", range(1, 16))
@pytest.mark.parametrize("m", [1, 3, 4, 7, 15])
def test_the_interval_of_independent_samples_covers_at_least_95_per_cent(n: int, m: int) -> None:
    """By scipy's exact distribution of Mann and Whitney's statistic: at most 2.5 % lie beyond each end."""
    a, b = [1.1**k for k in range(n)], [1.1 ** (20 * k) for k in range(1, m + 1)]  # all ratios are different
    ratios = sorted(y / x for x in a for y in b)
    interval = unpaired_ratio(a, b).interval
    if interval is None:
        assert chance(0, n, m) > 0.025 or chance(1, n, m) > 0.025  # none, or one rank short of one
        return
    below = sum(ratio < interval.low * (1 - 1e-9) for ratio in ratios)
    assert below == sum(ratio > interval.high * (1 + 1e-9) for ratio in ratios)
    assert chance(below, n, m) <= 0.025 < chance(below + 2, n, m)


def chance(most: int, n: int, m: int) -> float:
    """That of n·m pairs of alike samples at most so many have the first one above."""
    places = _with_pairs_above(most, n, m)
    stats = pytest.importorskip("scipy.stats")
    return float(stats.mannwhitneyu(*places, alternative="less", method="exact").pvalue) if places else 1.0


def _with_pairs_above(count: int, n: int, m: int) -> tuple[list[float], list[float]] | None:
    """Samples of which so many pairs have the first one above."""
    if count > n * m:
        return None
    full, rest = divmod(count, m)
    first = [m + 1.0 + k / 100 for k in range(full)] + [0.0 - k / 100 for k in range(n - full)]
    if rest:
        first[full] = rest + 0.5
    return first, [float(k) for k in range(1, m + 1)]


def test_of_many_independent_samples_some_from_all_over_the_run_are_compared() -> None:
    """Not the first ones: each with each of thousands would take longer than the benchmark."""
    later = [1.0] * MOST_UNPAIRED + [2.0] * (2 * MOST_UNPAIRED)
    assert unpaired_ratio([1.0], later).value == 2.0
    assert unpaired_ratio(later, [1.0]).value == 0.5


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (1.02, 1.04, "a_faster"),
        (1.0101, 1.5, "a_faster"),
        (1.01, 1.5, "inconclusive"),
        (0.995, 1.005, "same"),
        (1 / 1.01, 1.01, "same"),
        (1 / 1.01, 1.0101, "inconclusive"),
        (1 / 1.0101, 1.01, "inconclusive"),
        (1.001, 1.009, "same"),
        (1.005, 1.02, "inconclusive"),
        (0.9, 1.1, "inconclusive"),
        (0.8, 1 / 1.01, "inconclusive"),
        (0.8, 1 / 1.0101, "b_faster"),
        (0.90, 0.95, "b_faster"),
    ],
)
def test_a_verdict_is_what_the_whole_interval_shows(low: float, high: float, verdict: Verdict) -> None:
    """Beyond the margin, within it, or neither; the margin itself is within. Exchanged sides exchange it."""
    exchanged = {"a_faster": "b_faster", "b_faster": "a_faster"}
    middle = math.sqrt(low * high)
    assert TimeRatio(middle, Interval(low, high), PAIRED).verdict(0.01) == verdict
    back = TimeRatio(1 / middle, Interval(1 / high, 1 / low), PAIRED).verdict(0.01)
    edge = {low, high} & {1.01, 1 / 1.01}  # inverting rounds: 1 / (1 / 1.01) is 1.01 or its neighbour
    assert edge or back == exchanged.get(verdict, verdict)


def test_too_few_samples_have_no_verdict_but_inconclusive() -> None:
    """However large the difference seems, and however wide the margin."""
    few = paired_ratio([1.0] * 11, [2.0] * 11)
    assert few is not None
    assert (few.value, few.interval, few.half_width) == (2.0, None, math.inf)
    assert few.verdict(0.01) == few.verdict(10.0) == "inconclusive"
    enough = paired_ratio([1.0] * 12, [2.0] * 12)
    assert enough is not None
    assert enough.verdict(0.01) == "a_faster"
    unpaired = unpaired_ratio([1.0] * 3, [2.0] * 3)
    assert unpaired.value == pytest.approx(2.0)
    assert unpaired.interval is None


def test_the_half_width_reaches_the_farther_end() -> None:
    """Relative to the ratio."""
    assert TimeRatio(2.0, Interval(1.9, 2.4), PAIRED).half_width == pytest.approx(0.2)
    assert TimeRatio(2.0, Interval(1.5, 2.1), PAIRED).half_width == pytest.approx(0.25)
