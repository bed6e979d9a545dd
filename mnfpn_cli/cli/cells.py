"""Options that choose among the cells of a store."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mnfpn_cli.errors import UsageError

if TYPE_CHECKING:
    from mnfpn_cli.store.rows import StoredCell


@dataclass(frozen=True)
class CellFilter:
    """An option that was given, and the cells that it is about.

    Attributes:
        option: its name.
        value: as it was given.
        of: what it looks at in a cell.
        keeps: whether it is about the cells of which this is so.
    """

    option: str
    value: str | int
    of: "Callable[[StoredCell], str | int]"
    keeps: Callable[[str | int], bool]


def device_filter(device: str) -> CellFilter:
    """The cells that ran, or are to run, on a device; ``cuda`` is any of them."""
    return CellFilter("--device", device, lambda one: one.device, lambda of: device in (of, str(of).partition(":")[0]))


def choose_cells(cells: "list[StoredCell]", filters: Iterable[CellFilter], called: str = "cells") -> "list[StoredCell]":
    """The cells that all filters are about.

    ``called``: what messages call the cells.

    Raises:
        UsageError: where a filter leaves none: it names what there is.
    """
    before: list[str] = []
    for one in filters:
        kept = [cell for cell in cells if one.keeps(one.of(cell))]
        if cells and not kept:
            there = ", ".join(map(str, sorted({one.of(cell) for cell in cells})))
            given = f" with {' '.join(before)}" if before else ""
            raise UsageError(
                f"{one.option}: must be one that the store has {called} of{given} ({there}), got {one.value!r}"
            )
        before.append(f"{one.option} {one.value}")
        cells = kept
    return cells
