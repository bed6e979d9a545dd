"""The stopping rules, on scripted and simulated passes that the engine times."""

from collections.abc import Callable, Sequence
from itertools import cycle, islice, repeat
from math import inf

import numpy as np
import pytest
from numpy.random import Generator
from numpy.typing import NDArray

from mnfpn_cli.documents.records import Ended
from mnfpn_cli.errors import MnfpnError
from mnfpn_cli.measure.engine import (
    LEAST_BLOCKS,
    LEAST_FOR_NOISE,
    BenchRule,
    RatioRule,
    TimedRun,
    stays_wide,
    take_samples,
)
from mnfpn_cli.measure.statistics import Latency, paired_ratio
from mnfpn_cli.settings.measuring import LEAST_SAMPLES, Sampling
from tests.measure.clocks import scripted

QUICK = Sampling(min_time_s=0.0)
Noise = Callable[[Generator, int], NDArray[np.float64]]


def normal(random: Generator, n: int) -> NDArray[np.float64]:
    """Each pass by itself, 3 % about."""
    return random.lognormal(0.0, 0.03, n)


def autocorrelated(random: Generator, n: int) -> NDArray[np.float64]:
    """A machine that is slow for a while: 3 % about, of which nine tenths stay from pass to pass."""
    steps, now, log = random.normal(0.0, 0.03 * (1 - 0.9**2) ** 0.5, n), 0.0, np.empty(n)
    for at, step in enumerate(steps):
        now = 0.9 * now + step
        log[at] = now
    return np.exp(log)


def spikes(random: Generator, n: int) -> NDArray[np.float64]:
    """One pass in twenty takes up to four times as long."""
    return normal(random, n) * np.where(random.random(n) < 0.05, random.uniform(1.2, 4.0, n), 1.0)


def enough(runs: Sequence[TimedRun], sampling: Sampling) -> tuple[Ended, list[float]]:
    """What ended a benchmark, and the shares of its progress."""
    shares: list[float] = []
    return take_samples(runs, BenchRule(sampling, shares.append)), shares


def test_equal_passes_are_precise_with_the_least_number_of_samples() -> None:
    """Ten: fewer are no measurement, however alike."""
    run = scripted(repeat(0.5))
    assert enough([run], QUICK)[0] == "precision"
    assert len(run.samples) == LEAST_SAMPLES == 10


@pytest.mark.parametrize("precision", [0.02, 0.005])
def test_a_benchmark_ends_when_the_medians_interval_is_narrow_enough(precision: float) -> None:
    """That of every run: the noisiest decides."""
    random = np.random.default_rng(1)
    quiet, noisy = scripted(repeat(1.0)), scripted(normal(random, 10_000).tolist())
    sampling = Sampling(precision=precision, min_time_s=0.0, max_time_s=inf)
    assert enough([quiet, noisy], sampling)[0] == "precision"
    assert Latency(tuple(noisy.samples)).half_width <= precision
    assert len(quiet.samples) == len(noisy.samples) > LEAST_SAMPLES


def test_noise_that_more_samples_do_not_narrow_ends_a_benchmark() -> None:
    """Two humps of equal size: the median is anywhere between them, after a thousand samples as after a hundred."""
    run = scripted(cycle([1.0, 1.5, 1.5, 1.0]))
    assert enough([run], Sampling(min_time_s=0.0, max_time_s=inf))[0] == "noise"
    assert LEAST_FOR_NOISE <= len(run.samples) < 2 * LEAST_FOR_NOISE


def test_noise_ends_a_benchmark_only_where_more_passes_would_help_no_run() -> None:
    """One that can still become precise is timed on, and the hopeless one with it."""
    random = np.random.default_rng(2)
    hopeless, slow = cycle([1.0, 1.5, 1.5, 1.0]), normal(random, 10_000)
    sampling = Sampling(precision=0.003, min_time_s=0.0, max_time_s=inf)
    runs = [scripted(hopeless), scripted(slow.tolist())]
    assert enough(runs, sampling)[0] == "noise"
    assert Latency(tuple(runs[1].samples)).half_width <= sampling.precision
    assert len(runs[0].samples) > 2 * LEAST_FOR_NOISE


def test_samples_stay_wide_where_four_times_as_many_are_no_narrower() -> None:
    """Independent ones should have become twice as narrow; of too few, nothing is said."""
    assert stays_wide(list(islice(cycle([1.0, 1.5]), 4 * LEAST_FOR_NOISE)))
    wider = [1.0] * (LEAST_FOR_NOISE // 4) + [1.0, 1.5, 2.0, 2.5] * LEAST_FOR_NOISE
    assert stays_wide(wider[:LEAST_FOR_NOISE])
    assert not stays_wide(wider[: LEAST_FOR_NOISE - 1])
    even = [1.0 + k * 0.618034 % 1 for k in range(4 * LEAST_FOR_NOISE)]
    assert not stays_wide(even)


def test_independent_samples_hardly_ever_end_as_noise() -> None:
    """Five per cent about, which takes some 150 samples: at most one run in twenty gives up before."""
    random, ended = np.random.default_rng(3), list[Ended]()
    for _ in range(100):
        run = scripted(random.lognormal(0.0, 0.05, 5000).tolist())
        ended.append(enough([run], Sampling(min_time_s=0.0, max_time_s=inf))[0])
    assert ended.count("noise") <= 5
    assert ended.count("precision") == 100 - ended.count("noise")


def test_the_most_time_ends_a_benchmark_that_is_not_precise() -> None:
    """Of all runs together; spent in whole rounds."""
    runs = [scripted(normal(np.random.default_rng(4), 1000).tolist()) for _ in range(2)]
    assert enough(runs, Sampling(precision=1e-4, min_time_s=0.0, max_time_s=30.0))[0] == "max_time"
    spent = sum(sum(run.samples) for run in runs)
    assert 30.0 <= spent < 30.0 + 2 * 1.2


@pytest.mark.parametrize("max_time_s", [0.0, 1.5])
@pytest.mark.parametrize(
    ("passes", "ended", "samples"),
    [
        (None, "max_time", LEAST_SAMPLES),
        (1000, "max_time", LEAST_SAMPLES),
        (LEAST_SAMPLES, "passes", LEAST_SAMPLES),
        (3, "passes", 3),
    ],
)
def test_the_most_time_leaves_a_benchmark_its_least_number_of_samples(
    max_time_s: float, passes: int | None, ended: Ended, samples: int
) -> None:
    """A slow network gets them all the same; fewer where fewer were asked for."""
    run = scripted(repeat(4.0))
    assert enough([run], Sampling(passes=passes, min_time_s=0.0, max_time_s=max_time_s))[0] == ended
    assert len(run.samples) == samples


def test_the_least_time_is_used_however_precise_it_is() -> None:
    """A tenth of a second each, two runs: ten rounds for two seconds are as good as precise, twenty for four."""
    runs = [scripted(repeat(0.125)) for _ in range(2)]
    assert enough(runs, Sampling(min_time_s=4.0))[0] == "precision"
    assert len(runs[0].samples) == 16


@pytest.mark.parametrize("passes", [1, 3, 25])
def test_a_number_of_passes_that_was_asked_for_is_exact(passes: int) -> None:
    """Fewer than ten too, however wide or narrow the interval."""
    runs = [scripted(cycle([1.0, 1.5])) for _ in range(3)]
    assert enough(runs, Sampling(passes=passes, min_time_s=0.0, max_time_s=inf))[0] == "passes"
    assert [len(run.samples) for run in runs] == [passes] * 3


def test_passes_go_on_until_both_their_number_and_the_least_time_are_reached() -> None:
    """Three passes are enough in number, not in time."""
    few, many = scripted(repeat(0.25)), scripted(repeat(0.25))
    assert enough([few], Sampling(passes=3, min_time_s=1.5, max_time_s=inf))[0] == "min_time"
    assert enough([many], Sampling(passes=8, min_time_s=1.5, max_time_s=inf))[0] == "passes"
    assert (len(few.samples), len(many.samples)) == (6, 8)


def test_the_most_time_ends_a_number_of_passes_too_where_it_was_asked_for() -> None:
    """And says so."""
    run = scripted(repeat(1.0))
    assert enough([run], Sampling(passes=100, min_time_s=0.0, max_time_s=14.5))[0] == "max_time"
    assert len(run.samples) == 15


def test_a_run_that_fails_leaves_the_others_to_become_precise() -> None:
    """Its samples neither count nor delay the end."""
    wide = scripted([1.0, 9.0, 1.0, 9.0, MnfpnError("out of memory")])
    steady = scripted(repeat(1.0))
    assert enough([wide, steady], QUICK)[0] == "precision"
    assert (len(wide.samples), len(steady.samples)) == (4, LEAST_SAMPLES)


WAYS = {
    "precision": Sampling(min_time_s=0.0),
    "max_time": Sampling(precision=1e-6, min_time_s=0.0, max_time_s=20.0),
    "least time": Sampling(min_time_s=30.0),
    "no time": Sampling(min_time_s=0.0, max_time_s=0.0),
    "passes": Sampling(passes=14, min_time_s=0.0, max_time_s=inf),
    "odd passes": Sampling(passes=3, min_time_s=0.0, max_time_s=inf),
    "passes and time": Sampling(passes=2, min_time_s=30.0, max_time_s=inf),
    "passes and most time": Sampling(passes=1000, min_time_s=0.0, max_time_s=20.0),
}


@pytest.mark.parametrize("rule", [BenchRule, RatioRule])
@pytest.mark.parametrize("way", WAYS)
def test_progress_rises_to_one_and_not_beyond(rule: type[BenchRule | RatioRule], way: str) -> None:
    """Whatever ends it: the last share is one, and none is less than the one before."""
    shares: list[float] = []
    times = normal(np.random.default_rng(5), 2000) if way == "max_time" else np.ones(2000)
    runs = [scripted(times.tolist()) for _ in range(2)]
    take_samples(runs, rule(WAYS[way], shares.append))
    assert shares == sorted(shares)
    assert all(0 < share <= 1 for share in shares)
    assert shares[-1] == 1.0


def test_half_of_the_passes_and_half_of_the_time_is_half_of_the_work() -> None:
    """What takes longer counts: few passes are done soon, and then the least time is what is waited for."""
    shares = enough([scripted(repeat(1.0))], Sampling(passes=2, min_time_s=8.0, max_time_s=inf))[1]
    assert shares == [k / 8 for k in range(1, 9)]
    shares = enough([scripted(repeat(1.0))], Sampling(passes=8, min_time_s=2.0, max_time_s=inf))[1]
    assert shares == [k / 8 for k in range(1, 9)]


def compared(noise: NDArray[np.float64], planted: float, sampling: Sampling) -> tuple[Ended, list[TimedRun]]:
    """A comparison of two runs, the second slower by a factor, on a machine as slow as this at each pass."""
    slowness = iter((0.01 * noise).tolist())  # of one machine, whichever of them asks
    runs = [scripted(map(factor.__mul__, slowness)) for factor in (1.0, planted)]
    return take_samples(runs, RatioRule(sampling)), runs


def verdict_of(runs: Sequence[TimedRun], margin: float = 0.01) -> str:
    """The verdict on what was measured."""
    ratio = paired_ratio(*(run.samples for run in runs))
    return ratio.verdict(margin) if ratio else "inconclusive"


@pytest.mark.parametrize("noise", [normal, autocorrelated, spikes])
def test_a_network_compared_with_itself_is_called_different_in_one_case_of_a_hundred_at_most(noise: Noise) -> None:
    """On noisy machines, ended as early as the rule allows, which is when chance has most to say."""
    random = np.random.default_rng(6)
    sampling = Sampling(min_time_s=0.0, max_time_s=4.0)
    verdicts = [verdict_of(compared(noise(random, 1000), 1.0, sampling)[1]) for _ in range(400)]
    assert verdicts.count("a_faster") + verdicts.count("b_faster") <= 4
    assert "same" in verdicts


@pytest.mark.parametrize("noise", [normal, autocorrelated, spikes])
@pytest.mark.parametrize(("planted", "verdict"), [(1.03, "a_faster"), (1 / 1.03, "b_faster")])
def test_a_planted_difference_of_three_per_cent_is_found(noise: Noise, planted: float, verdict: str) -> None:
    """With two hundred blocks in 95 of 100 cases at least, and never the wrong way round."""
    random = np.random.default_rng(7)
    sampling = Sampling(passes=400, min_time_s=0.0, max_time_s=inf)
    verdicts = [verdict_of(compared(noise(random, 1000), planted, sampling)[1]) for _ in range(100)]
    assert verdicts.count(verdict) >= 95
    assert set(verdicts) <= {verdict, "inconclusive"}


def test_a_comparison_ends_when_the_ratios_interval_is_narrow_enough() -> None:
    """With whole blocks, and six of them at least, which an interval takes."""
    ended, runs = compared(np.ones(1000), 1.5, QUICK)
    assert (ended, [len(run.samples) for run in runs]) == ("precision", [2 * LEAST_BLOCKS] * 2)
    ended, runs = compared(normal(np.random.default_rng(8), 10_000), 1.0, Sampling(min_time_s=0.0, max_time_s=inf))
    ratio = paired_ratio(*(run.samples for run in runs))
    assert ended == "precision"
    assert ratio is not None
    assert ratio.half_width <= 0.01
    assert len(runs[0].samples) == len(runs[1].samples) > 2 * LEAST_BLOCKS
    assert len(runs[0].samples) % 2 == 0


def test_the_sides_are_measured_for_as_long_whichever_is_faster() -> None:
    """How wide the interval is ends it, never which way it points: exchanged sides end in the same round."""
    noise = normal(np.random.default_rng(9), 10_000).tolist()
    ends = []
    for exchanged in (False, True):
        a, b = (scripted(noise[::2]), scripted([1.03 * time for time in noise[1::2]]))
        rule = RatioRule(Sampling(min_time_s=0.0, max_time_s=inf))
        take_samples([b, a] if exchanged else [a, b], rule)
        ends.append((len(a.samples), len(b.samples)))
    assert abs(ends[0][0] - ends[1][0]) <= 2  # a half-width relative to 1.03 is not quite that relative to its inverse


def test_the_least_and_the_most_time_bound_a_comparison() -> None:
    """Precise at once, and never precise; a whole block ends both."""
    ended, runs = compared(np.ones(10_000), 1.0, Sampling(min_time_s=2.0))
    assert ended == "precision"
    assert sum(sum(run.samples) for run in runs) == pytest.approx(2.0, abs=0.04)
    wild = Sampling(precision=1e-6, min_time_s=0.0, max_time_s=3.0)
    ended, runs = compared(normal(np.random.default_rng(10), 10_000), 1.0, wild)
    assert ended == "max_time"
    assert sum(sum(run.samples) for run in runs) == pytest.approx(3.0, abs=0.05)
    assert len(runs[0].samples) % 2 == 0


@pytest.mark.parametrize("passes", [None, 30])
def test_the_most_time_leaves_a_comparison_the_blocks_that_an_interval_takes(passes: int | None) -> None:
    """Six: with fewer there could be no verdict."""
    ended, runs = compared(np.ones(100), 1.5, Sampling(passes=passes, min_time_s=0.0, max_time_s=0.0))
    assert ended == "max_time"
    assert [len(run.samples) for run in runs] == [2 * LEAST_BLOCKS] * 2
    assert verdict_of(runs) == "a_faster"


@pytest.mark.parametrize(("passes", "samples"), [(1, 2), (2, 2), (13, 14), (14, 14)])
def test_a_comparison_of_a_number_of_passes_has_that_many_in_whole_blocks(passes: int, samples: int) -> None:
    """An odd number is rounded up: half a block would favour one side."""
    ended, runs = compared(np.ones(100), 1.0, Sampling(passes=passes, min_time_s=0.0, max_time_s=inf))
    assert (ended, [len(run.samples) for run in runs]) == ("passes", [samples] * 2)


@pytest.mark.parametrize("side", [0, 1])
def test_a_comparison_of_which_a_side_fails_has_failed(side: int) -> None:
    """At once: there is nothing left to compare with."""
    times: list[list[float | BaseException]] = [[1.0] * 99, [1.0] * 99]
    times[side][4] = MnfpnError("out of memory")
    runs = [scripted(time) for time in times]
    assert take_samples(runs, RatioRule(QUICK)) == "failed"
    assert len(runs[side].samples) == 4
    assert len(runs[1 - side].samples) == 5
