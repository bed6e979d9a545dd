"""A network has a published score where it is the one that was published, and only there."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnfpn_cli.accuracy.accuracy import accuracy_of
from mnfpn_cli.accuracy.presets import presets_document
from mnfpn_cli.accuracy.published import IMAGENET, imagenet, tables
from mnfpn_cli.plan.cost import network_cost
from mnfpn_cli.plan.network import plan_network
from mnfpn_cli.plan.rules import resolve
from mnfpn_cli.settings.files import preset_names, read_preset
from mnfpn_cli.settings.input import Size
from mnfpn_cli.settings.network import NetworkSettings
from mnfpn_cli.settings.sources import Source
from tests.accuracy.classifiers import MACS, SIDES, classifier
from tests.strategies import settings_and_size


def value(settings: NetworkSettings, side: int) -> float | None:
    """The published score at a size; None where there is none, or an estimate."""
    found = accuracy_of(settings, Size(side, side))
    return found.value if found and found.kind == "published" else None


def test_the_table_has_the_22_networks_of_google() -> None:
    """Each width and side once."""
    points = [(point.width_mult, point.side) for point in imagenet().points]
    assert points == [(width, side) for width, some in MACS.items() for side in SIDES[: len(some)]]
    assert len(points) == len(set(points)) == 22


def test_more_of_the_same_network_is_better() -> None:
    """A digit that was typed wrongly would likely break the order."""
    scores = {(point.width_mult, point.side): point.score for point in imagenet().points}
    for (width, side), score in scores.items():
        worse = [other for (w, s), other in scores.items() if w <= width and s <= side and (w, s) != (width, side)]
        assert all(other < score for other in worse), (width, side)


def test_each_published_network_has_its_score() -> None:
    """With its source, and no error."""
    for table in tables():
        for point in table.points:
            found = accuracy_of(table.network(point.width_mult), Size(point.side, point.side))
            assert found
            assert (found.metric, found.value, found.kind) == (table.metric, point.score, "published")
            assert (found.source, found.error, found.date) == (table.source, None, None)


def test_presets_have_the_scores_of_the_networks_that_they_are() -> None:
    """No other preset has any."""
    found = {
        one.name: [
            (score.size.height, score.size.width, score.score.metric, score.score.value) for score in one.published
        ]
        for one in presets_document().presets
    }
    assert list(found) == preset_names()
    points = zip(SIDES, (71.8, 70.7, 68.8, 65.3, 60.3), strict=True)
    classifiers = [(side, side, IMAGENET, score) for side, score in points]
    assert {name: some for name, some in found.items() if some} == {
        "mobilenetv2-classifier": classifiers,
        "mobilenetv2-keras": classifiers,
        "mobilenetv2-fpnlite": [(320, 320, "coco-map", 22.2), (640, 640, "coco-map", 28.2)],
    }


SAME: list[dict[str, Any]] = [
    {"padding": "same"},
    {"norm_eps": 0.001},
    {"rounding": "ceil8"},  # no channels change at width 1.0
    {"width_mult": 0.999},  # nor here
    {"head": {"kind": "classifier", "classes": 1001}},
    {"head": {"kind": "classifier", "dropout": 0.5}},
    {"head": {"kind": "classifier", "dense": "conv"}},
]

OTHER: list[dict[str, Any]] = [
    {"head": {"kind": "classifier", "classes": 1002}},
    {"head": {"kind": "classifier", "classes": 10}},
    {"head": {"kind": "classifier", "last_channels": 1024}},
    {"head": {"kind": "classifier", "last_channels": None}},
    {"head": {"kind": "classifier", "bare_last": True}},
    {"head": {"kind": "level_classifiers", "classes": 1000, "pool": "average"}},
    {"head": {"kind": "none"}},
    {"in_channels": 1},
    {"stem_channels": 16},
    {"norm_eps": 0.5},
    {"width_mult": 1.01},
    {"backbone": {"kind": "mobilenet_v2", "expand_at_1": True}},
    {"backbone": {"kind": "mobilenet_v2", "conv_bias": True}},
    {"backbone": {"kind": "mobilenet_v2", "bare_stem": True}},
    {"backbone": {"kind": "resnet"}},
    {"stages": [[1, 16, 1, 1], [6, 24, 2, 2], [6, 32, 3, 2], [6, 64, 4, 2], [6, 96, 3, 1], [6, 160, 3, 2]]},
]


@pytest.mark.parametrize("changes", SAME, ids=str)
def test_what_does_not_matter_does_not_change_the_score(changes: dict[str, Any]) -> None:
    """Padding, epsilon, dropout, how a layer is written, the background's class; a width that changes no layer."""
    assert value(classifier(**{"width_mult": 1.0, **changes}), 224) == 71.8


@pytest.mark.parametrize("changes", OTHER, ids=str)
def test_another_network_has_no_published_score(changes: dict[str, Any]) -> None:
    """Not even one that differs in a single layer."""
    assert value(classifier(**{"width_mult": 1.0, **changes}), 224) is None


@pytest.mark.parametrize("rounding", ["ceil8", "truncate"])
def test_another_rounding_is_another_network_where_channels_change(rounding: str) -> None:
    """At width 0.35 almost all do."""
    assert value(classifier(0.35), 224) == 60.3
    assert accuracy_of(classifier(0.35, rounding=rounding), Size(224, 224)) is None


DETECTORS: list[dict[str, Any]] = [
    {},
    {"width_mult": 0.75},
    {"padding": "torch"},
    {"head": {"classes": 20}},
    {"pyramid": {"channels": 64}},
    {"postprocess": {"nms_threshold": 0.5}},
]


@pytest.mark.parametrize("changes", DETECTORS, ids=str)
def test_the_score_of_a_detector_is_of_all_of_its_settings(changes: dict[str, Any]) -> None:
    """The boxes that are made of its outputs are what was scored."""
    settings = resolve([read_preset("mobilenetv2-fpnlite"), Source("a test", changes)])
    assert value(settings, 320) == (None if changes else 22.2)
    assert value(settings, 512) is None


@pytest.mark.parametrize("size", [Size(224, 225), Size(192, 224), Size(600, 900)], ids=str)
def test_images_that_are_not_square_have_no_score(size: Size) -> None:
    """Neither published nor estimated."""
    assert accuracy_of(classifier(), size) is None


def macs(settings: NetworkSettings, side: int) -> int:
    """The MACs of a network by its plan."""
    return network_cost(plan_network(settings), Size(side, side)).total.macs


WIDTHS = st.one_of(st.floats(0.3, 1.5), st.sampled_from([*imagenet().widths, 0.351, 0.999, 1.3001]))


@given(
    WIDTHS, st.sampled_from(["nearest8", "ceil8", "truncate"]), st.one_of(st.integers(64, 256), st.sampled_from(SIDES))
)
def test_a_score_is_of_a_network_that_computes_as_much(width: float, rounding: str, side: int) -> None:
    """As the published one, or as that of Google's rounding at its width; without a score it is none of these."""
    settings = classifier(width, rounding=rounding)
    found, own = accuracy_of(settings, Size(side, side)), macs(settings, side)
    if found and found.kind == "published":
        points = [point for point in imagenet().points if (point.side, point.score) == (side, found.value)]
        assert own in [macs(classifier(point.width_mult), side) for point in points]
    elif found:
        assert own == macs(classifier(width), side)
        assert 0.35 <= width <= 1.4
        assert 96 <= side <= 224
    else:
        assert not (0.35 <= width <= 1.4 and 96 <= side <= 224 and own == macs(classifier(width), side))


@given(settings_and_size())
def test_any_other_network_has_no_score(drawn: tuple[NetworkSettings, Size]) -> None:
    """These have 7 classes at most."""
    assert accuracy_of(*drawn) is None
