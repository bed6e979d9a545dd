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


HEAD = {"kind": "ssd", "classes": 3, "anchors": {"ratios": [[2.0], [2.0, 3.0]]}}
DETECTOR = NetworkSettings.model_validate({"stages": SETTINGS.stages, "pyramid": {"channels": 8}, "head": HEAD})


@pytest.fixture
def detector() -> NetworkShapes:
    """What the plan says of a detector with other anchors on each level."""
    return network_shapes(plan_network(DETECTOR), network_input(DETECTOR, Size(41, 71), batch=2))


def test_anchors_and_outputs_of_a_detector_are_confirmed(detector: NetworkShapes) -> None:
    """Level by level: 4 anchors a place of p2 with 11×18 cells, 6 of p3 with 6×9."""
    assert detector.head
    assert detector.head.anchors == (4 * 11 * 18, 6 * 6 * 9)
    verify_shapes(FromSettings(DETECTOR), detector)


def test_anchors_planned_on_the_wrong_level_are_a_difference(detector: NetworkShapes) -> None:
    """Also where their sum is right, and so is each output."""
    assert detector.head
    wrong = replace(detector.head, anchors=detector.head.anchors[::-1])
    with pytest.raises(CheckError, match="anchors on p2 planned 324, real 792; anchors on p3 planned 792, real 324"):
        verify_shapes(FromSettings(DETECTOR), replace(detector, head=wrong))


def test_outputs_of_a_head_in_another_order_are_a_difference(detector: NetworkShapes) -> None:
    """Their names are held against those of the real network."""
    assert detector.head
    wrong = replace(detector.head, outputs=detector.head.outputs[::-1])
    with pytest.raises(CheckError, match=r"outputs planned .'bbox_regression', 'cls_logits'., real .'cls_logits', "):
        verify_shapes(FromSettings(DETECTOR), replace(detector, head=wrong))
