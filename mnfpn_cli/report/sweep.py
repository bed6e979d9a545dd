"""`mnfpn sweep` as tables and as JSON: what the space holds, what was chosen, what was measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mnfpn_cli.percent import percent
from mnfpn_cli.report.cell_tables import Differing, cells_report
from mnfpn_cli.report.points import KEPT
from mnfpn_cli.report.tables import Report, note, pairs, table
from mnfpn_cli.report.units import count, counted, duration, scaled, size_in_bytes
from mnfpn_cli.space.cells import Cell, Execution
from mnfpn_cli.space.names import named
from mnfpn_cli.space.planned import kept

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.table import Table

    from mnfpn_cli.space.planned import Planned, PlannedSpace
    from mnfpn_cli.sweep.expected import Expected
    from mnfpn_cli.sweep.start import Chosen

SHOWN = 10
"""Reasons, and cells of a frontier, that are shown; JSON has all."""

ASKED = 2000
"""Cells of a space that are looked at for what they differ in."""


def space_report(chosen: Chosen, frontier: Sequence[Planned], expected: Expected | None) -> Report:
    """What there is, what is left out and why, and the cells that keep the most capacity for their MACs."""
    report: Report = [_counts(chosen.space, chosen, expected), *reasons_report(chosen.space.invalid)]
    if frontier:
        report += [*frontier_report(frontier, chosen.space.cells), note(KEPT, "dim")]
    return report


def _counts(space: PlannedSpace, chosen: Chosen, expected: Expected | None) -> Table:
    from mnfpn_cli.sweep.start import all_runtimes

    invalid, cut = sum(space.invalid.values()), sum(space.cut.values())
    rows = [
        ("cells", f"{count(len(space.cells) + cut)} valid"),
        ("", f"{count(space.repeated)} given twice" if space.repeated else ""),
        ("invalid", count(invalid) if invalid else ""),
        ("over budget", ", ".join(f"{count(number)} by {option}" for option, number in space.cut.items())),
        ("to measure", f"{_left(chosen, expected)} (--measure {chosen.measure})"),
        ("", "less those whose runtime cannot run there" if chosen.cells and all_runtimes(space) else ""),
        ("time", _time(expected) if expected else ""),
    ]
    return pairs("Space", [row for row in rows if row[1]])


def _left(chosen: Chosen, expected: Expected | None) -> str:
    """How many cells are to be measured: less those that the store has, where one was asked."""
    left = expected.cells if expected else len(chosen.cells)
    return count(left) + (f" of {count(len(chosen.cells))}" if left < len(chosen.cells) else "")


def _time(expected: Expected) -> str:
    """About how long it takes, and by what that is known."""
    runs = f"{counted(expected.cells, 'cell')} and {counted(expected.references, 'time')} of the reference cell"
    if not expected.cells:
        return "none: all of them are measured"
    if expected.most_s is None:
        return f"about {duration(expected.seconds)}: {runs}, {duration(expected.each_s)} each"
    most = (expected.cells + expected.references) * expected.most_s
    return f"{duration(expected.seconds)} to {duration(most)}: {runs}; nothing is measured yet that would tell"


def asked_for(plan: Mapping[str, Any]) -> str:
    """The command that a sweep was begun by; nothing where it is not known."""
    return str(plan.get("command") or "")


def reasons_report(invalid: Mapping[str, int]) -> Report:
    """Why combinations are no networks, and how many cells that are; the most common reasons first."""
    if not invalid:
        return []
    made = table("Invalid combinations", ">Cells", "Why")
    common = sorted(invalid.items(), key=lambda pair: -pair[1])
    for reason, number in common[:SHOWN]:
        made.add_row(count(number), note(reason.replace("\n", "; ")))
    more = [note(f"{len(common) - SHOWN} more reasons: --json has them all.", "dim")] if len(common) > SHOWN else []
    return [made, *more]


def frontier_report(frontier: Sequence[Planned], cells: Sequence[Planned]) -> Report:
    """The networks of a frontier by their plans, the cheapest first; of many, some from end to end.

    ``cells``: those that it is the frontier of: what they differ in, and the networks shown do not, is said once.
    """
    networks = list({_bare(one.cell): one for one in frontier}.values())
    shown = _some(networks, 2 * SHOWN)
    of = f", {len(shown)} of {count(len(networks))} networks" if len(shown) < len(networks) else ""
    bare = [_bare(one.cell) for one in shown]
    most = max(one.figures.capacity.product for one in networks)
    asked = [*bare, *(_bare(one.cell) for one in _some(cells, ASKED))]
    settings = {key: words[: len(bare)] for key, words in named(asked).items()}
    figures = {
        ">MACs": [scaled(one.figures.macs) for one in shown],
        ">Parameters": [scaled(one.figures.parameters) for one in shown],
        ">Memory": [size_in_bytes(one.figures.memory_bytes) for one in shown],
        ">Levels": [str(one.figures.capacity.levels) for one in shown],
        ">Kept": [percent(kept(one.figures.capacity, most)) for one in shown],
    }
    return cells_report(f"Frontier: the most kept for its MACs{of}", Differing(settings), figures, fold=True)


def _bare(cell: Cell) -> Cell:
    """What cost and capacity depend on: not on what executes it, and where."""
    return Cell(cell.settings, cell.size, Execution(batch=cell.execution.batch, dtype=cell.execution.dtype))


def _some(items: Sequence[Planned], most: int) -> Sequence[Planned]:
    """So many of them at most, from end to end."""
    if len(items) <= most:
        return items
    step = (len(items) - 1) / (most - 1)
    return [items[round(index * step)] for index in range(most)]


def space_document(chosen: Chosen, frontier: Sequence[Planned], expected: Expected | None) -> dict[str, Any]:
    """The same under the keys that scripts rely on."""
    space = chosen.space
    return {
        "cells": len(space.cells) + sum(space.cut.values()),
        "repeated": space.repeated,
        "invalid": [{"cells": number, "reason": reason} for reason, number in space.invalid.most_common()],
        "over_budget": dict(space.cut),
        "measure": chosen.measure,
        "chosen": len(chosen.cells),
        "expected_s": expected.seconds if expected else None,
        "frontier": [planned_document(one) for one in frontier],
    }


def planned_document(one: Planned) -> dict[str, Any]:
    """A cell with what its plan says; memory in bytes, of the batch."""
    cell = one.cell
    how = cell.execution
    return {
        "settings": cell.settings.model_dump(mode="json"),
        "input": dict(zip(("batch", "channels", "height", "width"), cell.input.shape, strict=True)),
        "runtime": how.runtime,
        "device": how.device,
        "dtype": how.dtype,
        "threads": how.threads,
        "cost": cost_document(one),
    }


def cost_document(one: Planned) -> dict[str, Any]:
    """What a cell costs, and the capacity that it keeps."""
    figures = one.figures
    return {
        "parameters": figures.parameters,
        "macs": figures.macs,
        "memory_bytes": figures.memory_bytes,
        "capacity": figures.capacity._asdict(),
    }
