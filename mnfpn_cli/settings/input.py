"""The input of a network: sizes, dtypes, and the shape of a batch of images."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from mnfpn_cli.errors import Problem, UsageError
from mnfpn_cli.text import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

DEFAULT_SIZE = "600x900"
DEFAULT_CHANNELS = 3
"""The channels of the images of an external network."""
MAX_SIDE = 65_536
MAX_BATCH = 65_536
MAX_SHOWN = 40

DType = Literal["float32", "bfloat16", "float16", "int8"]
DEFAULT_DTYPE: DType = "float32"
ITEM_BYTES: dict[DType, int] = {"float32": 4, "bfloat16": 2, "float16": 2, "int8": 1}


def choose_dtypes(texts: Sequence[str]) -> tuple[DType, ...]:
    """Return the dtypes of these names, each once, in order; a text may hold several names, with commas between them.

    Raises:
        UsageError: where no dtype has that name.
    """
    return tuple(dict.fromkeys(check_dtype(name) for text in texts for name in text.split(",")))


def check_dtype(name: str) -> DType:
    """Return the dtype of a name.

    Raises:
        UsageError: where no dtype has it.
    """
    for dtype in ITEM_BYTES:
        if dtype == name:
            return dtype
    near = did_you_mean(name, ITEM_BYTES)
    raise UsageError(Problem("`dtype`", f"must be one of {', '.join(ITEM_BYTES)}", f"'{name}'", near))


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
