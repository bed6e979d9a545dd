"""The floor of a layer is its MACs over the peak, or its bytes over the bandwidth."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnfpn_cli.plan.network import plan_network
from mnfpn_cli.plan.roofline import LayerWork, Peaks, network_work, roofline
from mnfpn_cli.plan.rules import network_input
from mnfpn_cli.settings.input import Size
from mnfpn_cli.settings.network import NetworkSettings

PEAKS = Peaks(macs_per_s=100.0, bytes_per_s=10.0)
NUMBERS = st.integers(1, 10**12)


def layer(macs: int, size: int) -> LayerWork:
    """A layer with this work."""
    return LayerWork("stem", "stem", "conv", macs, size)


@pytest.mark.parametrize(
    ("macs", "size", "seconds", "bound"),
    [(200, 10, 2.0, "compute"), (200, 30, 3.0, "memory"), (0, 10, 1.0, "memory"), (100, 10, 1.0, "compute")],
)
def test_the_larger_of_the_two_is_the_floor(macs: int, size: int, seconds: float, bound: str) -> None:
    """It also gives the bound; where both are equal, the layer is bound by compute."""
    (floor,) = roofline([layer(macs, size)], PEAKS).floors
    assert (floor.seconds, floor.bound, floor.macs, floor.bytes) == (seconds, bound, macs, size)


def test_the_floor_of_a_network_is_the_sum_of_its_layers() -> None:
    """The share reached is the floor over the measured time."""
    roof = roofline([layer(200, 10), layer(200, 30)], PEAKS)
    assert roof.seconds == 5.0
    assert roof.reached(10.0) == 0.5


@given(st.lists(st.tuples(NUMBERS, NUMBERS)), NUMBERS, NUMBERS)
def test_no_floor_is_below_all_macs_at_the_peak_or_all_bytes_at_the_bandwidth(
    works: list[tuple[int, int]], macs_per_s: int, bytes_per_s: int
) -> None:
    """All layers as one layer could only be faster."""
    roof = roofline([layer(*work) for work in works], Peaks(macs_per_s, bytes_per_s))
    macs, size = sum(work[0] for work in works), sum(work[1] for work in works)
    assert roof.seconds >= max(macs / macs_per_s, size / bytes_per_s) * (1 - 1e-9)


def test_a_layer_has_a_call_for_each_operation() -> None:
    """A convolution with a norm and an activation has three, one with a norm two, an addition one."""
    settings, size = NetworkSettings(), Size(64, 64)
    works = {work.path: work for work in network_work(plan_network(settings), network_input(settings, size), 4)}
    assert [works[f"stages.1.1.{name}"].calls for name in ("expand", "depthwise", "project")] == [3, 3, 2]
    assert works["stages.1.1"].calls == works["pyramid.smooth.p2"].calls == 1
    assert works["pyramid"].calls == 6


def test_separate_operations_read_and_write_a_map_once_more() -> None:
    """A norm and an activation each, a padding its input; additions and resizes are counted already."""
    settings, size = NetworkSettings(), Size(64, 64)
    works = {work.path: work for work in network_work(plan_network(settings), network_input(settings, size, 3), 4)}
    expand, project = works["stages.1.1.expand"], works["stages.1.1.project"]
    assert (expand.channels, project.channels) == (144, 24)
    assert expand.repeated == 4 * 3 * 2 * 2 * 144 * 16 * 16
    assert project.repeated == 4 * 3 * 2 * 24 * 16 * 16
    assert works["pyramid"].repeated == works["stages.1.1"].repeated == works["pyramid.smooth.p2"].repeated == 0
    padded = NetworkSettings.model_validate({"padding": "same"})
    works = {work.path: work for work in network_work(plan_network(padded), network_input(padded, size, 3), 4)}
    assert works["stages.1.0.depthwise"].repeated == 4 * 3 * 2 * (2 * 96 * 16 * 16 + 96 * 32 * 32)


@pytest.mark.parametrize(("channels", "unfilled"), [(0, 0.0), (16, 0.0), (24, 1.0), (8, 3.0), (1, 45.0)])
def test_vectors_that_channels_do_not_fill_take_as_long_as_full_ones(channels: int, unfilled: float) -> None:
    """24 channels take as long as 32 where a vector holds 16; where memory bounds, what is beyond that."""
    work = LayerWork("stem", "stem", "conv", 300, 1, channels=channels, repeated=50)
    (floor,) = roofline([work], Peaks(100, 100), vector=16).floors
    assert (floor.seconds, floor.repeated_s) == (3.0, 0.5)
    assert floor.unfilled_s == pytest.approx(unfilled)
    (floor,) = roofline([replace(work, bytes=350)], Peaks(100, 100), vector=16).floors
    assert floor.unfilled_s == pytest.approx(max(0.0, unfilled - 0.5))
