"""Several processes a side, their ratio and how long each pair is timed: by hand, against scipy, and simulated."""

import math
from itertools import chain
from typing import TypeVar

import numpy as np
import pytest

from mnfpn_cli.documents.records import Ended
from mnfpn_cli.measure.engine import LEAST_BLOCKS, RatioRule, pair_sampling, processes_ended, take_samples
from mnfpn_cli.measure.statistics import (
    MANY_PAIRS,
    ONE_PROCESS,
    STUDENT,
    TimeRatio,
    median_interval,
    odd_pairs,
    pair_ratios,
    paired_ratio,
    pairs_reach,
    process_ratio,
)
from mnfpn_cli.settings.measuring import Sampling
from tests.measure.clocks import scripted
from tests.measure.luck import NOISES, Luck, Noise, Processes, processes

T = TypeVar("T")

BLOCKS = 12
"""Passes of a side in six blocks, which is the fewest that one process has an interval from."""


def pairs(*ratios: float) -> tuple[Processes, Processes]:
    """Processes of A that take a second a pass, and of B that take these multiples."""
    return [[1.0] * BLOCKS for _ in ratios], [[ratio] * BLOCKS for ratio in ratios]


def known(found: T | None) -> T:
    """What is there."""
    assert found is not None
    return found


def test_each_pair_of_processes_is_one_observation() -> None:
    """Of logs 0.00, 0.02 and 0.04: mean 0.02, standard deviation 0.02, quantile 4.3027 of two degrees of freedom."""
    ratio = known(process_ratio(*pairs(1.0, math.exp(0.02), math.exp(0.04))))
    assert math.log(ratio.value) == pytest.approx(0.02)
    assert ratio.interval is not None
    reach = 4.3027 * 0.02 / math.sqrt(3)
    assert [math.log(end) for end in ratio.interval] == pytest.approx([0.02 - reach, 0.02 + reach])
    assert "3 pairs of processes" in ratio.method


def test_the_quantiles_are_students() -> None:
    """For every number of pairs whose mean is the ratio."""
    stats = pytest.importorskip("scipy.stats")
    assert pytest.approx(stats.t.ppf(0.975, range(1, MANY_PAIRS - 1)), abs=5e-5) == list(STUDENT)
    few = [1.0, 1.02, 1.01, 1.03, 0.99, 1.0, 1.04, 1.02]
    exact = stats.t.interval(0.95, 7, np.mean(np.log(few)), stats.sem(np.log(few)))
    assert known(process_ratio(*pairs(*few))).interval == pytest.approx(tuple(map(math.exp, exact)), rel=1e-4)


def test_of_many_pairs_the_ratio_is_the_median() -> None:
    """Its interval leaves out the least and the greatest of nine; with fewer pairs, no 95 % interval does."""
    ratios = [1.0, 1.02, 1.01, 1.4, 0.99, 1.0, 0.7, 1.03, 1.04]
    ratio = known(process_ratio(*pairs(*ratios)))
    assert len(ratios) == MANY_PAIRS
    assert (ratio.value, ratio.interval) == (1.01, (0.99, 1.04))
    assert "median ratio of 9 pairs" in ratio.method
    fewer = known(median_interval(sorted(ratios[:-1])))
    assert fewer == (0.7, 1.4)


@pytest.mark.parametrize("count", [4, 8, 9, 12, 20])
def test_how_far_an_interval_over_pairs_reaches(count: int) -> None:
    """On average, in standard deviations of the pairs: as is foretold, to a tenth."""
    random = np.random.default_rng(11)
    found = [process_ratio(*pairs(*np.exp(random.normal(0.0, 0.01, count)).tolist())) for _ in range(300)]
    reaches = [math.log(one.interval.high / one.interval.low) / 2 for one in found if one and one.interval]
    assert len(reaches) == 300
    assert np.mean(reaches) / 0.01 == pytest.approx(pairs_reach(count), rel=0.1)


@pytest.mark.parametrize(
    ("ratios", "odd"),
    [
        ((1.0, 1.01, 0.99, 1.4), (3,)),
        ((1.0, 0.7, 1.01, 0.99, 1.0), (1,)),
        ((1.0, 1.01, 1.4), ()),  # of three, two are alike by chance
        ((1.0, 1.0, 1.0, 1.015), ()),  # too little to matter
        ((0.9, 1.0, 1.1, 1.4), ()),  # as far from each other
        ((1.0, 1.01, 0.99, 1.4, 1.0, 1.01, 0.99, 1.0, 0.7), (3, 8)),
    ],
)
def test_a_pair_is_odd_that_is_far_from_the_others(ratios: tuple[float, ...], odd: tuple[int, ...]) -> None:
    """By the rule that tells outliers among passes."""
    assert odd_pairs(pair_ratios(*pairs(*ratios))) == odd


def test_a_pair_is_odd_only_by_its_own_interval() -> None:
    """Not by a spike in the one block that it had before Ctrl-C, nor by blocks that say both."""
    a, b = pairs(1.0, 1.01, 0.99, 1.4)
    assert odd_pairs(pair_ratios([*a[:3], [1.0, 1.0]], [*b[:3], [1.4, 1.4]])) == ()
    unsure = [1.0, 1.0] * 3 + [1.4, 1.4] * 4
    assert odd_pairs(pair_ratios([*a[:3], [1.0] * 14], [*b[:3], unsure])) == ()


@pytest.mark.parametrize(("count", "most"), [(4, 0.03), (5, 0.04), (9, 0.01)])
def test_few_pairs_are_odd_by_chance(count: int, most: float) -> None:
    """Where the processes differ by 5 %: the fewer pairs there are, the more of them are alike."""
    random, found = np.random.default_rng(13), 0
    for _ in range(1000):
        found += odd_pairs(pair_ratios(*processes(random, Luck(0.05), NOISES["quiet"], count, BLOCKS))) != ()
    assert found <= most * 1000


def test_a_process_in_forty_that_is_odd_hides_no_difference_from_nine_pairs() -> None:
    """Of 1.4 times the time: four pairs have one in 18 of 100 comparisons, and find nothing then."""
    random, found = np.random.default_rng(12), dict.fromkeys((4, MANY_PAIRS), 0)
    for count in found:
        for _ in range(200):
            a, b = processes(random, Luck(0.004, odd=math.log(1.4), share=1 / 40), NOISES["quiet"], count, 100, 1.05)
            found[count] += known(process_ratio(a, b)).verdict(0.03) == "a_faster"
    assert found[4] < 180
    assert found[MANY_PAIRS] >= 190


def test_passes_do_not_make_up_for_processes() -> None:
    """Ten times as many passes in each leave the interval of processes that differ as wide."""
    a, b = pairs(1.0, 1.02, 1.01, 1.03)
    more = [times * 10 for times in a], [times * 10 for times in b]
    assert process_ratio(*more) == process_ratio(a, b)


def test_one_pair_of_processes_has_the_interval_of_its_blocks_and_says_what_it_lacks() -> None:
    """The luck of its layout."""
    random = np.random.default_rng(1)
    a, b = processes(random, Luck(0.0), NOISES["quiet"], 1, 40)
    ratio, within = known(process_ratio(a, b)), known(paired_ratio(a[0], b[0]))
    assert (ratio.value, ratio.interval) == (within.value, within.interval)
    assert ratio.method == ONE_PROCESS
    assert "does not cover" in ratio.method


def test_a_pair_without_a_whole_block_is_left_out() -> None:
    """One of its processes died, or Ctrl-C came."""
    a, b = pairs(1.0, 1.02, 1.04)
    whole = process_ratio(a, b)
    assert process_ratio([*a, [1.0]], [*b, []]) == whole
    assert process_ratio([[], *a], [[2.0] * 9, *b]) == whole
    assert known(process_ratio([a[0], [1.0]], [b[0], []])).method == ONE_PROCESS
    assert process_ratio([[1.0]], [[]]) is None
    assert process_ratio([], []) is None


def test_processes_without_a_partner_are_a_mistake() -> None:
    """Of the caller's."""
    with pytest.raises(ValueError, match="zip"):
        process_ratio([[1.0] * BLOCKS], [])


def test_exchanged_sides_invert_the_ratio_and_its_interval() -> None:
    """Also of noisy processes; an odd number of blocks, whose median is one of them."""
    a, b = processes(np.random.default_rng(2), Luck(0.02), NOISES["load"], 5, 26)
    there, back = known(process_ratio(a, b)), known(process_ratio(b, a))
    assert there.value * back.value == pytest.approx(1.0)
    assert there.interval is not None
    assert back.interval is not None
    assert there.interval.low * back.interval.high == pytest.approx(1.0)


def test_a_load_that_is_there_for_one_pair_alone_is_in_both_of_its_sides() -> None:
    """And so in no ratio."""
    a, b = pairs(1.01, 1.02, 1.03)
    loaded = [[3.0 * time for time in times] for times in (a[1], b[1])]
    ratio = known(process_ratio([a[0], loaded[0], a[2]], [b[0], loaded[1], b[2]]))
    assert ratio.interval == pytest.approx(known(process_ratio(a, b)).interval)


@pytest.mark.parametrize("count", [4, MANY_PAIRS])
@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("luck", [Luck(0.0), Luck(0.01), Luck(0.05), Luck(0.005, odd=0.1)])
def test_the_interval_covers_the_luck_of_a_process(luck: Luck, noise: str, count: int) -> None:
    """In 95 of 100 cases, give or take what chance does to 500; and lies beyond a gate of 3 % in one of 100 at most."""
    random = np.random.default_rng(3)
    found = [known(process_ratio(*processes(random, luck, NOISES[noise], count, BLOCKS))).interval for _ in range(500)]
    covered = sum(interval.low <= 1 <= interval.high for interval in found if interval)
    beyond = sum(interval.low > 1.03 for interval in found if interval)
    assert covered >= 0.92 * 500
    assert beyond <= 0.01 * 500 + 3


def test_the_interval_of_one_process_does_not_cover_it() -> None:
    """That is why the method says so: of pairs whose luck differs by 1 % a side, most intervals miss."""
    random = np.random.default_rng(4)
    found = [known(process_ratio(*processes(random, Luck(0.01), NOISES["quiet"], 1, 100))).interval for _ in range(200)]
    assert sum(interval.low <= 1 <= interval.high for interval in found if interval) < 100


def test_a_planted_difference_is_found_by_four_processes_a_side() -> None:
    """5 % beyond a gate of 3 %, in 95 of 100 cases, where processes differ by 0.4 %; never the wrong way round."""
    random = np.random.default_rng(5)
    verdicts = [
        known(process_ratio(*processes(random, Luck(0.004), NOISES["quiet"], 4, 100, 1.05))).verdict(0.03)
        for _ in range(200)
    ]
    assert verdicts.count("a_faster") >= 190
    assert "b_faster" not in verdicts


def measured(
    random: np.random.Generator, luck: Luck, noise: Noise, count: int, sampling: Sampling
) -> tuple[Processes, Processes, list[Ended]]:
    """The samples of simulated processes, each pair timed as long as the rule says, and what ended each pair."""
    a, b, ends, spent = Processes(), Processes(), list[Ended](), 0.0
    for sides in zip(*processes(random, luck, noise, count, 2000), strict=True):
        runs = [scripted(0.01 * time for time in times) for times in sides]
        rule = RatioRule(pair_sampling(sampling, count, a, b, spent))
        ends.append(take_samples(runs, rule))
        spent += rule.spent
        a.append(runs[0].samples)
        b.append(runs[1].samples)
    return a, b, ends


def test_the_time_of_all_pairs_is_that_which_was_given() -> None:
    """In equal shares; what one pair leaves is for the next."""
    whole = Sampling(min_time_s=8.0, max_time_s=80.0)
    first = pair_sampling(whole, 4, [], [], 0.0)
    assert (first.min_time_s, first.max_time_s) == (2.0, 20.0)
    second = pair_sampling(whole, 4, *pairs(1.0), 24.0)
    assert (second.min_time_s, second.max_time_s) == (0.0, (80.0 - 24.0) / 3)
    spent = pair_sampling(whole, 5, *pairs(1.0, 1.0, 1.0, 1.0), 96.0)
    assert (spent.min_time_s, spent.max_time_s) == (0.0, 0.0)


def test_the_number_of_passes_is_that_of_each_process() -> None:
    """And nothing but a time that was asked for ends them."""
    a, b, ends = measured(
        np.random.default_rng(6),
        Luck(0.0),
        NOISES["quiet"],
        3,
        Sampling(passes=13, min_time_s=0.0, max_time_s=math.inf),
    )
    assert [len(samples) for samples in chain(a, b)] == [14] * 6
    assert ends == ["passes"] * 3


def test_pairs_that_are_alike_are_timed_until_their_ratio_is_precise() -> None:
    """All together: 1.96 over Student's quantile and the root of four, 1.23 times the width each."""
    sampling = Sampling(precision=0.01, min_time_s=0.0, max_time_s=math.inf)
    assert pair_sampling(sampling, 4, *pairs(1.0, 1.0), 0.0).precision == pytest.approx(0.01232, abs=1e-5)
    assert pair_sampling(sampling, 1, [], [], 0.0).precision == 0.01
    a, b, ends = measured(np.random.default_rng(7), Luck(0.0), NOISES["load"], 4, sampling)
    assert known(process_ratio(a, b)).half_width == pytest.approx(0.01, abs=0.007)
    assert ends == ["precision"] * 4
    assert min(map(len, a)) > 4 * LEAST_BLOCKS


def test_pairs_that_differ_are_not_timed_longer_than_helps() -> None:
    """Of logs -0.03, 0.0 and 0.03 the deviation is 0.044, by their MAD; the next pair gets what half of it takes."""
    sampling = Sampling(precision=0.001, min_time_s=0.0, max_time_s=1000.0)
    differ = pairs(math.exp(-0.03), 1.0, math.exp(0.03))
    assert pair_sampling(sampling, 6, *differ, 0.0).precision == pytest.approx(0.5 * 0.03 / 0.67449)
    for odd in ((1.03,), (1.0, 1.4), (1.0, 1.4, 1.0)):  # one pair that is far off ends none after it early
        assert pair_sampling(sampling, 6, *pairs(*odd), 0.0).precision < 0.002
    (first,), (second,) = processes(np.random.default_rng(8), Luck(0.0), NOISES["quiet"], 1, 500)
    runs = [scripted(first), scripted(second)]
    assert take_samples(runs, RatioRule(pair_sampling(sampling, 6, *differ, 0.0))) == "precision"
    assert [len(run.samples) for run in runs] == [2 * LEAST_BLOCKS] * 2


def test_which_side_is_faster_plays_no_part_in_how_long_a_pair_is_timed() -> None:
    """Exchanged sides are given the same time and precision."""
    a, b = processes(np.random.default_rng(9), Luck(0.02), NOISES["load"], 3, 26)
    there, back = pair_sampling(Sampling(), 5, a, b, 0.0), pair_sampling(Sampling(), 5, b, a, 0.0)
    assert there.precision == pytest.approx(back.precision)


def test_the_rule_brings_no_false_alarms() -> None:
    """Ended as early as it allows: beyond a gate of 3 % in one of 100 cases at most, covered in 95, less chance."""
    random, sampling, found = np.random.default_rng(10), Sampling(min_time_s=0.0, max_time_s=4.0), list[TimeRatio]()
    for _ in range(100):
        a, b, _ = measured(random, Luck(0.01), NOISES["load"], 4, sampling)
        assert sum(map(sum, chain(a, b))) < 4.0 + 8 * 0.1
        found.append(known(process_ratio(a, b)))
    assert sum(ratio.interval is not None and ratio.interval.low > 1.03 for ratio in found) <= 1
    assert sum(ratio.interval is not None and ratio.interval.low <= 1 <= ratio.interval.high for ratio in found) >= 89


@pytest.mark.parametrize(
    ("ends", "ended"),
    [
        (["precision", "precision"], "precision"),
        (["precision", "max_time"], "max_time"),
        (["passes", "min_time"], "passes"),
        (["max_time", "interrupted"], "interrupted"),
        (["failed", "precision"], "failed"),
    ],
)
def test_what_ended_a_pair_early_ended_the_comparison(ends: list[Ended], ended: Ended) -> None:
    """And where nothing did, the precision that was asked for, or the differences between processes."""
    assert processes_ended(ends, process_ratio(*pairs(1.0, 1.0, 1.0)), 0.01) == ended
    wide = processes_ended(ends, process_ratio(*pairs(0.9, 1.0, 1.1)), 0.01)
    assert wide == ("noise" if ended == "precision" else ended)
    assert processes_ended(["precision"], None, 0.01) == "noise"
