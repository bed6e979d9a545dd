"""The axes of images that a file can leave open, so that it takes other batches and sizes. Imports no torch."""

from typing import Literal, cast, get_args

from mnfpn_cli.errors import Problem, UsageError
from mnfpn_cli.text import did_you_mean

DynamicAxis = Literal["batch", "height", "width"]
AXES: tuple[DynamicAxis, ...] = get_args(DynamicAxis)
SIDES: frozenset[DynamicAxis] = frozenset({"height", "width"})
"""The axes that are left open where none is named."""


def parse_axes(text: str) -> frozenset[DynamicAxis]:
    """Read the axes to leave open: ``batch,height,width``; height and width of an empty text.

    Raises:
        UsageError: where one is none of these.
    """
    axes = [part.strip() for part in text.split(",")] if text else sorted(SIDES)
    for axis in axes:
        if axis not in AXES:
            rule = f"must be axes of {', '.join(AXES)}, separated by commas"
            raise UsageError(Problem("`dynamic`", rule, f"'{axis}'", did_you_mean(axis, AXES)))
    return cast("frozenset[DynamicAxis]", frozenset(axes))


def in_order(axes: frozenset[DynamicAxis]) -> tuple[DynamicAxis, ...]:
    """Return axes in the order of a tensor of images."""
    return tuple(axis for axis in AXES if axis in axes)
