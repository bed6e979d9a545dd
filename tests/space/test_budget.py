"""Counts, bytes and durations are parsed from text."""

import pytest

from mnfpn_cli.errors import UsageError
from mnfpn_cli.space.planned import parse_bytes, parse_count, parse_duration


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("5G", 5_000_000_000),
        ("4M", 4_000_000),
        ("1.5k", 1500),
        ("400000", 400_000),
        ("5 G", 5_000_000_000),
        ("1e9", 10**9),
        ("2.5e6", 2_500_000),
        ("1E+3", 1000),
        ("1e-3G", 10**6),
        ("5.G", 5_000_000_000),
    ],
)
def test_counts_have_decimal_prefixes(text: str, number: int) -> None:
    """Powers of 1000; scientific notation is accepted."""
    assert parse_count("`max_macs`", text) == number


@pytest.mark.parametrize(
    ("text", "number"),
    [("200MiB", 209_715_200), ("1.5GB", 1_500_000_000), ("64k", 64_000), ("7", 7), ("1e3MiB", 1000 * 2**20)],
)
def test_bytes_have_decimal_or_binary_prefixes(text: str, number: int) -> None:
    """MB are a million, MiB are 2^20."""
    assert parse_bytes("`max_memory`", text) == number


@pytest.mark.parametrize(
    ("text", "seconds"), [("30ms", 0.03), ("0.5s", 0.5), ("500us", 0.0005), ("500µs", 0.0005), ("1e-3s", 0.001)]
)
def test_durations_have_a_unit(text: str, seconds: float) -> None:
    """Seconds, milliseconds or microseconds."""
    assert parse_duration("`max_latency`", text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", ["", "G", "-5G", "0", "5g", "1e999", "1e", "e9", "1e-9", "0.4", "nan", "5 Gi B", "9" * 40]
)
def test_an_invalid_quantity_is_refused(text: str) -> None:
    """With the option, the rule and the value."""
    with pytest.raises(UsageError, match=r"^max_macs: must be a number of 1 or more, as 5G, 5e9 or 4000000, got"):
        parse_count("`max_macs`", text)


def test_a_latency_without_a_unit_is_refused() -> None:
    """30 could be milliseconds or seconds."""
    with pytest.raises(UsageError, match=r"must be a duration above 0 in s, ms, us or µs, as 30ms or 0\.5s, got '30'"):
        parse_duration("`max_latency`", "30")
