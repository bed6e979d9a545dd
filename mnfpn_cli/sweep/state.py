"""How far a sweep is."""

from dataclasses import dataclass

from mnfpn_cli.store.rows import StoredCell


@dataclass(frozen=True, slots=True)
class NotRun:
    """A cell that no machine there is can run, and why: it stays to be measured."""

    cell: StoredCell
    reason: str


@dataclass(frozen=True, slots=True)
class State:
    """How far a sweep is.

    Attributes:
        sweep: its number in the store.
        total: cells, those measured before included.
        done, failed: of them.
        skipped: cells that cannot keep to the latency.
        not_run: cells that cannot be run here.
        others: cells that another sweep measures.
        left_s: about the time that is left.
        best: the cell that keeps the most within the latency; without a limit, the fastest.
        pace: how many times its first time the reference cell took when it was timed last.
        notes: what went wrong besides.
    """

    sweep: int
    total: int
    done: int = 0
    failed: int = 0
    skipped: int = 0
    not_run: tuple[NotRun, ...] = ()
    others: int = 0
    left_s: float | None = None
    best: StoredCell | None = None
    pace: float = 1.0
    notes: tuple[str, ...] = ()

    @property
    def left(self) -> int:
        """Cells that are still to be measured."""
        return self.total - self.done - self.failed - self.skipped - len(self.not_run)
