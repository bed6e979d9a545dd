"""Drift: whether a baseline run moved, and the drift between two baseline runs."""

import pytest

from mnfpn_cli.store.rows import BaselineTiming
from mnfpn_cli.sweep.drift import drift_at, moved_baselines


def timed(
    minute: int, milliseconds: float, worker: str = "here", spread: float = 0.01, sweep: int = 1
) -> BaselineTiming:
    """A baseline run at a minute past the hour: eleven samples around a median."""
    samples = tuple(milliseconds * 1e-3 * (1 + spread * (index - 5) / 5) for index in range(11))
    return BaselineTiming(
        f"{worker}{sweep}{minute}", sweep, "key", worker, f"2026-11-21T10:{minute:02}:00.000+00:00", samples
    )


def at(minute: int) -> str:
    """A minute past the hour in ISO 8601."""
    return f"2026-11-21T10:{minute:02}:00.000+00:00"


def test_a_machine_that_stays_the_same_has_not_moved() -> None:
    """Two per cent are below `MOVED`."""
    assert moved_baselines([timed(0, 10), timed(10, 10.2), timed(20, 9.9)]) == []


def test_a_machine_that_became_slower_has_moved() -> None:
    """It has the worker, the time, and the drift."""
    (moved,) = moved_baselines([timed(0, 10), timed(10, 12), timed(20, 10.1)])
    assert (moved.worker, moved.finished) == ("here", at(10))
    assert moved.drift == pytest.approx(1.2)


def test_noise_is_no_movement() -> None:
    """Where the intervals overlap nothing has moved, however far the medians are apart."""
    assert moved_baselines([timed(0, 10, spread=0.5), timed(10, 12, spread=0.5)]) == []


def test_each_worker_and_each_sweep_is_compared_with_itself() -> None:
    """Two machines differ, and so do two days: that is no drift."""
    assert moved_baselines([timed(0, 10, "one"), timed(1, 20, "two"), timed(10, 10, "one"), timed(11, 20, "two")]) == []
    assert moved_baselines([timed(0, 10), timed(10, 20, sweep=2)]) == []


@pytest.mark.parametrize(("minute", "drift"), [(0, 1.0), (5, 1.1), (10, 1.2), (15, 1.0), (20, 0.8), (30, 0.8)])
def test_between_two_baseline_runs_the_drift_is_interpolated(minute: int, drift: float) -> None:
    """After the last it stays; on a worker without baseline runs it is 1."""
    taken = [timed(0, 10), timed(10, 12), timed(20, 8)]
    assert drift_at(taken, "here", at(minute)) == pytest.approx(drift)
    assert drift_at(taken, "elsewhere", at(minute)) == 1.0
