"""The ratio of several processes a side: by hand, against scipy, and on simulated processes."""

import math

import numpy as np
import pytest

from mnfpn_cli.measure.statistics import ONE_PROCESS, STUDENT, TimeRatio, paired_ratio, process_ratio
from tests.measure.luck import NOISES, Luck, Processes, processes

BLOCKS = 12
"""Passes of a side in six blocks, which is the fewest that one process has an interval from."""


def pairs(*ratios: float) -> tuple[Processes, Processes]:
    """Processes of A that take a second a pass, and of B that take these multiples."""
    return [[1.0] * BLOCKS for _ in ratios], [[ratio] * BLOCKS for ratio in ratios]


def known(ratio: TimeRatio | None) -> TimeRatio:
    """The ratio, which is there."""
    assert ratio is not None
    return ratio


def test_each_pair_of_processes_is_one_observation() -> None:
    """Of logs 0.00, 0.02 and 0.04: mean 0.02, standard deviation 0.02, quantile 4.3027 of two degrees of freedom."""
    ratio = known(process_ratio(*pairs(1.0, math.exp(0.02), math.exp(0.04))))
    assert math.log(ratio.value) == pytest.approx(0.02)
    assert ratio.interval is not None
    reach = 4.3027 * 0.02 / math.sqrt(3)
    assert [math.log(end) for end in ratio.interval] == pytest.approx([0.02 - reach, 0.02 + reach])
    assert "3 pairs of processes" in ratio.method


def test_the_quantiles_are_students() -> None:
    """And of more than thirty degrees of freedom the last one, which is too wide rather than too narrow."""
    stats = pytest.importorskip("scipy.stats")
    assert pytest.approx(stats.t.ppf(0.975, range(1, 31)), abs=5e-5) == list(STUDENT)
    many = [1.0 + 0.01 * (k % 2) for k in range(40)]
    interval = known(process_ratio(*pairs(*many))).interval
    exact = stats.t.interval(0.95, 39, np.mean(np.log(many)), stats.sem(np.log(many)))
    assert interval is not None
    assert interval.low < math.exp(exact[0]) < math.exp(exact[1]) < interval.high


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


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("luck", [Luck(0.0), Luck(0.01), Luck(0.05), Luck(0.005, odd=0.1)])
def test_the_interval_covers_the_luck_of_a_process(luck: Luck, noise: str) -> None:
    """In 95 of 100 cases, give or take what chance does to 500; and lies beyond a gate of 3 % in one of 100 at most."""
    random = np.random.default_rng(3)
    found = [known(process_ratio(*processes(random, luck, NOISES[noise], 4, BLOCKS))).interval for _ in range(500)]
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
