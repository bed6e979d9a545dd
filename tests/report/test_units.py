"""Numbers as people read them."""

from typing import Literal

import pytest

from mnfpn_cli.documents.records import ScoreRecord
from mnfpn_cli.report.units import (
    accuracies,
    accuracy,
    count,
    per_cent,
    scaled,
    score,
    seconds,
    seconds_range,
    sides,
    size_in_bytes,
)


def test_counts_have_separators() -> None:
    """All digits, none rounded."""
    assert count(4_293_888) == "4,293,888"


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (29_949_721_552, "29.95 G"),
        (999, "999"),
        (999_949, "999.9 k"),
        (999_960, "1.000 M"),
        (1_000, "1.000 k"),
        (1.19709, "1.197"),
        (61.704, "61.70"),
        (0, "0"),
        (3 * 10**15, "3.000 P"),
    ],
)
def test_scaled_numbers_have_four_digits_and_a_prefix(number: float, text: str) -> None:
    """Never 1000 of a unit where there is a larger one."""
    assert scaled(number) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.7372, "737.2 ms"),
        (1.5, "1.500 s"),
        (0.99996, "1.000 s"),
        (12.5e-6, "12.50 µs"),
        (3e-9, "3.000 ns"),
        (0.0, "0 s"),
        (4000.0, "4,000 s"),
    ],
)
def test_durations_carry_their_unit(value: float, text: str) -> None:
    """From nanoseconds to seconds."""
    assert seconds(value) == text


@pytest.mark.parametrize(
    ("number", "text"), [(34_560_000, "32.96 MiB"), (512, "512 B"), (1024, "1.000 KiB"), (2**40, "1.000 TiB")]
)
def test_bytes_are_in_binary_units_and_say_so(number: int, text: str) -> None:
    """MiB, not MB."""
    assert size_in_bytes(number) == text


def test_a_part_of_zero_is_left_out() -> None:
    """An empty cell reads better than 0.0."""
    assert (per_cent(0, 10), per_cent(1, 8), per_cent(8, 8), per_cent(0, 0)) == ("", "12.5", "100", "")


def test_sides_show_what_is_not_whole() -> None:
    """A half stays."""
    assert sides(75.0, 112.5) == "75×112.5"


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (0.7331, 0.7419, "733.1–741.9 ms"),
        (0.06289, 1.586, "62.89 ms – 1.586 s"),
        (0.5, 1.2, "0.500–1.200 s"),
    ],
)
def test_no_end_of_a_range_loses_its_digits(low: float, high: float, text: str) -> None:
    """The ends share a unit unless they are far apart."""
    assert seconds_range(low, high) == text


def scored(metric: str, value: float, error: float | None = None) -> ScoreRecord:
    """A score; an estimate where it has an error."""
    kind: Literal["published", "estimated"] = "estimated" if error else "published"
    return ScoreRecord(metric=metric, value=value, error=error, kind=kind, source="a test", date=None)


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (71.8, None, "71.8"),
        (66.4709, 0.7219, "66.5 ± 0.7"),
        (0.66471, 0.0072, "0.665 ± 0.007"),
        (64.2, 12.4, "64 ± 12"),
    ],
)
def test_an_estimate_has_the_digits_of_its_error(value: float, error: float | None, text: str) -> None:
    """More would be noise."""
    assert score(scored("map", value, error)) == text


def test_accuracies_are_named_as_people_do() -> None:
    """The name once, before several sizes."""
    assert accuracy(scored("coco-map", 22.2)) == "COCO mAP 22.2 %"
    assert accuracy(scored("imagenet-top1", 66.4709, 0.7219)) == "ImageNet top-1 66.5 ± 0.7 %"
    some = {224: scored("imagenet-top1", 71.8), 192: scored("imagenet-top1", 70.7)}
    assert accuracies(some) == "ImageNet top-1 71.8 % at 224, 70.7 % at 192"
