"""How long a sweep will take, before it is begun: by what cells took so far, or else by what they are asked to take."""

from dataclasses import dataclass
from datetime import datetime
from statistics import fmean

from mnfpn_cli.settings.measuring import Sampling
from mnfpn_cli.space.cells import cell_key
from mnfpn_cli.store.again import Again, measured_again
from mnfpn_cli.store.read import read_cells
from mnfpn_cli.store.rows import Result
from mnfpn_cli.store.store import Store
from mnfpn_cli.sweep.how import How
from mnfpn_cli.sweep.start import Chosen

STARTED_S = 5.0
"""What a cell's process takes besides timed passes: imports, counting, warming up (benchmarks/README.md)."""


@dataclass(frozen=True, slots=True)
class Expected:
    """How long a sweep may take.

    Attributes:
        cells: that are not measured yet.
        references: times of the reference cell in between.
        each_s: of one of these, at least; where some were measured, the mean of theirs.
        most_s: of one, at most; None where it is known from others.
    """

    cells: int
    references: int
    each_s: float
    most_s: float | None = None

    @property
    def seconds(self) -> float:
        """All together, in seconds."""
        return (self.cells + self.references) * self.each_s


def expect(chosen: Chosen, how: How, sampling: Sampling, place: str, store: Store | None, again: Again) -> Expected:
    """Work out how long a sweep may take.

    ``store``: one that may have some of its cells; ``again``: which of these are measured again.

    Raises:
        StoreError: where the store cannot be read.
    """
    known = {one.key: one for one in read_cells(store)} if store else {}
    keys = [cell_key(one.cell, place) for one in chosen.cells]
    anew = set(store.read(lambda connection: measured_again(connection, keys, again))) if store else set()
    left = sum(key in anew or key not in known or known[key].status == "pending" for key in keys)
    references = 1 + -(-left // how.reference_every) if left else 0
    took = [_took(one.result) for one in known.values() if one.result and one.measured]
    if took:
        return Expected(left, references, fmean(took))
    most = STARTED_S + sampling.max_time_s if sampling.max_time_s != float("inf") else None
    return Expected(left, references, STARTED_S + sampling.min_time_s, most)


def _took(result: Result) -> float:
    return (datetime.fromisoformat(result.finished) - datetime.fromisoformat(result.started)).total_seconds()
