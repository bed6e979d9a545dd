"""Results that a sweep takes from an earlier one which measured with other options."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mnfpn_cli.settings.measuring import LAYERED
from mnfpn_cli.store.rows import StoredCell, Sweep, by_layer, how_asked


@dataclass(frozen=True, slots=True)
class Reused:
    """So many cells of a sweep have results of options that are not its own; None where these are not known."""

    cells: int
    measured_with: str | None
    wanted: str


def reused(sweep: Sweep, cells: Sequence[StoredCell], known: Mapping[int, Sweep]) -> list[Reused]:
    """The cells of a sweep that were measured with other options than it asks for, the most common options first.

    ``known``: all sweeps of the store.
    """
    found = Counter[tuple[str | None, str]]()
    for one in cells:
        if one.measured and one.result and one.result.sweep != sweep.id:
            layered = one.cell.execution.runtime in LAYERED and by_layer(sweep.plan)
            before = known.get(one.result.sweep)
            theirs, ours = _options(before, layered) if before else None, _options(sweep, layered)
            if theirs != ours and ours is not None:
                found[theirs, ours] += 1
    return [Reused(number, theirs, ours) for (theirs, ours), number in found.most_common()]


def reused_by_any(
    ran: Sequence[Sweep], cells: Mapping[int, Sequence[StoredCell]], known: Mapping[int, Sweep]
) -> list[Reused]:
    """The same of several sweeps, the oldest first: each cell is held against the newest of them that has it.

    ``cells``: of each sweep, by its number.
    """
    newest = {cell.key: sweep.id for sweep in ran for cell in cells[sweep.id]}
    found = Counter[tuple[str | None, str]]()
    for sweep in ran:
        own = [cell for cell in cells[sweep.id] if newest[cell.key] == sweep.id]
        for one in reused(sweep, own, known):
            found[one.measured_with, one.wanted] += one.cells
    return [Reused(number, theirs, ours) for (theirs, ours), number in found.most_common()]


def _options(sweep: Sweep, layered: bool) -> str | None:
    """The options that a sweep measures with, as they are typed; of layers only where these are asked for."""
    arguments = how_asked(sweep.plan).get("arguments")
    if not isinstance(arguments, list | tuple):
        return None
    return " ".join([*map(str, arguments), *["--by-layer"] * (layered and by_layer(sweep.plan))])
