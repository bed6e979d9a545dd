"""Runs and results for tests of stores, without measuring."""

from collections.abc import Sequence
from secrets import token_hex
from typing import Any, Literal

from mnfpn_cli.documents.bench import RunProfile
from mnfpn_cli.documents.records import WarningRecord
from mnfpn_cli.documents.sweep import MeasuringRecord, PlanRecord, SpaceCounts
from mnfpn_cli.documents.worker import Measured
from mnfpn_cli.settings.input import Size
from mnfpn_cli.settings.network import NetworkSettings
from mnfpn_cli.space.planned import Planned, plan_runs
from mnfpn_cli.space.runs import Execution, run_key
from mnfpn_cli.store.claims import Claims
from mnfpn_cli.store.rows import StoredResult
from mnfpn_cli.store.store import Store
from mnfpn_cli.store.sweeps import add_sweep
from tests.sweep.recorded import made_up

MACHINE = "a CPU, 2 cores"
PLAN = PlanRecord(
    command="mnfpn sweep",
    measuring=MeasuringRecord(),
    measure="all",
    space=SpaceCounts(runs=4, repeated=0, all_runtimes=False),
    invalid=(),
    over_budget={},
)


def planned(count: int = 4) -> list[tuple[str, Planned]]:
    """Plan one run of each of ``count`` networks; return them with their keys."""
    size, executions = Size(64, 64), [Execution(device="cpu")]
    runs = [
        one
        for index in range(count)
        for one in plan_runs(NetworkSettings.model_validate({"width_mult": 0.25 + index / 100}), size, executions)
    ]
    return [(run_key(one.run, MACHINE), one) for one in runs]


def swept(store: Store, count: int = 4, **more: Any) -> tuple[int, list[str]]:
    """Insert a sweep of ``count`` runs; return its id, and the keys in order."""
    runs = planned(count)
    return add_sweep(store, PLAN, MACHINE, runs, **more), [key for key, _ in runs]


def result(
    sweep: int,
    samples: Sequence[float] = (0.010, 0.011, 0.012, 0.010, 0.011, 0.013, 0.010),
    status: Literal["done", "failed"] = "done",
    finished: str = "2026-01-01T00:00:05.000+00:00",
    reason: str | None = None,
) -> StoredResult:
    """Return a result, done or failed."""
    found = measured(samples) if status == "done" else None
    return StoredResult(token_hex(16), sweep, status, "here", "2026-01-01T00:00:00.000+00:00", finished, reason, found)


def measured(samples: Sequence[float], profile: RunProfile | None = None) -> Measured:
    """Return the measurement of a worker with these samples."""
    warning = WarningRecord(kind="drift", cause="passes became slower", helps="wait")
    run = {"threads": 2, "ended_by": "precision", "throughput_per_s": 90.0, "peak_memory_bytes": None}
    return made_up(samples, [warning], profile, **run)


def measure(store: Store, key: str, one: StoredResult, claims: Claims | None = None) -> bool:
    """Claim a run and finish it with a result, as a sweep does."""
    claims = claims or Claims(store)
    return claims.claim(key) and claims.finish(key, one)
