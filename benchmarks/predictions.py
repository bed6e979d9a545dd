"""Predict latencies: how far a model of the machine is from runs that it has not seen.

Random networks (widths, stages, pyramids, sizes from 96 to 640 pixels) are measured in each runtime, each network in
two processes of its own, as in a sweep; the quicker one counts. The first networks have the times of their layers. A
model is fitted on 30 of them, drawn ten times at random or chosen once by `next_runs`, and judged on all the others.
Beside it stand a line in MACs, non-negative least squares on the MACs, bytes and counts of four kinds of layer, and the
machine's own noise: how far a run is from itself in every other pass, from itself in the other process, and from the
times of its own layers.

Last comes the frontier, latency against MACs: how many of its networks are on the frontier that 30 measured and all
other predicted times make, and how many are found when those that are only predicted to be on it are measured too.

    python benchmarks/predictions.py --collect 230 --allocator keep --times keep.jsonl   # two hours, idle
    python benchmarks/predictions.py --times keep.jsonl
"""

import argparse
import json
import random
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

import mnfpn_cli.api as api
from mnfpn_cli.errors import MnfpnError
from mnfpn_cli.plan.network import plan_network
from mnfpn_cli.plan.roofline import LayerId, LayerOperation, network_work
from mnfpn_cli.predict.choose import next_runs
from mnfpn_cli.predict.model import LatencyModel, Sample
from mnfpn_cli.settings.input import parse_size
from mnfpn_cli.settings.measuring import LAYERED
from mnfpn_cli.space.frontier import pareto
from mnfpn_cli.space.planned import Planned, plan_runs
from mnfpn_cli.space.runs import Execution, Run

RUNTIMES = ("channels-last", "eager")
LEARNED, DRAWS = 30, 10
WITH_LAYERS = 80
"""So many networks have their layers timed, which takes longer; those to learn from are among them."""
MAX_TIME_S = 1.0
TABLES = (
    "",
    "1,16,1,1 6,24,2,2 6,32,3,2 6,64,4,2 6,96,3,1 6,160,3,2",
    "1,16,1,1 4,24,2,2 4,32,3,2 4,64,4,2 4,96,3,1 4,160,3,2 4,320,1,1",
    "1,16,1,1 6,24,1,2 6,32,2,2 6,64,2,2 6,96,2,1 6,160,2,2 6,320,1,1",
    "1,24,1,1 6,32,3,2 6,48,4,2 6,96,5,2 6,128,3,1 6,192,3,2",
)

Floats = NDArray[np.float64]
Predict = Callable[[Sequence["Timed"], Sequence["Timed"]], Floats]


@dataclass(frozen=True)
class Timed:
    """A run that was measured: its plan, the times of its passes, and those of its layers."""

    sample: Sample
    passes: tuple[float, ...]

    @property
    def seconds(self) -> float:
        """The median time of a pass."""
        return self.sample.seconds


def random_network(rng: random.Random) -> dict[str, Any]:
    """Draw the settings and the size of a network."""
    overrides: dict[str, Any] = {"width_mult": rng.choice([0.25, 0.35, 0.5, 0.6, 0.75, 0.85, 1.0, 1.2, 1.4])}
    if table := rng.choice(TABLES):
        names = ("expansion", "channels", "repeats", "stride")
        overrides["stages"] = [dict(zip(names, map(int, row.split(",")), strict=True)) for row in table.split()]
    overrides["pyramid.channels"] = rng.choice([48, 64, 96, 128, 192, 256])
    overrides["pyramid.smooth"] = rng.choice(["conv", "separable", "none"])
    overrides["pyramid.levels"] = rng.choice(["all", "p3-p5", "p2-p5", "p4-p5"])
    overrides["pyramid.upsample"] = rng.choice(["bilinear", "nearest"])
    side = rng.choice(range(96, 641, 32))
    return {"overrides": overrides, "size": rng.choice([f"{side}", f"{side}x{min(640, side * 3 // 2)}"])}


def measure(network: dict[str, Any], runtimes: Sequence[str], allocator: str, by_layer: bool) -> dict[str, Any]:
    """Measure a network in runtimes; return it with its times in seconds."""
    row: dict[str, Any] = {**network, "allocator": allocator, "times": {}, "layers": {}}
    settings, input = api.settings(overrides=network["overrides"]), {"size": network["size"], "device": "cpu"}
    for runtime in runtimes:
        timed = by_layer and runtime in LAYERED
        found = api.bench(settings, **input, runtimes=runtime, by_layer=timed, max_time=MAX_TIME_S, allocator=allocator)
        row["times"][runtime] = found.runs[0].latency_s.samples
        for profile in found.profiles or ():
            row["layers"][runtime] = [(layer.path, layer.part, layer.seconds) for layer in profile.layers]
    return row


def collect(path: Path, count: int, runtimes: str, allocator: str) -> None:
    """Measure random networks, all of them once and then once more, each time in a new process; write a line for each.

    Lines that a file has already count: after an interruption the rest is measured.
    """
    rng, networks = random.Random(7), list[dict[str, Any]]()
    while len(networks) < count:
        network = random_network(rng)
        try:
            plan_network(api.settings(overrides=network["overrides"]))
        except MnfpnError:
            continue
        if network not in networks:
            networks.append(network)
    done = len(path.read_text().splitlines()) if path.exists() else 0
    for place in [*range(count)][done:] + [*range(count)][max(0, done - count) :]:
        options = ["--runtimes", runtimes, "--allocator", allocator, *["--by-layer"] * (place < WITH_LAYERS)]
        command = [sys.executable, __file__, "--one", json.dumps(networks[place]), *options]
        line = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()[-1]
        with path.open("a") as file:
            file.write(f"{line}\n")


def read(path: Path) -> dict[str, list[list[Timed]]]:
    """Return the measured runs of a file by runtime: for each run, once for each process, the quickest first.

    What other programs of the machine, or of its host, do to a run only adds to its time.
    """
    runs: dict[str, dict[Run, list[Timed]]] = {}
    for row in map(json.loads, path.read_text().splitlines()):
        settings, size = api.settings(overrides=row["overrides"]), parse_size(row["size"])
        for runtime, passes in row["times"].items():
            execution = Execution(runtime, "cpu", allocator=row["allocator"])
            (planned,) = plan_runs(settings.at(size), size, [execution])
            layers: dict[LayerId, float] = {(path, part): time for path, part, time in row["layers"].get(runtime, [])}
            timed = Timed(Sample(planned, median(passes), layers or None), tuple(passes))
            runs.setdefault(runtime, {}).setdefault(planned.run, []).append(timed)
    return {key: [sorted(one, key=lambda timed: timed.seconds) for one in runs[key].values()] for key in runs}


def by_line(learned: Sequence[Timed], others: Sequence[Timed]) -> Floats:
    """Predict times by a line in MACs, of least squares."""
    macs = [[float(one.sample.planned.figures.macs), 1.0] for one in learned]
    line = np.linalg.lstsq(np.array(macs), np.array([one.seconds for one in learned]), rcond=None)[0]
    return np.array([one.sample.planned.figures.macs * line[0] + line[1] for one in others])


KINDS: tuple[tuple[LayerOperation, ...], ...] = (("conv", "dense"), ("pointwise",), ("depthwise",), ("move",))


def by_kinds(learned: Sequence[Timed], others: Sequence[Timed]) -> Floats:
    """Predict times by the MACs, bytes and counts of four kinds of layer, weighed by relative least squares."""
    from scipy.optimize import nnls

    def terms(planned: Planned) -> Floats:
        works = network_work(plan_network(planned.run.settings), planned.run.input, 4)
        kinds = [[work for work in works if work.operation in kind] for kind in KINDS]
        sums = [
            (sum(w.macs for w in kind) / 1e11, sum(w.bytes for w in kind) / 1e10, len(kind) / 1e5) for kind in kinds
        ]
        return np.array(sums).ravel()

    rows = np.array([terms(one.sample.planned) / one.seconds for one in learned])
    weights = nnls(rows, np.ones(len(rows)))[0]
    predicted: Floats = np.array([terms(one.sample.planned) for one in others]) @ weights
    return predicted


def shares(errors: Floats) -> str:
    """Return the share of errors within 10 %, the median, and the 95 % quantile, as columns."""
    return f"{np.mean(errors <= 0.1):8.0%} {np.median(errors):8.1%} {np.quantile(errors, 0.95):8.1%}"


def split(runs: Sequence[Timed], learned: Sequence[int]) -> tuple[list[Timed], list[Timed]]:
    """Return the runs at these places, and the others."""
    chosen = set(learned)
    return [runs[place] for place in learned], [one for place, one in enumerate(runs) if place not in chosen]


def draws(runs: Sequence[Timed], layered: bool) -> Iterator[list[int]]:
    """Yield the places of 30 random runs, ten times; of those with timed layers where ``layered``."""
    places = [place for place, one in enumerate(runs) if one.sample.layers or not layered]
    for seed in range(DRAWS):
        yield [int(place) for place in np.random.default_rng(seed).permutation(places)[:LEARNED]]


def chosen_places(runs: Sequence[Timed], layered: bool) -> list[int]:
    """Return the places of the 30 runs that `next_runs` measures first."""
    places = {one.sample.planned.run: place for place, one in enumerate(runs) if one.sample.layers or not layered}
    planned = [one.sample.planned for one in runs if one.sample.planned.run in places]
    return [places[one.run] for one in next_runs(planned, [], LEARNED)]


def judge(name: str, runs: Sequence[Timed], drawn: Sequence[Sequence[int]], layered: bool) -> None:
    """Print how far models are from the runs that they have not seen, and how many intervals cover them."""
    errors, inside, widths = list[float](), list[bool](), list[float]()
    for places in drawn:
        learned, others = split(runs, places)
        model = LatencyModel.fit([one.sample if layered else replace(one.sample, layers=None) for one in learned])
        for predicted, one in zip(model.predict([one.sample.planned for one in others]), others, strict=True):
            errors.append(abs(predicted.seconds / one.seconds - 1))
            inside.append(predicted.low <= one.seconds <= predicted.high)
            widths.append(predicted.high / predicted.seconds - 1)
    print(f"  {name:38s} {shares(np.array(errors))} {np.mean(inside):8.0%}   ±{median(widths):.0%}", flush=True)


def judge_simple(name: str, runs: Sequence[Timed], predict: Predict) -> None:
    """Print the same of a simple way to predict times, which has no intervals."""
    errors = list[float]()
    for places in draws(runs, layered=False):
        learned, others = split(runs, places)
        errors += list(np.abs(predict(learned, others) / np.array([one.seconds for one in others]) - 1))
    print(f"  {name:38s} {shares(np.array(errors))}", flush=True)


def judge_frontier(runs: Sequence[Timed], places: Sequence[int]) -> None:
    """Print how many networks of the frontier are found by predictions from measured runs, and by measuring more."""
    true = {one.sample.planned for one in pareto(runs, lambda one: one.seconds, macs)}
    measured = set(places)
    model = LatencyModel.fit([runs[place].sample for place in places])
    drawn = _frontier(runs, measured, model)
    share = len(true & {runs[place].sample.planned for place in drawn}) / len(true)
    most, learned = len(runs) // 5, len(measured)
    while len(measured) < most and (wanted := [place for place in drawn if place not in measured]):
        measured |= set(wanted[: most - len(measured)])
        drawn = _frontier(runs, measured, LatencyModel.fit([runs[place].sample for place in sorted(measured)]))
    found = len(true & {runs[place].sample.planned for place in measured}) / len(true)
    print(
        f"  frontier of {len(true)}: {share:.0%} are on that of {learned} measured and all other predicted times; "
        f"{found:.0%} are found when {len(measured)} of {len(runs)} are measured"
    )


def _frontier(runs: Sequence[Timed], measured: set[int], model: LatencyModel) -> list[int]:
    """Return the places of the runs on the frontier of measured and predicted times."""
    predicted = model.predict([one.sample.planned for one in runs])
    times = [one.seconds if place in measured else predicted[place].seconds for place, one in enumerate(runs)]
    return pareto(range(len(runs)), lambda place: times[place], lambda place: macs(runs[place]))


def macs(one: Timed) -> float:
    """Return the MACs of a run: what is maximised."""
    return float(one.sample.planned.figures.macs)


def print_noise(runs: Sequence[Timed], again: Sequence[tuple[Timed, Timed]]) -> None:
    """Print how far runs are from themselves: in other passes, in another process, and from their layers."""
    halves = [abs(median(one.passes[::2]) / median(one.passes[1::2]) - 1) for one in runs if len(one.passes) > 3]
    print(f"  {'noise: passes, every other one':38s} {shares(np.array(halves))}")
    if again:
        processes = [abs(one.seconds / other.seconds - 1) for one, other in again]
        print(f"  {f'noise: {len(again)} runs in another process':38s} {shares(np.array(processes))}")
    timed = [one for one in runs if one.sample.layers]
    if timed:
        rows = np.array([[sum((s.sample.layers or {}).values()), len(s.sample.layers or {}) * 1e-5] for s in timed])
        rows /= np.array([one.seconds for one in timed])[:, None]
        weights = np.linalg.lstsq(rows, np.ones(len(rows)), rcond=None)[0]
        print(f"  {'noise: a run from its own layers':38s} {shares(np.abs(rows @ weights - 1))}")


def main() -> None:
    """Collect times, or judge models on those that were collected."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=Path, help="file of times, a line for each network")
    parser.add_argument("--collect", type=int, default=0, metavar="N", help="measure so many networks first")
    parser.add_argument("--runtimes", default=",".join(RUNTIMES), help="names of runtimes, separated by commas")
    parser.add_argument("--allocator", default="system", help="system or keep")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--by-layer", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(
            json.dumps(
                measure(
                    json.loads(arguments.one), arguments.runtimes.split(","), arguments.allocator, arguments.by_layer
                )
            )
        )
        return
    if not arguments.times:
        parser.error("--times is missing")
    if arguments.collect:
        collect(arguments.times, arguments.collect, arguments.runtimes, arguments.allocator)
    print(f"  {LEARNED} runs predict the others".ljust(40), "within 10 %   median  95 % of   covered  interval")
    for runtime, timed in read(arguments.times).items():
        runs = [one[0] for one in timed]
        times = [one.seconds * 1e3 for one in runs]
        print(f"{runtime}, {len(runs)} networks, {min(times):.1f} to {max(times):.1f} ms")
        judge_simple("a line in MACs", runs, by_line)
        judge_simple("least squares on four kinds", runs, by_kinds)
        judge("model, times of runs alone", runs, list(draws(runs, layered=False)), layered=False)
        layered = any(one.sample.layers for one in runs)
        if layered:
            judge("model, layers, at random", runs, list(draws(runs, layered=True)), layered=True)
        chosen = chosen_places(runs, layered)
        judge("model, layers, chosen" if layered else "model, chosen", runs, [chosen], layered)
        print_noise(runs, [(one[0], one[1]) for one in timed if len(one) > 1])
        judge_frontier(runs, chosen)


if __name__ == "__main__":
    main()
