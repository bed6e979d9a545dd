"""Results of a benchmark for tests, with given samples."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from mnfpn_cli.bench.results import Benchmark, BenchRun, FirstPass, MeasuredRun, NotRun, RunKey, SizeCost
from mnfpn_cli.bench.workload import FvcoreCount
from mnfpn_cli.documents.records import EnvironmentRecord
from mnfpn_cli.measure.engine import WarmUp
from mnfpn_cli.measure.statistics import Latency
from mnfpn_cli.plan.cost import Cost, NetworkCost
from mnfpn_cli.settings.input import NetworkInput, Size
from mnfpn_cli.settings.measuring import BenchCase

SIZE = Size(600, 900)
COST = SizeCost(
    SIZE, NetworkCost(Cost(10, 2, 1000), Cost(20, 0, 3000), Cost()), FvcoreCount(5000, {"conv": 4000}), 64, 48
)
ENVIRONMENT = EnvironmentRecord(
    cpu="a CPU", cores=2, memory_bytes=2**34, gpu_name=None, driver=None, cuda=None, tf32=None,
    torch="2", python="3", platform="Linux", mnfpn="0", date="2026-01-01",
)  # fmt: skip


def key(runtime: str = "eager", device: str = "cpu", batch: int = 1, size: Size = SIZE) -> RunKey:
    """Return the key of a run on images of three channels."""
    return RunKey(runtime, device, NetworkInput(batch, 3, size))


def timed(samples: Sequence[float], where: RunKey | None = None, **more: Any) -> MeasuredRun:
    """Return a measured run with these samples; ``more`` replaces other attributes."""
    made = MeasuredRun(
        key=where or key(),
        gpu_name=None,
        threads=2,
        first=FirstPass(0.5, 1.0),
        warm_up=WarmUp(6, 3.0, True),
        latency=Latency(tuple(samples)),
        enqueue=None,
        ended="precision",
        difference=None,
        peak_memory_bytes=None,
        added_memory_bytes=None,
    )
    return replace(made, **more)


def benchmark(*runs: BenchRun, case: BenchCase | None = None, **more: Any) -> Benchmark:
    """Return a benchmark of these runs; ``more`` replaces other attributes."""
    runtimes = tuple(dict.fromkeys(run.key.runtime for run in runs))
    batches = tuple(dict.fromkeys(run.key.input.batch for run in runs))
    made = Benchmark(case or BenchCase(batches, runtimes), (COST,), runs, (), ENVIRONMENT)
    return replace(made, **more)


def missing(where: RunKey, reason: str = "not installed", status: Any = "unavailable") -> NotRun:
    """Return a run without a measurement."""
    return NotRun(where, status, reason)
