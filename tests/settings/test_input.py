"""Sizes as users write them, and the sizes that a network can take."""

import pytest

from mnfpn_cli.errors import UsageError
from mnfpn_cli.plan.rules import network_input
from mnfpn_cli.settings.input import MAX_SIDE, Size, parse_size
from mnfpn_cli.settings.network import NetworkSettings


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("600x900", (600, 900)),
        ("512", (512, 512)),
        ("64X96", (64, 96)),
        ("64×96", (64, 96)),
        (" 64x96 ", (64, 96)),
        ("0064x00000000096", (64, 96)),
    ],
)
def test_a_size_is_height_by_width_or_one_side(text: str, size: tuple[int, int]) -> None:
    """Height first."""
    assert parse_size(text) == size
    assert parse_size(str(parse_size(text))) == size


@pytest.mark.parametrize("text", ["", "x", "600x", "x900", "600x900x3", "-600x900", "6e2", "600.0", "600 900", "٣x٣"])
def test_text_that_is_not_a_size_is_refused(text: str) -> None:
    """With the value as it was written."""
    with pytest.raises(UsageError, match=r"^size: must be HxW in pixels"):
        parse_size(text)


@pytest.mark.parametrize(
    "text", ["0", "0x900", "600x0", f"{MAX_SIDE + 1}x600", "99999999999", "9" * 9999, "8x" + "9" * 9999]
)
def test_a_side_is_from_1_to_the_maximum(text: str) -> None:
    """Zero pixels are no image; of a number of many digits, the limit is named too."""
    with pytest.raises(UsageError, match=r"^size: each side must be 1 to 65536 pixels, got") as caught:
        parse_size(text)
    assert len(str(caught.value)) < 100


def test_an_image_smaller_than_a_cell_of_the_coarsest_level_is_refused() -> None:
    """p5 has stride 32: 31 pixels hold no whole cell of it."""
    assert network_input(NetworkSettings(), Size(32, 32)).shape == (1, 3, 32, 32)
    with pytest.raises(UsageError, match="at least 32 pixels, the stride of p5, got 600x31"):
        network_input(NetworkSettings(), Size(600, 31))
