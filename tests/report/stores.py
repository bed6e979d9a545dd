"""Stores with made-up results, for reports without measuring."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex
from typing import Any, Literal

from mnfpn_cli.documents.bench import LayerTimeRecord, PartTime, RunProfile
from mnfpn_cli.documents.records import EnvironmentRecord, WarningRecord
from mnfpn_cli.documents.sweep import InvalidRuns, MeasuringRecord, PlanRecord, SpaceCounts
from mnfpn_cli.documents.worker import Measured
from mnfpn_cli.measure.statistics import Latency, latency_record
from mnfpn_cli.settings.input import Size
from mnfpn_cli.settings.network import NetworkSettings, PyramidSettings
from mnfpn_cli.space.planned import Planned, plan_runs
from mnfpn_cli.space.runs import Execution, Run, run_key
from mnfpn_cli.store.claims import Claims
from mnfpn_cli.store.rows import BaselineTiming, StoredResult
from mnfpn_cli.store.store import open_store
from mnfpn_cli.store.sweeps import add_baseline, add_sweep
from tests.sweep.recorded import made_up, recorded

ENVIRONMENT: dict[str, Any] = {
    "cpu": "A CPU",
    "cores": 2,
    "memory_bytes": 2**34,
    "gpu_name": None,
    "driver": None,
    "cuda": None,
    "tf32": None,
    "torch": "2.13.0",
    "python": "3.11.7",
    "platform": "Linux",
    "mnfpn": "0.1.0",
    "date": "2026-11-21T10:00:00+00:00",
}
WARNING = WarningRecord(kind="drift", cause="passes became slower", helps="let it run longer")


CHANNELS_LAST = Execution(device="cpu", runtime="channels-last")
EAGER = Execution(device="cpu", runtime="eager")
SMALL, LARGE = Size(64, 64), Size(128, 128)


@dataclass(frozen=True)
class Made:
    """A run with its result: a time in seconds, a reason why it failed, or neither where it is pending.

    ``by_layer``: seconds of parts; ``samples``: how many there are, fewer than six for no interval;
    ``channels``: of the pyramid's levels.
    """

    width_mult: float = 1.0
    size: Size = SMALL
    execution: Execution = EAGER
    latency_s: float | None = None
    reason: str | None = None
    worker: str = "here"
    by_layer: Mapping[str, float] = field(default_factory=dict)
    minute: int = 0
    samples: int = 11
    channels: int = 256

    @property
    def planned(self) -> Planned:
        """The run with the figures of its plan."""
        settings = NetworkSettings(width_mult=self.width_mult, pyramid=PyramidSettings(channels=self.channels))
        (planned,) = plan_runs(settings, self.size, [self.execution])
        return planned

    @property
    def measured(self) -> Measured | None:
        """The measurement of a worker; None where the run was not measured."""
        if self.latency_s is None:
            return None
        samples = [self.latency_s * (1 + 0.01 * (index - 5)) for index in range(self.samples)]
        latency = latency_record(Latency(tuple(samples))).model_copy(update={"median": self.latency_s})
        run = {
            "latency_s": latency,
            "device": self.execution.device,
            "runtime": self.execution.runtime,
            "threads": self.execution.threads or 2,
            "throughput_per_s": 1 / self.latency_s,
            "peak_memory_bytes": None,
            "ended_by": "passes",
        }
        profile = _profile(self.latency_s, self.by_layer) if self.by_layer else None
        found = made_up(samples, [WARNING], profile, **run)
        return found.model_copy(update={"environment": EnvironmentRecord(**ENVIRONMENT)})

    def result(self, sweep: int) -> StoredResult:
        """The result in a store."""
        status: Literal["done", "failed"] = "done" if self.reason is None else "failed"
        moment = at(self.minute)
        return StoredResult(token_hex(16), sweep, status, self.worker, moment, moment, self.reason, self.measured)


def _profile(measured_s: float, parts: Mapping[str, float]) -> RunProfile:
    was = recorded().profile
    assert was is not None
    rows = tuple(
        PartTime(part=part, seconds=seconds, macs=1, bytes=1, floor_s=None, bound=None)
        for part, seconds in parts.items()
    )
    layers = tuple(LayerTimeRecord(path=f"{row.part}.conv", **dict(row)) for row in rows)
    return was.model_copy(update={"measured_s": measured_s, "advice": None, "parts": rows, "layers": layers})


def make_store(
    path: Path, runs: Sequence[Made], baselines: Sequence[tuple[int, float]] = (), command: str = "mnfpn sweep"
) -> Path:
    """A store with one sweep of these runs; ``baselines``: minutes, and the baseline run's seconds then."""
    with open_store(str(path), create=True) as store:
        keyed = [(run_key(one.planned.run, "A CPU, 2 cores"), one) for one in runs]
        plan = PlanRecord(
            command=command,
            measuring=MeasuringRecord(),
            measure="all",
            space=SpaceCounts(runs=len(runs), repeated=0, all_runtimes=False),
            invalid=(InvalidRuns(runs=3, reason="no network"),),
            over_budget={},
        )
        sweep = add_sweep(store, plan, "A CPU, 2 cores", [(key, one.planned) for key, one in keyed])
        claims = Claims(store)
        for key, one in keyed:
            if one.latency_s is None and one.reason is None:
                continue
            assert claims.claim(key)
            assert claims.finish(key, one.result(sweep))
        for minute, seconds in baselines:
            samples = tuple(seconds * (1 + 0.001 * index) for index in range(-5, 6))
            add_baseline(store, BaselineTiming(token_hex(16), sweep, keyed[0][0], "here", at(minute), samples))
    return path


def at(minute: int) -> str:
    """A minute past the hour."""
    return f"2026-11-21T10:{minute:02}:00.000+00:00"


def run_of(made: Made) -> Run:
    """The run alone."""
    return made.planned.run


PARTS = {"stem": 0.001, "stages.1": 0.004, "smooth p2": 0.002}

SAMPLE = (
    Made(0.35, SMALL, CHANNELS_LAST, 0.005, by_layer=PARTS),
    Made(0.5, SMALL, CHANNELS_LAST, 0.009),
    Made(1.0, SMALL, CHANNELS_LAST, 0.008),
    Made(0.35, SMALL, EAGER, 0.006),
    Made(1.0, SMALL, EAGER, 0.010),
    Made(0.35, LARGE, CHANNELS_LAST, 0.012),
    Made(1.0, LARGE, CHANNELS_LAST, 0.030, minute=30),
    Made(1.0, LARGE, EAGER, reason="out of memory <script>alert(1)</script>"),
    Made(0.5, LARGE, EAGER),
)
"""On the frontier: the 1st, the 3rd, the 6th and the 7th."""
FRONTIER = (0, 2, 5, 6)
