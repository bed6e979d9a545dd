"""What a sweep could not do, in lines."""

from dataclasses import replace

from mnfpn_cli.space.runs import Execution
from mnfpn_cli.store.rows import Result, Status, StoredRun
from mnfpn_cli.sweep.state import MOST, CannotRun, failures
from tests.store.made import MACHINE, planned, result

((KEY, ONE),) = planned(1)
DONE = StoredRun(KEY, ONE, MACHINE, "done", result(1))


def run(reason: str | None, status: Status = "failed") -> StoredRun:
    """A run, and why it failed, or is not whole."""
    same: Result = replace(result(1), reason=reason)
    return replace(DONE, status=status, result=same)


def test_each_reason_is_a_line_with_its_count() -> None:
    """The most common first; what is done and whole is none."""
    graphs = replace(DONE, planned=ONE._replace(run=replace(ONE.run, execution=Execution("cuda-graph", "cpu"))))
    runs = [DONE, run("one\nin two lines"), run("too slow"), run("too slow"), run("no layers", "done")]
    assert failures(
        [*runs, replace(DONE, status="failed", result=None)], [CannotRun(graphs, "runs on CUDA alone")]
    ) == [
        "2 runs failed: too slow",
        "1 run failed: one; in two lines",
        "1 run measured without all that was asked for: no layers",
        "1 run failed: for no reason that is known",
        "1 run not run: cuda-graph on cpu, float32: runs on CUDA alone",
    ]


def test_of_many_reasons_some_are_told() -> None:
    """And how many more there are."""
    lines = failures([run(f"reason {index}") for index in range(MOST + 2)], [])
    assert (len(lines), lines[-1]) == (MOST + 1, "and runs for 2 more reasons")
