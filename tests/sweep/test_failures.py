"""What a sweep could not do, in lines."""

from dataclasses import replace

from mnfpn_cli.space.cells import Execution
from mnfpn_cli.store.rows import Result, Status, StoredCell
from mnfpn_cli.sweep.state import MOST, CannotRun, failures
from tests.store.made import PLACE, planned, result

((KEY, ONE),) = planned(1)
DONE = StoredCell(KEY, ONE.cell, PLACE, ONE.figures, "done", result(1))


def cell(reason: str | None, status: Status = "failed") -> StoredCell:
    """A cell, and why it failed, or is not whole."""
    same: Result = replace(result(1), reason=reason)
    return replace(DONE, status=status, result=same)


def test_each_reason_is_a_line_with_its_count() -> None:
    """The most common first; what is done and whole is none."""
    graphs = replace(DONE, cell=replace(DONE.cell, execution=Execution("cuda-graph", "cpu")))
    cells = [DONE, cell("one\nin two lines"), cell("too slow"), cell("too slow"), cell("no layers", "done")]
    assert failures(
        [*cells, replace(DONE, status="failed", result=None)], [CannotRun(graphs, "runs on CUDA alone")]
    ) == [
        "2 cells failed: too slow",
        "1 cell failed: one; in two lines",
        "1 cell measured without all that was asked for: no layers",
        "1 cell failed: for no reason that is known",
        "1 cell not run: cuda-graph on cpu, float32: runs on CUDA alone",
    ]


def test_of_many_reasons_some_are_told() -> None:
    """And how many more there are."""
    lines = failures([cell(f"reason {index}") for index in range(MOST + 2)], [])
    assert (len(lines), lines[-1]) == (MOST + 1, "and cells for 2 more reasons")
