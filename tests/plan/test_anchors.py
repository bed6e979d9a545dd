"""The number of anchors a cell, and what settings that do not match the levels say."""

import pytest

from mnfpn_cli.plan.anchors import anchor_sides, anchors_per_cell, box_scales
from mnfpn_cli.settings.detection import (
    AnchorSettings,
    DefaultBoxSettings,
    DetectionSettings,
    FCOSHead,
    RetinaNetHead,
    RPNHead,
    SSDHead,
    SSDLiteHead,
)
from mnfpn_cli.settings.problems import SettingsError

PER_LEVEL = DefaultBoxSettings(ratios=((2,), (2, 3), ()))


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (RetinaNetHead(kind="retinanet"), (9, 9, 9)),
        (RetinaNetHead(kind="retinanet", anchors=AnchorSettings(scales=(1,), ratios=(1, 2))), (2, 2, 2)),
        (FCOSHead(kind="fcos"), (1, 1, 1)),
        (RPNHead(kind="rpn"), (3, 3, 3)),
        (SSDHead(kind="ssd"), (6, 6, 6)),
        (SSDHead(kind="ssd", anchors=PER_LEVEL), (4, 6, 2)),
        (SSDLiteHead(kind="ssdlite"), (6, 6, 6)),
    ],
)
def test_a_place_has_an_anchor_for_each_scale_and_ratio(head: DetectionSettings, expected: tuple[int, ...]) -> None:
    """A default box has two for each ratio, and two squares; a cell of FCOS is its own anchor."""
    assert anchors_per_cell(head, levels=3) == expected


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (
            RetinaNetHead(kind="retinanet", anchors=AnchorSettings(sizes=(32, 64))),
            "head.anchors.sizes: must have one for each level: 3, got 2",
        ),
        (
            SSDHead(kind="ssd", anchors=DefaultBoxSettings(ratios=((2,), (2,)))),
            "head.anchors.ratios: must have one list, or one for each level: 3, got 2",
        ),
        (
            SSDHead(kind="ssd", anchors=DefaultBoxSettings(scales=(0.1, 0.2, 0.3))),
            "head.anchors.scales: must have one for each level (3) and one more: 4, got 3",
        ),
        (
            SSDHead(kind="ssd", anchors=DefaultBoxSettings(steps=(8,))),
            "head.anchors.steps: must have one for each level: 3, got 1",
        ),
    ],
)
def test_anchors_for_another_number_of_levels_are_refused(head: DetectionSettings, message: str) -> None:
    """The message names the key, how many it must have, and how many it has."""
    with pytest.raises(SettingsError) as raised:
        anchors_per_cell(head, levels=3)
    assert str(raised.value) == message


def test_levels_that_share_convolutions_have_as_many_anchors() -> None:
    """One convolution cannot give scores of four anchors on one level, and of six on another."""
    with pytest.raises(SettingsError, match=r"head\.shared: must be false where levels have different numbers"):
        anchors_per_cell(SSDHead(kind="ssd", shared=True, anchors=PER_LEVEL), levels=3)


def test_sides_are_cut_off_to_whole_pixels() -> None:
    """Sides that are not given are four strides of the level; a scale cuts them off, as in torchvision's detectors."""
    assert anchor_sides(AnchorSettings(), (8, 16)) == ((32, 40, 50), (64, 80, 101))
    assert anchor_sides(AnchorSettings(sizes=(10,), scales=(0.99,)), (8,)) == ((9,),)


def test_an_anchor_has_a_side_of_a_pixel_or_more() -> None:
    """An empty one would overlap nothing; the message has the smallest size and the scale."""
    rule = r"head\.anchors\.scales: must give a side of at least one pixel to anchors of size 32, got 0\.03"
    with pytest.raises(SettingsError, match=rule):
        anchor_sides(AnchorSettings(scales=(1, 0.03)), (8, 16))


def test_scales_that_are_not_given_are_in_equal_steps() -> None:
    """The last one is that of the whole image; a single level has the least and the most, as in torchvision."""
    assert box_scales(DefaultBoxSettings(min_scale=0.2, max_scale=0.8), 3) == (0.2, 0.5, 0.8, 1.0)
    assert box_scales(DefaultBoxSettings(), 1) == (0.15, 0.9)
