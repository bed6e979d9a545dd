"""The input of a network: sizes, dtypes, and the shape of a batch of images."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, NamedTuple

from mnfpn_cli.errors import Problem, UsageError

DEFAULT_SIZE = "600x900"
DEFAULT_CHANNELS = 3
"""The channels of the images of an external network."""
MAX_SIDE = 65_536
MAX_BATCH = 65_536
MAX_SHOWN = 40

DType = Literal["float32", "bfloat16", "float16", "int8"]
DEFAULT_DTYPE: DType = "float32"
ITEM_BYTES: dict[DType, int] = {"float32": 4, "bfloat16": 2, "float16": 2, "int8": 1}


class Size(NamedTuple):
    """Height and width in pixels or cells; written ``HxW``, height first."""

    height: int
    width: int

    @property
    def cells(self) -> int:
        """Height times width."""
        return self.height * self.width

    def __str__(self) -> str:
        return f"{self.height}x{self.width}"


def parse_size(text: str) -> Size:
    """Read ``600x900`` (height first) or ``512`` (a square).

    Raises:
        UsageError: where the text is not a size, or a side is not 1 to 65,536.
    """
    match = re.fullmatch(r"0*([0-9]+?)(?:[xX×]0*([0-9]+?))?", text.strip())
    if not match:
        raise UsageError(Problem("`size`", "must be HxW in pixels, as 600x900 or 512", f"'{text}'"))
    sides = (match[1], match[2] or match[1])
    if not all(len(side) <= len(str(MAX_SIDE)) and 1 <= int(side) <= MAX_SIDE for side in sides):
        got = "x".join(sides)
        got = got if len(got) <= MAX_SHOWN else f"{got[:MAX_SHOWN]}…"
        raise UsageError(Problem("`size`", f"each side must be 1 to {MAX_SIDE} pixels", got))
    return Size(*map(int, sides))


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
