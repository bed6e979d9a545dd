"""The shapes of the levels, computed from the plan."""

from hypothesis import given
from hypothesis import strategies as st

from mnfpn_cli.documents.shapes import PlannedMaps
from mnfpn_cli.plan.layers import halved, same_padding
from mnfpn_cli.plan.network import plan_network
from mnfpn_cli.plan.rules import network_input
from mnfpn_cli.plan.shapes import network_shapes, shapes_document
from mnfpn_cli.settings.input import Size
from mnfpn_cli.settings.network import NetworkSettings

SETTINGS = NetworkSettings()


def test_sides_of_maps_are_rounded_up() -> None:
    """At 600×900 the width of p2 is 225, and that of p3 is 113."""
    shapes = network_shapes(plan_network(SETTINGS), network_input(SETTINGS, Size(600, 900)))
    assert [(level.name, level.output.channels, tuple(level.output.size)) for level in shapes.levels] == [
        ("p2", 256, (150, 225)),
        ("p3", 256, (75, 113)),
        ("p4", 256, (38, 57)),
        ("p5", 256, (19, 29)),
    ]
    assert [level.tap.channels for level in shapes.levels] == [24, 32, 96, 320]
    assert [level.resized_from for level in shapes.levels] == [(75, 113), (38, 57), (19, 29), None]


def test_a_level_is_exact_where_the_input_is_a_multiple_of_its_stride() -> None:
    """At 600×900 p2 is exact; the width of p3 is 113 instead of 112.5."""
    shapes = network_shapes(plan_network(SETTINGS), network_input(SETTINGS, Size(600, 900)))
    assert [level.is_exact for level in shapes.levels] == [True, False, False, False]
    assert (shapes.levels[1].exact_height, shapes.levels[1].exact_width) == (75.0, 112.5)


def test_a_level_is_resized_from_the_next_chosen_level() -> None:
    """With p3 and p5 chosen, p3 is resized from p5."""
    settings = NetworkSettings.model_validate({"pyramid": {"levels": "p3,p5"}})
    p3, p5 = network_shapes(plan_network(settings), network_input(settings, Size(600, 900))).levels
    assert (p3.resized_from, p5.resized_from) == (p5.output.size, None)


def test_an_extra_level_is_half_the_level_before_rounded_up() -> None:
    """After p5 with 19×29: 10×15 and 5×8; the first is built on the level or its tap, and none is resized."""
    for source, path, channels in (("map", "p5", 256), ("tap", "stages.6", 320)):
        settings = NetworkSettings.model_validate({"pyramid": {"extra": "conv", "extra_from": source}})
        *_, p5, p6, p7 = network_shapes(plan_network(settings), network_input(settings, Size(600, 900))).levels
        assert [level.output.size for level in (p5, p6, p7)] == [(19, 29), (10, 15), (5, 8)]
        assert [level.stride for level in (p5, p6, p7)] == [32, 64, 128]
        assert (p6.tap_path, p6.tap.channels, p7.tap_path, p7.tap.channels) == (path, channels, "p6", 256)
        assert (p5.resized_from, p6.resized_from) == (None, None)


def test_a_pooled_top_is_one_cell_without_a_stride() -> None:
    """Whatever the input; the coarsest tap is resized from it."""
    settings = NetworkSettings.model_validate({"pyramid": {"top": "pool"}})
    *_, p5, top = network_shapes(plan_network(settings), network_input(settings, Size(600, 900))).levels
    assert (top.name, top.stride, top.output.size, top.is_exact, top.tap.size) == ("top", None, (1, 1), True, (19, 29))
    assert p5.resized_from == (1, 1)


def test_a_detector_has_anchors_on_each_level() -> None:
    """SSD's with one ratio on p2 and two on each other level: 4 and 6 a place, at 64×64; each has 5 scores, 4 sides."""
    ratios = [[2.0], *[[2.0, 3.0]] * 3]
    head = {"kind": "ssd", "classes": 5, "anchors": {"ratios": ratios}}
    settings = NetworkSettings.model_validate({"head": head})
    shapes = network_shapes(plan_network(settings), network_input(settings, Size(64, 64), batch=2))
    record = shapes_document(settings, [shapes], "float32", verified=False).results[0]
    assert isinstance(record, PlannedMaps)
    assert record.head
    assert [one.anchors for one in record.head.maps] == [4 * 16 * 16, 6 * 8 * 8, 6 * 4 * 4, 6 * 2 * 2]
    assert [(one.name, one.shape) for one in record.head.outputs] == [
        ("cls_logits", (2, 1528, 5)),
        ("bbox_regression", (2, 1528, 4)),
    ]
    assert (record.head.kind, record.head.classes, record.head.bytes) == ("ssd", 5, 4 * 2 * 1528 * 9)


def test_what_a_head_does_not_have_is_null() -> None:
    """A region proposal network has no classes, a classifier no anchors."""
    for kind, classes, anchored in (("rpn", None, True), ("classifier", 1000, False)):
        settings = NetworkSettings.model_validate({"head": {"kind": kind}, **({} if anchored else {"pyramid": None})})
        shapes = network_shapes(plan_network(settings), network_input(settings, Size(64, 64)))
        record = shapes_document(settings, [shapes], "float32", verified=False).results[0]
        assert isinstance(record, PlannedMaps)
        assert record.head
        assert record.head.classes == classes
        assert all((one.anchors is not None) == anchored for one in record.head.maps)


@given(st.sampled_from([1, 3, 5, 7]), st.integers(1, 2000))
def test_padding_same_is_what_the_last_window_lacks_its_larger_part_behind(kernel: int, side: int) -> None:
    """As TensorFlow defines it: the output is half of the side, rounded up, and all of its windows are whole."""
    windows = halved(Size(side, side)).height
    lacking = max((windows - 1) * 2 + kernel - side, 0)
    assert same_padding(kernel, side) == (lacking // 2, lacking - lacking // 2)
