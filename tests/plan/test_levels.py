"""The levels of a pyramid, and the stages that they are built on."""

from typing import Any

import pytest

from mnfpn_cli.plan.levels import plan_levels
from mnfpn_cli.plan.network import plan_network
from mnfpn_cli.settings.network import NetworkSettings


def test_a_level_is_built_on_the_last_stage_of_its_stride() -> None:
    """In MobileNetV2, p4 on the stage of 96 channels, p5 on that of 320 channels."""
    assert plan_levels(NetworkSettings()).taps == {"p2": 1, "p3": 2, "p4": 4, "p5": 6}
    assert plan_levels(NetworkSettings()).stride == 32


@pytest.mark.parametrize("levels", [2, 6])
def test_there_are_as_many_levels_as_stages_of_stride_2(levels: int) -> None:
    """From p2 on."""
    settings = NetworkSettings.model_validate({"stages": [(1, 16, 1, 1), *[(2, 8, 1, 2)] * levels]})
    assert plan_levels(settings).names == tuple(f"p{k}" for k in range(2, levels + 2))


@pytest.mark.parametrize(
    ("written", "levels"),
    [
        ("all", ("p2", "p3", "p4", "p5")),
        ("p3-p5", ("p3", "p4", "p5")),
        ("p3–p5", ("p3", "p4", "p5")),
        ("p5,p3", ("p3", "p5")),
        (["p4"], ("p4",)),
    ],
)
def test_levels_can_be_all_a_range_or_a_list(written: object, levels: tuple[str, ...]) -> None:
    """They come finest first, whatever the order in the settings."""
    settings = NetworkSettings.model_validate({"pyramid": {"levels": written}})
    assert plan_levels(settings).names == levels


EXTRA: list[tuple[dict[str, Any], tuple[str, ...]]] = [
    ({"extra": "maxpool"}, ("p2", "p3", "p4", "p5", "p6")),
    ({"extra": "conv"}, ("p2", "p3", "p4", "p5", "p6", "p7")),
    ({"extra": "conv", "levels": "p4-p5"}, ("p4", "p5")),
    ({"extra": "conv", "levels": ["p7", "p6", "p5"]}, ("p5", "p6", "p7")),
    ({"extra": "separable", "levels": "p5-p16"}, tuple(f"p{k}" for k in range(5, 17))),
    ({"top": "pool"}, ("p2", "p3", "p4", "p5", "top")),
    ({"top": "pool", "levels": "p3"}, ("p3", "top")),
]


@pytest.mark.parametrize(("pyramid", "levels"), EXTRA)
def test_extra_levels_follow_the_taps(pyramid: dict[str, Any], levels: tuple[str, ...]) -> None:
    """Named like the others, finest first; the pooled top is always there."""
    settings = NetworkSettings.model_validate({"pyramid": pyramid})
    assert plan_levels(settings).names == levels
    assert plan_network(settings).outputs == levels


def test_taps_are_the_last_stage_of_each_resolution_or_the_first() -> None:
    """Never the stage that a pooled top is built on."""
    last, first = (NetworkSettings.model_validate({"pyramid": {"taps": taps}}) for taps in ("last", "first"))
    assert plan_levels(last).taps == {"p2": 1, "p3": 2, "p4": 4, "p5": 6}
    assert plan_levels(first).taps == {"p2": 1, "p3": 2, "p4": 3, "p5": 5}
    stages = [[1, 8, 1, 2], [1, 8, 1, 2], [1, 8, 1, 2]]
    pooled = NetworkSettings.model_validate({"stages": stages, "pyramid": {"top": "pool", "taps": "first"}})
    assert plan_levels(pooled).taps == {"p2": 0, "p3": 1}
