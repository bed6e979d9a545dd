"""Design spaces for tests."""

from collections.abc import Sequence
from typing import Any

from mnfpn_cli.space.axes import Space
from mnfpn_cli.space.read import axis_of, merge_axes


def space_of(**axes: Sequence[Any]) -> Space:
    """A space of keys and their choices; ``__`` stands for the dot of a dotted key."""
    return merge_axes(axis_of(key.replace("__", "."), key, values) for key, values in axes.items())
