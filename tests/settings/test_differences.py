"""Differences between two settings, and from the defaults."""

from typing import Any

import pytest

from mnfpn_cli.settings.network import NetworkSettings
from mnfpn_cli.settings.overrides import ABSENT, differences, flatten, non_defaults


def values(given: dict[str, Any]) -> Any:
    """Return settings in JSON."""
    return NetworkSettings.model_validate(given).model_dump(mode="json")


STAGES = [[1, 8, 1, 2], [2, 16, 1, 2]]


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ({}, {}, []),
        ({"width_mult": 0.5}, {}, [("width_mult", 0.5, 1.0)]),
        ({"pyramid": {"smooth": "none"}}, {}, [("pyramid.smooth", "none", "conv")]),
        (
            {"head": {"kind": "level_classifiers", "classes": 2, "size": "64x64"}},
            {"head": {"kind": "classifier", "classes": 2, "dropout": 0.5}, "pyramid": values({})["pyramid"]},
            [
                ("head.kind", "level_classifiers", "classifier"),
                ("head.pool", "none", ABSENT),
                ("head.size", "64x64", ABSENT),
                ("head.last_channels", ABSENT, 1280),
                ("head.bare_last", ABSENT, False),
                ("head.dense", ABSENT, "linear"),
            ],
        ),
    ],
)
def test_a_difference_has_both_values(one: dict[str, Any], other: dict[str, Any], expected: list[Any]) -> None:
    """A key that only one of them has is `ABSENT` in the other, which is not null."""
    assert [(found.key, found.one, found.other) for found in differences(values(one), values(other))] == expected


def test_a_part_against_null_is_one_difference() -> None:
    """And not one for each key of the part."""
    (found,) = differences(values({"pyramid": None}), values({}))
    assert (found.key, found.one) == ("pyramid", None)


def test_lists_are_compared_as_a_whole_or_row_by_row() -> None:
    """A row that only one of them has is `ABSENT` in the other."""
    one, other = values({"stages": STAGES}), values({"stages": [*STAGES[:1], [2, 24, 1, 2], STAGES[0]]})
    (whole,) = differences(one, other)
    assert (whole.key, whole.one) == ("stages", one["stages"])
    found = list(differences(one, other, rows=True))
    assert [difference.key for difference in found] == ["stages[1].channels", "stages[2]"]
    assert (found[0].one, found[0].other, found[1].one) == (16, 24, ABSENT)


def test_non_defaults_are_the_values_that_differ_from_the_defaults() -> None:
    """Of another kind also the keys that only that kind has; `flatten` returns every key."""
    settings = NetworkSettings.model_validate({"backbone": {"kind": "resnet"}, "pyramid": {"channels": 64}})
    assert non_defaults(NetworkSettings()) == {}
    assert non_defaults(settings) == {
        "backbone.kind": "resnet",
        "backbone.blocks": [2, 2, 2, 2],
        "stem_channels": 64,
        "stages": None,
        "pyramid.channels": 64,
    }
    every = flatten(settings)
    assert all(every[key] == value for key, value in non_defaults(settings).items())
