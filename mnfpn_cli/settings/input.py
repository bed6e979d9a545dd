"""The input of a network: sizes as people write them, and the rules that an input must keep."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from mnfpn_cli.errors import UsageError

if TYPE_CHECKING:
    from mnfpn_cli.settings.network import NetworkSettings

DEFAULT_SIZE = "600x900"
MAX_SIDE = 65_536
MAX_BATCH = 65_536

DType = Literal["float32", "bfloat16", "float16"]
DEFAULT_DTYPE: DType = "float32"
ITEM_BYTES: dict[DType, int] = {"float32": 4, "bfloat16": 2, "float16": 2}


class Size(NamedTuple):
    """Height and width in pixels or cells; written ``HxW``, height first."""

    height: int
    width: int

    def __str__(self) -> str:
        return f"{self.height}x{self.width}"


def parse_size(text: str) -> Size:
    """Read ``600x900`` (height first) or ``512`` (a square).

    Raises:
        UsageError: where the text is no size, or a side is not 1 to 65,536.
    """
    match = re.fullmatch(r"([0-9]{1,9})(?:[xX×]([0-9]{1,9}))?", text.strip())
    if not match:
        raise UsageError(f"--size: must be HxW in pixels, as 600x900 or 512, got '{text}'")
    height, width = match[1], match[2] or match[1]
    size = Size(int(height), int(width))
    if not all(1 <= side <= MAX_SIDE for side in size):
        raise UsageError(f"--size: each side must be 1 to {MAX_SIDE} pixels, got {size}")
    return size


@dataclass(frozen=True, slots=True)
class NetworkInput:
    """A batch of images, shape (batch, channels, height, width)."""

    batch: int
    channels: int
    size: Size

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(batch, channels, height, width), as torch orders it."""
        return (self.batch, self.channels, self.size.height, self.size.width)


def sized(settings: NetworkSettings, text: str | None) -> tuple[NetworkSettings, Size]:
    """The size that was asked for, or the one that the network is made for, or the default; and settings for it.

    Raises:
        UsageError: where the text is no size.
    """
    size = parse_size(text) if text is not None else settings.made_for or parse_size(DEFAULT_SIZE)
    return settings.at(size), size


def network_input(settings: NetworkSettings, size: Size, batch: int = 1) -> NetworkInput:
    """The input of a network at a size.

    Raises:
        UsageError: where the size leaves the backbone's last map less than one cell, a side being shorter than its
            stride; or where the head is made for another size.
    """
    if settings.made_for not in (None, size):
        raise UsageError(
            f"--size: must be {settings.made_for}, which the head's dense layers are made for (head.size), got {size}"
        )
    stride = settings.backbone_stride
    if min(size) < stride:
        tapped = settings.tap_levels and settings.taps[settings.tap_levels[-1]] == settings.last_stage
        what = settings.tap_levels[-1] if tapped else "the backbone's last map"
        raise UsageError(
            f"--size: each side must be at least {stride} pixels, the stride of {what}, "
            f"or not one whole cell is left of its map, got {size}"
        )
    return NetworkInput(batch, settings.in_channels, size)
