"""The plan is verified against the real network, and the check can fail."""

from dataclasses import replace

import pytest

from mnfpn_cli.errors import CheckError
from mnfpn_cli.external.origin import FromSettings
from mnfpn_cli.measure.verify import verify_shapes
from mnfpn_cli.plan.network import plan_network
from mnfpn_cli.plan.rules import network_input
from mnfpn_cli.plan.shapes import MapShape, NetworkShapes, network_shapes
from mnfpn_cli.settings.input import Size
from mnfpn_cli.settings.network import NetworkSettings

SETTINGS = NetworkSettings.model_validate({"stages": [(2, 8, 2, 2), (2, 16, 1, 2)], "pyramid": {"channels": 8}})


@pytest.fixture
def shapes() -> NetworkShapes:
    """What the plan says of an odd size and two images."""
    return network_shapes(plan_network(SETTINGS), network_input(SETTINGS, Size(41, 71), batch=2))


def test_the_plan_is_confirmed(shapes: NetworkShapes) -> None:
    """Taps, maps and parameters are those of the real network."""
    verify_shapes(FromSettings(SETTINGS), shapes)


def test_each_difference_is_named(shapes: NetworkShapes) -> None:
    """A plan that is wrong about one map and one tap."""
    p2, p3 = shapes.levels
    wrong = (replace(p2, output=MapShape(8, Size(12, 18))), replace(p3, tap=MapShape(9, p3.tap.size)))
    with pytest.raises(CheckError) as caught:
        verify_shapes(FromSettings(SETTINGS), replace(shapes, levels=wrong))
    assert caught.value.exit_code == 3
    assert str(caught.value) == (
        "verify: at 41x71 the real network differs: p2 output planned (2, 8, 12, 18), real (2, 8, 11, 18); "
        "p3 tap planned (2, 9, 6, 9), real (2, 16, 6, 9)"
    )


def test_a_missing_level_is_a_difference(shapes: NetworkShapes) -> None:
    """Fewer levels planned than there are."""
    with pytest.raises(CheckError, match="levels planned 1, real 2"):
        verify_shapes(FromSettings(SETTINGS), replace(shapes, levels=shapes.levels[:1]))
