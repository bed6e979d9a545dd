"""Numbers as people read them."""

import pytest

from mnfpn_cli.report.units import count, per_cent, scaled, seconds, seconds_range, sides, size_in_bytes


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
