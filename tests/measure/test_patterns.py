"""Drift and humps: found where they were scripted, and hardly ever where nothing is wrong."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.random import Generator
from numpy.typing import NDArray

from mnfpn_cli.measure.statistics import LEAST_FOR_DRIFT, LEAST_FOR_HUMPS, Latency, drift, humps

Draw = Callable[[Generator, int], NDArray[np.float64]]

HARMLESS: dict[str, Draw] = {
    "normal": lambda random, n: random.normal(1.0, 0.03, n),
    "log-normal": lambda random, n: random.lognormal(0.0, 0.3, n),
    "exponential": lambda random, n: 1 + random.exponential(0.1, n),
    "uniform": lambda random, n: random.uniform(1.0, 2.0, n),
}


@pytest.mark.parametrize("name", HARMLESS)
@pytest.mark.parametrize("n", [LEAST_FOR_DRIFT, 40, 60, 100, 300])
def test_independent_samples_hardly_ever_drift_or_have_humps(name: str, n: int) -> None:
    """At most one in a hundred, however wide or skewed: of 300 runs, three."""
    random = np.random.default_rng(n)
    runs = [tuple(HARMLESS[name](random, n).tolist()) for _ in range(300)]
    assert sum(drift(run) is not None for run in runs) <= 3
    assert sum(humps(Latency(run)) is not None for run in runs) <= 3


def noise(n: int, seed: int = 0) -> NDArray[np.float64]:
    """Factors around one, by half a per cent."""
    return np.random.default_rng(seed).normal(1.0, 0.005, n)


@pytest.mark.parametrize("change", [0.1, -0.1])
def test_a_drift_has_its_sign_and_size(change: float) -> None:
    """From the middle of the first third to the middle of the last, which is two thirds of the run."""
    samples = (np.linspace(1.0, 1.0 + change, 300) * noise(300)).tolist()
    found = drift(samples)
    assert found is not None
    assert found == pytest.approx(change * 2 / 3, rel=0.15)


def test_a_step_in_the_middle_is_a_drift() -> None:
    """As when a clock is lowered for good."""
    samples = [*noise(50).tolist(), *(1.2 * noise(50, 1)).tolist()]
    assert drift(samples) == pytest.approx(0.2, rel=0.05)


def test_a_change_that_comes_and_goes_is_no_drift() -> None:
    """A load in the middle third alone leaves both ends alike."""
    samples = noise(90)
    samples[30:60] *= 1.5
    assert drift(samples.tolist()) is None


def test_a_drift_below_two_per_cent_is_not_reported() -> None:
    """However certain it is."""
    assert drift(np.linspace(1.0, 1.025, 3000).tolist()) is None
    assert drift(np.linspace(1.0, 1.035, 3000).tolist()) is not None


def test_a_drift_is_not_reported_where_the_intervals_overlap() -> None:
    """However large it is."""
    assert drift([1.0, 2.0] * 4 + [1.0] + [1.0, 2.0] * 4 + [2.0] + [1.0, 2.0] * 4 + [2.0]) is None


def test_too_few_samples_do_not_drift() -> None:
    """A third needs six for an interval."""
    samples = [float(k) for k in range(1, LEAST_FOR_DRIFT + 1)]
    assert drift(samples[:-1]) is None
    assert drift(samples) is not None


def two_humps(share: float, apart: float, n: int = 200) -> list[float]:
    """Samples of which that share is slower by that much, spread over the run."""
    slower = np.random.default_rng(3).permutation(n) < share * n
    return list(map(float, np.where(slower, 1.0 + apart, 1.0) * noise(n)))


@pytest.mark.parametrize("apart", [0.05, 0.1, 0.5, 2.0])
@pytest.mark.parametrize("share", [0.15, 0.3, 0.5, 0.8])
@pytest.mark.parametrize("spikes", [[], [4.0, 7.0, 10.0], [0.1, 0.4, 4.0]], ids=["none", "slow", "both"])
def test_two_humps_are_found_with_their_medians_and_shares(share: float, apart: float, spikes: list[float]) -> None:
    """However far apart, whichever is the larger, and whatever spikes there are besides."""
    samples = two_humps(share, apart)
    samples[: len(spikes)] = spikes
    found = humps(Latency(tuple(samples)))
    assert found is not None
    assert found.fast == pytest.approx(1.0, rel=0.005)
    assert found.slow == pytest.approx(1.0 + apart, rel=0.005)
    assert found.share_slow == pytest.approx(share, abs=0.025)


def test_humps_of_a_coarse_clock_have_no_width() -> None:
    """Two values and nothing between them."""
    found = humps(Latency((1.0, 1.5) * 50))
    assert found is not None
    assert (found.fast, found.slow, found.share_slow) == (1.0, 1.5, 0.5)


def test_humps_closer_than_two_per_cent_are_not_reported() -> None:
    """The median can be wrong by no more than their distance."""
    assert humps(Latency((1.0, 1.019) * 50)) is None
    assert humps(Latency((1.0, 1.021) * 50)) is not None


def test_some_spikes_are_no_hump() -> None:
    """Less than a tenth of the samples are outliers, alone or together, above or below."""
    samples = noise(200).tolist()
    samples[:19] = [3.0] * 19
    assert humps(Latency(tuple(samples))) is None
    samples[10:19] = [0.3] * 9
    assert humps(Latency(tuple(samples))) is None


@pytest.mark.parametrize(("each", "found"), [(4, True), (6, False)])
def test_spikes_of_all_sizes_together_are_less_than_a_tenth(each: int, found: bool) -> None:
    """Where more samples than that lie outside of two humps, these are not the whole story."""
    latency = Latency((*[1.0] * 50, *[1.5] * 50, *[10.0] * each, *[100.0] * each))
    assert (humps(latency) is not None) is found


def test_too_few_samples_have_no_humps() -> None:
    """Chance makes some of few."""
    samples = (1.0, 2.0) * LEAST_FOR_HUMPS
    assert humps(Latency(samples[: LEAST_FOR_HUMPS - 1])) is None
    assert humps(Latency(samples[:LEAST_FOR_HUMPS])) is not None


def test_equal_samples_have_neither_drift_nor_humps() -> None:
    """A clock too coarse for the pass."""
    assert drift([1.0] * 100) is None
    assert humps(Latency((1.0,) * 100)) is None
