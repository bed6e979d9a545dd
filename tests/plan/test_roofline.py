"""Floors: MACs over the peak, or bytes over the bandwidth."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnfpn_cli.plan.roofline import LayerWork, Peaks, roofline

PEAKS = Peaks(macs_per_s=100.0, bytes_per_s=10.0)
NUMBERS = st.integers(1, 10**12)


def layer(macs: int, size: int) -> LayerWork:
    """A layer with this work."""
    return LayerWork("stem", "stem", "conv", macs, size)


@pytest.mark.parametrize(
    ("macs", "size", "seconds", "bound"),
    [(200, 10, 2.0, "compute"), (200, 30, 3.0, "memory"), (0, 10, 1.0, "memory"), (100, 10, 1.0, "compute")],
)
def test_the_slower_of_the_two_sets_the_floor(macs: int, size: int, seconds: float, bound: str) -> None:
    """And is what the layer is bound by; at the ridge, where both take the same time, it computes all the time."""
    (floor,) = roofline([layer(macs, size)], PEAKS).floors
    assert (floor.seconds, floor.bound, floor.macs, floor.bytes) == (seconds, bound, macs, size)


def test_layers_run_one_after_the_other() -> None:
    """So the network's floor is the sum, and the share reached is what a measured time has of it."""
    roof = roofline([layer(200, 10), layer(200, 30)], PEAKS)
    assert roof.seconds == 5.0
    assert roof.reached(10.0) == 0.5


@given(st.lists(st.tuples(NUMBERS, NUMBERS)), NUMBERS, NUMBERS)
def test_no_floor_is_below_all_macs_at_the_peak_or_all_bytes_at_the_bandwidth(
    rows: list[tuple[int, int]], macs_per_s: int, bytes_per_s: int
) -> None:
    """The whole as one layer could only be faster."""
    roof = roofline([layer(*row) for row in rows], Peaks(macs_per_s, bytes_per_s))
    macs, size = sum(row[0] for row in rows), sum(row[1] for row in rows)
    assert roof.seconds >= max(macs / macs_per_s, size / bytes_per_s) * (1 - 1e-9)
