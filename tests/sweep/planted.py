"""A planted machine: a pool whose times follow a law of the plan, so that what is predicted is known."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from mnfpn_cli.documents.bench import LayerTimeRecord
from mnfpn_cli.predict.facts import run_facts
from mnfpn_cli.settings.input import Size
from mnfpn_cli.space.runs import Execution, Run
from mnfpn_cli.store.sweeps import now
from mnfpn_cli.sweep.case import Workers
from mnfpn_cli.sweep.process import Outcome, Task
from tests.sweep.pools import FakePool
from tests.sweep.recorded import made_up, recorded
from tests.sweep.works import settings_of


def layer_seconds(run: Run) -> dict[tuple[str, str], float]:
    """The time of each layer: 20 µs a call, 20 GMAC/s, 2.5 G elements/s; eager is half as fast."""
    slower = 2.0 if run.execution.runtime == "eager" else 1.0
    return {one.id: slower * (20e-6 * one.calls + one.macs / 20e9 + one.moved / 2.5e9) for one in run_facts(run)}


def seconds_of(run: Run) -> float:
    """The time of a pass on the planted machine: its layers and a fixed 0.2 ms."""
    return 2e-4 + sum(layer_seconds(run).values())


def planted(task: Task) -> Outcome:
    """Measure a run on the planted machine, with noise of 0.5 % between passes."""
    work = task.work
    execution = Execution(work.runtime, work.device, work.dtype, work.input.batch, work.threads, work.train)
    run = Run(settings_of(task), Size(work.input.height or 0, work.input.width or 0), execution)
    median, profile = seconds_of(run), None
    samples = [median * (1 + 0.005 * (index - 3.5) / 3.5) for index in range(8)]
    if work.by_layer:
        was = recorded().profile
        assert was is not None
        layers = tuple(
            LayerTimeRecord(path=path, part=part, seconds=seconds, macs=1, bytes=1, floor_s=None, bound=None)
            for (path, part), seconds in layer_seconds(run).items()
        )
        profile = was.model_copy(update={"measured_s": median, "layers": layers, "advice": None})
    device = "cpu" if work.device == "auto" else work.device
    found = made_up(samples, profile=profile, runtime=work.runtime, device=device)
    return Outcome("done", "here", now(), now(), None, found)


class PlantedPools:
    """Takes the place of the workers of sweeps: all measure on one planted machine."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.pools = list[FakePool]()
        planted_pools = self

        @contextmanager
        def pool(_workers: Workers, _runs: Sequence[Run]) -> Iterator[Any]:
            planted_pools.pools.append(FakePool(planted))
            yield planted_pools.pools[-1]

        monkeypatch.setattr(Workers, "pool", pool)

    @property
    def measured(self) -> int:
        """How many measurements there were, those of baseline runs included."""
        return sum(len(pool.tasks) for pool in self.pools)


SPACE = ("--width-mult", "0.35,0.5,0.6,0.75,1.0", "--pyramid-channels", "32,64,128", "--size", "96,128,160,192")
"""The options of a space of 60 networks."""

ON_CPU = ("--device", "cpu")
