"""The three rounding conventions give the channels of the code that they come from."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnfpn_cli.plan.backbone import scale_channels, scale_last, scale_stage, scale_stem
from mnfpn_cli.settings.backbones import Rounding

CASES: list[tuple[Rounding, int, float, int]] = [
    ("nearest8", 32, 1.0, 32),
    ("nearest8", 24, 0.75, 24),  # 18 → 16 would be below 90 %
    ("nearest8", 16, 0.35, 8),
    ("nearest8", 320, 1.4, 448),
    ("nearest8", 100, 1.0, 104),  # half way: up
    ("nearest8", 3, 0.1, 8),
    ("ceil8", 24, 0.75, 24),
    ("ceil8", 160, 0.75, 120),
    ("ceil8", 33, 1.0, 40),
    ("truncate", 24, 0.75, 18),
    ("truncate", 16, 0.35, 5),
    ("truncate", 3, 0.1, 0),
]


@pytest.mark.parametrize(("rounding", "channels", "width", "expected"), CASES)
def test_each_convention_rounds_as_its_source_does(
    rounding: Rounding, channels: int, width: float, expected: int
) -> None:
    """Values worked out by hand from the definitions."""
    assert scale_channels(channels, width, rounding) == expected


@given(st.integers(1, 4096), st.floats(0.01, 8))
def test_nearest8_is_the_published_function(channels: int, width: float) -> None:
    """The nearest multiple of 8 that is at least 8 and at least 90 % of the exact value."""
    rounded = scale_channels(channels, width, "nearest8")
    exact = channels * width
    assert rounded % 8 == 0
    assert rounded >= max(8, 0.9 * exact)
    assert rounded == 8 or abs(rounded - exact) <= 4 or (rounded - 8 < 0.9 * exact)


@given(st.integers(1, 4096), st.floats(0.01, 8))
def test_ceil8_never_loses_channels(channels: int, width: float) -> None:
    """Up to the next multiple of 8."""
    assert scale_channels(channels, width, "ceil8") == 8 * math.ceil(channels * width / 8)


def test_ceil8_leaves_the_stem_and_stages_of_expansion_1_alone() -> None:
    """The rule of tonylins/pytorch-mobilenet-v2; the other conventions scale both."""
    assert scale_stem(32, 0.5, "ceil8") == 32
    assert scale_stage(16, 1, 0.5, "ceil8") == 16
    assert scale_stage(16, 6, 0.5, "ceil8") == 8
    assert scale_stem(32, 0.5, "nearest8") == scale_stem(32, 0.5, "truncate") == 16
    assert scale_stage(16, 1, 0.5, "truncate") == 8


@pytest.mark.parametrize(
    ("rounding", "channels", "width", "expected"),
    [
        ("nearest8", 1280, 0.5, 1280),
        ("nearest8", 1280, 1.4, 1792),
        ("nearest8", 100, 0.5, 104),  # rounded even where it does not grow, as in torchvision
        ("ceil8", 100, 0.5, 100),
        ("ceil8", 1280, 1.01, 1296),
        ("truncate", 1280, 1.01, 1292),
    ],
)
def test_the_last_convolution_grows_and_never_shrinks(
    rounding: Rounding, channels: int, width: float, expected: int
) -> None:
    """Values worked out by hand from the sources of each convention."""
    assert scale_last(channels, width, rounding) == expected
