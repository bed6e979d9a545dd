"""Planted machines: random networks, and a law that says how long each layer takes."""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace

from mnfpn_cli.predict.facts import LayerFacts, run_facts
from mnfpn_cli.predict.model import Sample
from mnfpn_cli.settings.input import Size
from mnfpn_cli.settings.network import NetworkSettings
from mnfpn_cli.space.planned import Planned, plan_runs
from mnfpn_cli.space.runs import Execution

Law = Callable[[LayerFacts], float]

CACHE_BYTES = 8 * 2**20
RATES = {"depthwise": 2e10, "pointwise": 1.2e11, "conv": 1.5e11, "dense": 5e10, "move": 1e30}


def planned(
    width: float,
    channels: int,
    smooth: str,
    size: Size,
    runtime: str = "channels-last",
    upsample: str = "bilinear",
) -> Planned:
    """A network with a pyramid, planned at a size."""
    settings = NetworkSettings.model_validate(
        {"width_mult": width, "pyramid": {"channels": channels, "smooth": smooth, "upsample": upsample}}
    )
    (run,) = plan_runs(settings.at(size), size, [Execution(runtime, "cpu")])
    return run


def networks(count: int, seed: int = 0, runtime: str = "channels-last") -> list[Planned]:
    """So many random networks, at sizes from 96 to 480 pixels."""
    rng = random.Random(seed)
    return [
        planned(
            rng.choice([0.35, 0.5, 0.6, 0.75, 0.85, 1.0, 1.2]),
            rng.choice([48, 64, 96, 128, 192]),
            rng.choice(["conv", "separable"]),
            Size(rng.randrange(96, 481, 32), rng.randrange(96, 481, 32)),
            runtime,
        )
        for _ in range(count)
    ]


def law(layer: LayerFacts) -> float:
    """Overhead, work or memory, whichever is slower, with maps that fit a cache or not, and memory from the system."""
    operation = ("depthwise", "pointwise", "conv", "dense", "move")[layer.group]
    rate = RATES[operation] * min(1.0, 0.4 + layer.outputs / 160)
    moved = 4 * (layer.moved + layer.weights)
    bandwidth = 4e10 if moved < CACHE_BYTES else 1.5e10
    return 2e-5 * layer.calls + max(layer.macs / rate, moved / bandwidth) + 2.5e-10 * layer.fresh


def old_process_law(layer: LayerFacts) -> float:
    """The same in a process that keeps the memory of other networks."""
    return law(layer._replace(fresh=layer.mapped))


def measured(
    runs: Sequence[Planned], noise: float = 0.01, layers: bool = True, law: Law = law, seed: int = 1
) -> list[Sample]:
    """Measure runs on a machine, with relative noise on each run and, as large again, on each layer."""
    rng, samples = random.Random(seed), list[Sample]()
    for one in runs:
        times = {layer.id: law(layer) for layer in run_facts(one.run)}
        seconds = sum(times.values()) * rng.lognormvariate(0.0, noise)
        marked = {id: (time + 5e-6) * rng.lognormvariate(0.0, noise) for id, time in times.items()}
        samples.append(Sample(one, seconds, marked if layers else None))
    return samples


def without_layers(samples: Sequence[Sample]) -> list[Sample]:
    """The same runs without the times of their layers."""
    return [replace(sample, layers=None) for sample in samples]
