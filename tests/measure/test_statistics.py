"""Statistics against scipy, numpy and simulation."""

import math
import statistics
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.random import Generator
from numpy.typing import NDArray

from mnfpn_cli.measure.statistics import (
    EXACT_UP_TO,
    LEAST_FOR_PERCENTILE,
    OUTLIER_MADS,
    Interval,
    Latency,
    median_interval,
)

Seconds = st.floats(1e-6, 1e3)


def ranks(n: int) -> Interval | None:
    """Which of n samples are the ends of the median's interval, from 1."""
    return median_interval(range(1, n + 1))


def test_the_ends_of_the_medians_interval_are_the_binomial_distributions() -> None:
    """The narrowest that are sure enough: fewer than `low` of n below the median at most once in forty times."""
    binom = pytest.importorskip("scipy.stats").binom
    for n in range(1, EXACT_UP_TO + 1):
        found = ranks(n)
        if found is None:
            assert binom.cdf(0, n, 0.5) > 0.025
            continue
        low, high = found
        assert low + high == n + 1
        assert binom.cdf(low - 1, n, 0.5) <= 0.025 < binom.cdf(low, n, 0.5)


def test_of_many_samples_the_interval_is_at_most_one_rank_wider_and_never_narrower() -> None:
    """The normal approximation, from a thousand samples to three thousand."""
    binom = pytest.importorskip("scipy.stats").binom
    for n in range(EXACT_UP_TO + 1, 3001):
        found = ranks(n)
        assert found is not None
        assert binom.ppf(0.025, n, 0.5) - 1 <= found.low <= binom.ppf(0.025, n, 0.5)
        assert found.low + found.high == n + 1


@pytest.mark.parametrize(("n", "low", "high"), [(6, 1, 6), (10, 2, 9), (20, 6, 15), (100, 40, 61)])
def test_the_ranks_are_those_of_the_tables_of_the_sign_test(n: int, low: int, high: int) -> None:
    """As textbooks print them for the sign test: of ten samples, the second and the ninth."""
    assert ranks(n) == (low, high)


def test_fewer_than_six_samples_have_no_interval() -> None:
    """Five of them lie on one side of the median in one case of sixteen."""
    assert [ranks(n) for n in range(6)] == [None] * 6
    assert Latency((1.0,) * 5).interval is None
    assert Latency((3.0, 1.0, 2.0, 6.0, 5.0, 4.0)).interval == (1.0, 6.0)


Draw = Callable[[Generator, tuple[int, int]], NDArray[np.float64]]

DISTRIBUTIONS: dict[str, tuple[Draw, float]] = {
    "normal": (lambda random, shape: random.normal(3.0, 1.0, shape), 3.0),
    "log-normal": (lambda random, shape: random.lognormal(0.0, 1.0, shape), 1.0),
    "exponential": (lambda random, shape: random.exponential(1.0, shape), math.log(2)),
    "uniform": (lambda random, shape: random.uniform(0.0, 1.0, shape), 0.5),
    "heavy tails": (lambda random, shape: random.standard_cauchy(shape), 0.0),
}


@pytest.mark.parametrize("name", DISTRIBUTIONS)
@pytest.mark.parametrize("n", [6, 25, 200])
def test_the_interval_holds_the_median_of_what_was_sampled_in_95_of_100_cases(name: str, n: int) -> None:
    """Whatever its distribution; 4,000 simulated runs, of which the share has a standard error of 0.35 %."""
    binom = pytest.importorskip("scipy.stats").binom
    draw, truth = DISTRIBUTIONS[name]
    runs = np.sort(draw(np.random.default_rng(4), (4000, n)), axis=1)
    found = ranks(n)
    assert found is not None
    low, high = (int(rank) - 1 for rank in found)
    held = np.mean((runs[:, low] <= truth) & (truth <= runs[:, high]))
    assert held >= 0.95 - 2 * 0.0035
    assert held <= binom.cdf(high, n, 0.5) - binom.cdf(low, n, 0.5) + 3 * 0.0035


@given(st.lists(Seconds, min_size=1))
def test_statistics_are_those_of_the_samples(samples: list[float]) -> None:
    """Median, quartiles, minimum and deviation, against numpy."""
    latency = Latency(tuple(samples))
    first, middle, third = np.quantile(samples, (0.25, 0.5, 0.75))
    assert latency.median == statistics.median(samples) == pytest.approx(middle)
    assert latency.quartiles == pytest.approx((first, third))
    assert latency.iqr == pytest.approx(third - first, abs=1e-9)
    assert latency.min == min(samples)
    assert latency.mad == pytest.approx(np.median(np.abs(np.array(samples) - middle)), abs=1e-12)


def test_one_sample_has_no_spread() -> None:
    """And its own value for everything else."""
    latency = Latency((0.5,))
    assert (latency.median, latency.quartiles, latency.iqr, latency.min, latency.mad) == (0.5, (0.5, 0.5), 0, 0.5, 0)
    assert latency.outliers == ()
    assert not latency.slow_first


@pytest.mark.parametrize(("per_cent", "least"), [(90, 64), (99, 662)])
def test_a_percentile_is_given_from_so_many_samples_on(per_cent: int, least: int) -> None:
    """Those of MLPerf's early stopping, and then it is numpy's."""
    assert LEAST_FOR_PERCENTILE[per_cent] == least
    samples = tuple(np.random.default_rng(1).lognormal(0.0, 0.5, least).tolist())
    assert Latency(samples[:-1]).percentile(per_cent) is None
    assert Latency(samples).percentile(per_cent) == pytest.approx(np.percentile(samples, per_cent))


def test_an_outlier_is_marked_and_stays() -> None:
    """Spikes to either side, by their position; every statistic still counts them."""
    samples = [1.0, 1.01, 0.99, 1.02, 0.98] * 10
    samples[7], samples[30] = 5.0, 0.01
    latency = Latency(tuple(samples))
    assert latency.outliers == (7, 30)
    assert len(latency.ordered) == len(samples)
    assert (latency.ordered[-1], latency.min) == (5.0, 0.01)


def test_an_outlier_begins_beyond_ten_standard_deviations() -> None:
    """A normal distribution's, by the median absolute deviation: 14.826 of those; the limit itself is none."""
    assert pytest.approx(10 / 0.6745, rel=1e-4) == OUTLIER_MADS
    around = (-1.0, 0.0, 1.0) * 8  # the median is 0, and its deviation 1
    assert Latency((*around, OUTLIER_MADS, -OUTLIER_MADS)).outliers == ()
    assert Latency((*around, OUTLIER_MADS + 0.001, -OUTLIER_MADS - 0.001)).outliers == (24, 25)


@pytest.mark.parametrize(("first", "slow"), [(9.0, True), (0.001, False), (1.01, False)])
def test_a_first_pass_is_slow_where_it_is_an_outlier_above(first: float, slow: bool) -> None:
    """A fast one is odd, but it was not cold; and a later one says nothing about the warm-up."""
    usual = (1.0, 1.01, 0.99, 1.02, 0.98) * 4
    assert Latency((first, *usual)).slow_first is slow
    assert not Latency((*usual, first)).slow_first


@given(st.lists(Seconds, min_size=6))
def test_the_half_width_reaches_both_ends_of_the_interval(samples: list[float]) -> None:
    """The median, less and more that share of it, holds the interval, and no smaller share does."""
    latency = Latency(tuple(samples))
    share, interval = latency.half_width, latency.interval
    assert interval is not None
    farthest = max(abs(end - latency.median) for end in interval)
    assert share * latency.median == pytest.approx(farthest, abs=1e-12)


def test_without_an_interval_the_half_width_is_infinite() -> None:
    """So that no precision is reached by too few samples, or by a clock that stands still."""
    assert Latency((1.0,) * 5).half_width == math.inf
    assert Latency((0.0,) * 9).half_width == math.inf
    assert Latency((1.0,) * 6).half_width == 0.0


def test_what_a_clock_cannot_tell_apart_is_no_outlier() -> None:
    """The passes of a recorded graph can be equal to the clock's last step."""
    assert Latency((*[1e-4] * 20, 1.005e-4)).outliers == ()
    assert Latency((*[1e-4] * 20, 1.02e-4)).outliers == (20,)
