"""The speed-up that the advice of `bench --by-layer` promises, against the speed-up that its change then brings.

Twenty networks, each at a small and a large size, by the runtimes eager and channels-last in turn. Layers are timed and
advice is given as `mnfpn bench --by-layer` does; then the network and the changed one run in turn. All runs are on one
thread and timed by its CPU time, so that other work on the machine changes little.

    python benchmarks/advice.py
    python benchmarks/advice.py --networks 5
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import torch

from mnfpn_cli.devices.timers import HostMarks, HostTimer
from mnfpn_cli.measure.layer_times import LayerTimes
from mnfpn_cli.measure.module_times import time_modules
from mnfpn_cli.network.network import build_network
from mnfpn_cli.plan.advice import best_advice
from mnfpn_cli.plan.network import plan_network
from mnfpn_cli.plan.roofline import LayerWork, network_work
from mnfpn_cli.plan.rules import network_input, resolve
from mnfpn_cli.runtimes.runtime import Job, load_runtime
from mnfpn_cli.settings.files import read_preset
from mnfpn_cli.settings.input import ITEM_BYTES, NetworkInput, Size, parse_size
from mnfpn_cli.settings.network import NetworkSettings
from mnfpn_cli.settings.overrides import parse_override
from mnfpn_cli.settings.sources import Source
from mnfpn_cli.trace.inputs import input_tensors

NETWORKS = (
    "mobilenetv2-fpn",
    "mobilenetv2-fpn width_mult=0.5",
    "mobilenetv2-fpn pyramid.channels=64",
    "mobilenetv2-fpn pyramid.levels=p3-p5",
    "mobilenetv2-fpn pyramid.smooth=separable",
    "mobilenetv2-fpn pyramid.smooth=none",
    "mobilenetv2-fpnlite",
    "mobilenetv2-fpnlite width_mult=0.5",
    "mobilenetv2-fpnlite head.depth=2",
    "mobilenetv2-fpnlite pyramid.channels=64",
    "mobilenetv2-classifier",
    "mobilenetv2-classifier width_mult=1.4",
    "mobilenetv2-classifier width_mult=0.35",
    "mobilenetv2-dynamic-fpn",
    "retina-fpn pyramid.channels=128",
    "fpnssd pyramid.channels=128",
    "mobilenetv2-fpn head.kind=fcos pyramid.levels=p3-p5 pyramid.channels=96",
    "mobilenetv2-fpn head.kind=ssdlite pyramid.levels=p4-p5",
    "mobilenetv2-fpn head.kind=retinanet head.classes=20 pyramid.levels=p4-p5 pyramid.channels=128 head.depth=1",
    "mobilenetv2-fpn width_mult=0.75 pyramid.levels=p4-p5 pyramid.channels=96",
)
"""A preset, and what is changed of it."""

SIZES = ("64x64", "32x32", "80x80"), ("224x224", "192x256", "288x288")
"""Small and large ones, in turn."""

RUNTIMES = ("eager", "channels-last")
WITHIN = 0.1


@dataclass(frozen=True)
class Case:
    """A network at a size by a runtime."""

    name: str
    runtime: str
    settings: NetworkSettings
    input: NetworkInput

    @property
    def works(self) -> tuple[LayerWork, ...]:
        """The work of its layers in float32."""
        return network_work(plan_network(self.settings), self.input, ITEM_BYTES["float32"])

    def changed(self, overrides: tuple[str, ...]) -> "Case":
        """The case with changed settings."""
        sources = [Source("settings", self.settings.model_dump(mode="json")), *map(parse_override, overrides)]
        settings = resolve(sources).at(self.input.size)
        return Case(self.name, self.runtime, settings, network_input(settings, self.input.size))

    def prepared(self) -> tuple[Callable[[], object], torch.nn.Module]:
        """A pass, and the network that it runs."""
        network = build_network(self.settings).eval()
        job = Job(network, True, input_tensors(self.input), torch.device("cpu"), "float32")
        return load_runtime(self.runtime).prepare(job).run, job.network


def cases(count: int) -> list[Case]:
    """The networks, each at a small and at a large size."""
    made = []
    for index, name in enumerate(NETWORKS[:count]):
        preset, *overrides = name.split()
        for which, sizes in enumerate(SIZES):
            size: Size = parse_size(sizes[index % len(sizes)])
            settings = resolve([read_preset(preset), *map(parse_override, overrides)]).at(size)
            runtime = RUNTIMES[(index + which) % 2]
            made.append(Case(name, runtime, settings, network_input(settings, size)))
    return made


def layer_times(case: Case, passes: int) -> LayerTimes:
    """The times of a case's layers, in CPU time of this thread."""
    run, network = case.prepared()
    return time_modules(run, network, case.works, HostMarks(time.thread_time), passes)


def speed_up(before: Case, after: Case, pairs: int) -> float:
    """The median ratio of the times of two cases whose passes alternate, in either order."""
    timer = HostTimer(time.thread_time)
    runs = [case.prepared()[0] for case in (before, after)]
    for run in runs * 2:
        run()
    ratios = []
    for index in range(pairs):
        order = runs if index % 2 else runs[::-1]
        seconds = {id(run): timer(run).seconds for run in order}
        ratios.append(seconds[id(runs[0])] / seconds[id(runs[1])])
    return median(ratios)


@torch.inference_mode()
def main() -> None:
    """Profile each case, take the advice, and print the promised and the measured speed-up."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=int, default=len(NETWORKS))
    parser.add_argument("--seconds", type=float, default=1.2, help="of layers timed, and of pairs, for each case")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{'network':66}  {'runtime':13}  {'size':>7}  promised  measured  error  advice")
    errors = []
    for case in cases(options.networks):
        run, _ = case.prepared()
        run()
        passes = max(5, min(40, int(options.seconds / 2 / HostTimer(time.thread_time)(run).seconds)))
        times = layer_times(case, passes)
        advice = best_advice(case.settings, case.works, case.input, ITEM_BYTES["float32"], times.without_marks)
        label = f"{case.name:66}  {case.runtime:13}  {case.input.size!s:>7}"
        if advice is None:
            print(f"{label}  no change is advised", flush=True)
            continue
        measured = speed_up(case, case.changed(advice.overrides), passes)
        errors.append(advice.speed_up / measured - 1)
        numbers = f"{advice.speed_up:6.2f} ×  {measured:6.2f} ×  {errors[-1]:+5.0%}"
        print(f"{label}  {numbers}  {' '.join(advice.overrides)}", flush=True)
    close = sum(abs(error) <= WITHIN for error in errors)
    middle = median(map(abs, errors))
    print(
        f"within {WITHIN:.0%}: {close} of {len(errors)}, median error {middle:.1%}, largest {max(errors, key=abs):+.0%}"
    )


if __name__ == "__main__":
    main()
