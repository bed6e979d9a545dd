"""How often a comparison is wrong: a network against itself, and against itself with a planted difference.

`copies`: in one process, against a delay of 3 %. Each comparison is made twice, with the same number of passes: by
mnfpn's engine (A B B A, the interval of the ratio of blocks against a margin of 1 %), and one after the other with a
rank test at 5 %, as it is usually done.

`processes`: by `mnfpn compare --processes`, at a gate of 3 %, against 21 layers where there are 20, beside a load that
comes and goes. Each comparison is a line of the file `--record`; a second call resumes where the first was ended.

`luck`: how much processes of one network differ, with each allocator, and the pages that each prepares in a pass.

    python benchmarks/quality.py copies --same 200 --delayed 100 --seconds 5
    python benchmarks/quality.py copies --same 50 --delayed 20 --size 224 --device cuda
    python benchmarks/quality.py processes --same 200 --planted 80 --record quality.jsonl
    python benchmarks/quality.py luck --count 16
"""

import argparse
import json
import math
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from copy import deepcopy
from functools import partial
from pathlib import Path
from statistics import median, stdev
from tempfile import TemporaryDirectory
from typing import Any

import torch
from scipy.stats import mannwhitneyu

from mnfpn_cli.bench.processes import RunProcess
from mnfpn_cli.devices.choose import choose_devices, device_of
from mnfpn_cli.devices.device import Device
from mnfpn_cli.devices.timers import Timer
from mnfpn_cli.documents.records import InputRecord
from mnfpn_cli.documents.worker import RunRequest, SamplingRecord
from mnfpn_cli.measure.engine import RatioRule, TimedRun, settling_of, take_samples, warm_up
from mnfpn_cli.measure.statistics import TimeRatio, paired_ratio
from mnfpn_cli.network.network import build_network
from mnfpn_cli.settings.measuring import Allocator, Sampling
from mnfpn_cli.settings.network import NetworkSettings

MARGIN = 0.01
DELAY = 0.03

Run = Callable[[], object]


def twice(size: int, device: torch.device) -> tuple[Run, Run]:
    """Passes of two copies of the default network, made as `compare` makes its sides."""
    network, images = build_network(NetworkSettings()).to(device), torch.rand(1, 3, size, size, device=device)
    a, b = deepcopy(network), deepcopy(network)
    return partial(a, images), partial(b, images)


def delayed(run: Run, device: Device) -> Run:
    """The same pass to its end, and a wait of a fixed share of the time that it took."""

    def slower() -> None:
        start = time.perf_counter()
        run()
        device.synchronize()
        end = time.perf_counter()
        until = end + DELAY * (end - start)
        while time.perf_counter() < until:
            pass

    return slower


def interleaved(a: Run, b: Run, device: Device, seconds: float) -> tuple[str, float, int]:
    """The verdict, the ratio and the number of passes of a side."""
    runs = [TimedRun(a, device.timer()), TimedRun(b, device.timer())]
    rule = RatioRule(Sampling(precision=MARGIN / 2, min_time_s=0.5, max_time_s=seconds))
    take_samples(runs, rule, settling=settling_of(device.torch.type, ["eager", "eager"]))
    ratio = paired_ratio(runs[0].samples, runs[1].samples)
    assert ratio is not None
    return ratio.verdict(MARGIN), ratio.value, len(runs[0].samples)


def one_after_the_other(a: Run, b: Run, timer: Timer, passes: int) -> tuple[str, float]:
    """What a rank test says of the medians."""
    first, second = ([timer(run).seconds for _ in range(passes)] for run in (a, b))
    ratio = median(second) / median(first)
    if mannwhitneyu(first, second).pvalue >= 0.05:
        return "same", ratio
    return "a_faster" if ratio > 1 else "b_faster", ratio


def experiment(title: str, a: Run, b: Run, device: Device, count: int, seconds: float) -> None:
    """Compare so many times, both ways in turn, and print what they said."""
    ours, theirs = Counter[str](), Counter[str]()
    our_ratios, their_ratios, passes = [], [], []
    for done in range(count):
        print(f"{done} of {count}", end="\r", file=sys.stderr)
        verdict, ratio, n = interleaved(a, b, device, seconds)
        ours[verdict] += 1
        our_ratios.append(ratio)
        passes.append(n)
        verdict, ratio = one_after_the_other(a, b, device.timer(), n)
        theirs[verdict] += 1
        their_ratios.append(ratio)
    print(f"{title}: {count} comparisons, {median(passes):.0f} passes a side")
    for name, verdicts, ratios in (("A B B A", ours, our_ratios), ("one after the other", theirs, their_ratios)):
        shares = ", ".join(f"{verdict} {verdicts[verdict]}" for verdict in sorted(verdicts))
        print(f"  {name:20} {shares}; ratios {min(ratios):.4f} to {max(ratios):.4f}, median {median(ratios):.4f}")


@torch.inference_mode()
def copies(options: argparse.Namespace) -> None:
    """Compare copies in this process, both ways."""
    torch.set_num_threads(options.threads)
    device = device_of(*choose_devices([options.device]))
    a, b = twice(options.size, device.torch)
    with device.current():
        for run in (a, b):
            warm_up(run, device.timer())
        experiment("A network against itself", a, b, device, options.same, options.seconds)
        slower = delayed(b, device)
        experiment(f"Against itself, {DELAY:.0%} slower", a, slower, device, options.delayed, options.seconds)


LAYERS = '''
from torch import nn


class Layers(nn.Sequential):
    """So many convolutions, each as expensive as the others."""

    def __init__(self, layers):
        super().__init__(*(nn.Conv2d(24, 24, 3, padding=1) for _ in range(layers)))
'''

LOAD = """
import os, random, time
parent = os.getppid()
while os.getppid() == parent:
    end = time.perf_counter() + random.expovariate(1)
    while time.perf_counter() < end:
        pass
    time.sleep(random.expovariate(1))
"""

PLANTED = {"the same": (20, 20), "B 5% slower": (20, 21), "A 5% slower": (21, 20)}
"""Layers of A and B. Half of the planted differences are the other way round."""


@contextmanager
def load() -> Iterator[None]:
    """A process that takes a core for a second, and lets it be for a second, on average."""
    process = subprocess.Popen([sys.executable, "-c", LOAD])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def compared(file: Path, kind: str, options: argparse.Namespace) -> dict[str, Any]:
    """Compare once by the command; return what it found."""
    a, b = PLANTED[kind]
    command = (
        f"compare --model {file}:Layers --a=--model-arg=layers={a} --b=--model-arg=layers={b} --input 1x24x48x48 "
        f"--processes {options.processes} --threads {options.threads} --allocator {options.allocator} "
        f"--margin {options.gate} --precision {options.precision} --max-time {options.seconds} --json --quiet"
    )
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-m", "mnfpn_cli", *command.split()], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    document = json.loads(done.stdout)
    (run,) = document["runs"]
    passes = len(run["a"]["latency_s"]["samples"])
    result = {name: document[name] for name in ("verdict", "ratio", "ratio_ci95")}
    return {"kind": kind, "passes": passes, "seconds": time.perf_counter() - start, **result}


def processes(options: argparse.Namespace) -> None:
    """Compare by the command until there are so many of the same and of planted differences, and print what it said."""
    found = [json.loads(line) for line in options.record.read_text().splitlines()] if options.record.exists() else []
    kinds = {"the same": options.same, "B 5% slower": options.planted // 2, "A 5% slower": options.planted // 2}
    done = Counter(one["kind"] for one in found)
    order = sorted((k / count, kind) for kind, count in kinds.items() for k in range(done[kind], count))  # evenly mixed
    with TemporaryDirectory() as folder, load():
        file = Path(folder, "layers.py")
        file.write_text(LAYERS)
        for _, kind in order:
            found.append(compared(file, kind, options))
            with options.record.open("a") as record:
                record.write(json.dumps(found[-1]) + "\n")
            print(f"{len(found)} of {sum(kinds.values())}", found[-1], file=sys.stderr)
            if len(found) % 20 == 0:
                print_found(found)
    print_found(found)


def print_found(found: list[dict[str, Any]]) -> None:
    """Print the verdicts of each kind, and how wide the intervals were."""
    for kind in PLANTED:
        some = [one for one in found if one["kind"] == kind]
        if not some:
            continue
        verdicts, ratios = Counter(one["verdict"] for one in some), [one["ratio"] for one in some]
        half = sorted((one["ratio_ci95"][1] - one["ratio_ci95"][0]) / 2 for one in some)
        shares = ", ".join(f"{verdict} {verdicts[verdict]}" for verdict in sorted(verdicts))
        print(
            f"{kind:12} {len(some)} comparisons of {median(one['seconds'] for one in some):.0f} s: {shares}; "
            f"ratios {min(ratios):.4f} to {max(ratios):.4f}, median {median(ratios):.4f}, ± {median(half):.2%}, "
            f"of nine in ten below {half[len(half) * 9 // 10]:.2%}",
            flush=True,
        )


def luck(options: argparse.Namespace) -> None:
    """Time pairs of processes of the default network, and print their ratios and their pages."""
    allocators: tuple[Allocator, ...] = ("system", "keep")
    for allocator in allocators:
        ratios, pages = list[TimeRatio](), list[float]()
        request = RunRequest(
            settings=NetworkSettings(),
            input=InputRecord(batch=1, channels=3, height=options.size, width=options.size, shapes=None),
            runtime="eager",
            device="cpu",
            dtype="float32",
            threads=options.threads,
            train=False,
            allocator=allocator,
            sampling=SamplingRecord(),
            by_layer=False,
        )
        for _ in range(options.count):
            with closing(RunProcess(request)) as a, closing(RunProcess(request)) as b:
                runs = [TimedRun(lambda: None, process) for process in (a, b)]
                for process in (a, b):
                    process.load(lambda _doing, _share: None)
                    process.prepare(lambda _doing, _share: None)
                rule = RatioRule(Sampling(passes=options.passes, min_time_s=0.0, max_time_s=math.inf))
                take_samples(runs, rule, settling=settling_of("cpu", "AB"))
            ratio = paired_ratio(*(run.samples for run in runs))
            assert ratio is not None
            ratios.append(ratio)
            pages += [(run.faults or 0) / len(run.samples) for run in runs]
            print(f"{allocator}: {ratio.value:.4f} ± {ratio.half_width:.2%}", file=sys.stderr)
        values, several = [one.value for one in ratios], f"{min(pages):,.0f} to {max(pages):,.0f}"
        print(
            f"{allocator:6} {options.count} pairs: ratios {min(values):.4f} to {max(values):.4f}, standard deviation "
            f"{stdev(map(math.log, values)):.2%}, each ± {median(one.half_width for one in ratios):.2%}; "
            f"pages prepared in a pass: {several}, median {median(pages):,.0f}",
            flush=True,
        )


def main() -> None:
    """Compare in one process, or in several."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    modes = parser.add_subparsers(required=True)
    in_one = modes.add_parser("copies")
    in_one.set_defaults(run=copies)
    in_one.add_argument("--same", type=int, default=200)
    in_one.add_argument("--delayed", type=int, default=100)
    in_one.add_argument("--seconds", type=float, default=5.0, help="the most for timing one comparison")
    in_one.add_argument("--size", type=int, default=32)
    in_one.add_argument("--device", default="cpu")
    in_one.add_argument("--threads", type=int, default=1, help="of the CPU; one of them is left to other work")
    in_several = modes.add_parser("processes")
    in_several.set_defaults(run=processes)
    in_several.add_argument("--same", type=int, default=200)
    in_several.add_argument("--planted", type=int, default=80, help="an even number: half of them with A slower")
    in_several.add_argument("--record", type=Path, default=Path("quality.jsonl"))
    in_several.add_argument("--processes", type=int, default=4)
    in_several.add_argument("--threads", type=int, default=1)
    in_several.add_argument("--allocator", default="keep")
    in_several.add_argument("--gate", default="3%")
    in_several.add_argument("--precision", default="1%")
    in_several.add_argument("--seconds", type=float, default=8.0, help="the most for timing one comparison")
    of_luck = modes.add_parser("luck")
    of_luck.set_defaults(run=luck)
    of_luck.add_argument("--count", type=int, default=16, help="pairs of processes")
    of_luck.add_argument("--passes", type=int, default=60)
    of_luck.add_argument("--size", type=int, default=128)
    of_luck.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
