"""The lines that say which runs failed, or could not be run, and why."""

from dataclasses import replace

from mnfpn_cli.space.runs import Execution
from mnfpn_cli.store.rows import RunStatus, StoredResult, StoredRun
from mnfpn_cli.sweep.state import MOST_REASONS, CannotRun, failures
from tests.store.made import MACHINE, planned, result

((KEY, ONE),) = planned(1)
DONE = StoredRun(KEY, ONE, MACHINE, "done", result(1))


def run(reason: str | None, status: RunStatus = "failed") -> StoredRun:
    """A run that failed for a reason; or a done one, whose reason is why its layers were not timed."""
    same: StoredResult = replace(result(1), reason=reason)
    return replace(DONE, status=status, result=same)


def test_each_reason_is_a_line_with_its_count() -> None:
    """The most common first; a done run without a reason has no line."""
    graphs = replace(DONE, planned=ONE._replace(run=replace(ONE.run, execution=Execution("cuda-graph", "cpu"))))
    runs = [DONE, run("one\nin two lines"), run("too slow"), run("too slow"), run("no layers", "done")]
    assert failures(
        [*runs, replace(DONE, status="failed", result=None)], [CannotRun(graphs, "runs on CUDA alone")]
    ) == [
        "2 runs failed: too slow",
        "1 run failed: one; in two lines",
        "1 run measured without all that was asked for: no layers",
        "1 run failed: for an unknown reason",
        "1 run not run: cuda-graph on cpu, float32: runs on CUDA alone",
    ]


def test_of_many_reasons_the_most_common_are_listed() -> None:
    """With the number of the others."""
    lines = failures([run(f"reason {index}") for index in range(MOST_REASONS + 2)], [])
    assert (len(lines), lines[-1]) == (MOST_REASONS + 1, "and runs for 2 more reasons")
