"""What each step of the runtime `fused` brings, each with all steps before it, beside ONNX Runtime and OpenVINO.

    python benchmarks/fused_steps.py --size 600x900 --threads 2
    python benchmarks/fused_steps.py --part backbone --threads 1 --processor-time
    python benchmarks/fused_steps.py --part classifier --size 224 --threads 1 --processor-time
    python benchmarks/fused_steps.py --part detector --size 320 --dtype bfloat16
    python benchmarks/fused_steps.py --part network --dtype int8

With one thread, and by the time that the processor took (`--processor-time`), other work on the machine hardly
counts. On a processor with AMX, the kernels of `fused` multiply by tiles in bfloat16 and int8; here they are timed by
vectors too. In int8, all steps before the kernels are in float32.
`backbone` is that of the default network up to its taps, and has a second table: the share of its floor that each
stage reaches, before our own kernels and with them.
"""

import argparse
import resource
import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import replace
from functools import partial
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from mnfpn_cli.devices.timers import HostTimer, Timing
from mnfpn_cli.measure.engine import OTHER_RUNTIME, TimedRun
from mnfpn_cli.measure.peaks import measure_peaks
from mnfpn_cli.measure.verify import largest_difference
from mnfpn_cli.network.network import Network, build_network
from mnfpn_cli.plan.roofline import Peaks, network_work, roofline
from mnfpn_cli.quantization.quantization import Quantization
from mnfpn_cli.runtimes.fused import fuse
from mnfpn_cli.runtimes.fused.folded import Optimizations
from mnfpn_cli.runtimes.fused.kernels import made_kernels
from mnfpn_cli.runtimes.fused.use import executed_with_kernels
from mnfpn_cli.runtimes.runtime import Job, as_tensors, load_runtime
from mnfpn_cli.settings.files import read_preset
from mnfpn_cli.settings.input import DType, NetworkInput, Size, parse_size
from mnfpn_cli.settings.network import NetworkSettings

Pass = Callable[[], Sequence[Tensor]]
Clock = Callable[[], float]

CPU = torch.device("cpu")
BEFORE, AFTER, BY_TILES = "+ levels smoothed early", "+ own kernels", "+ own kernels, by AMX"
STEPS = {
    "batch norm folded": (Optimizations(), torch.contiguous_format),
    "+ channels last": (Optimizations(), torch.channels_last),
    "+ weights packed, activations inside": (Optimizations(packed=True), torch.channels_last),
    "+ sums inside": (Optimizations(packed=True, added=True), torch.channels_last),
    BEFORE: (Optimizations(packed=True, added=True, early=True), torch.channels_last),
    AFTER: (Optimizations(packed=True, added=True, early=True), torch.channels_last),
    BY_TILES: (Optimizations(packed=True, added=True, early=True), torch.channels_last),
}
PRESETS = {
    "network": "mobilenetv2-fpn",
    "backbone": "mobilenetv2-fpn",
    "classifier": "mobilenetv2-classifier",
    "detector": "mobilenetv2-fpnlite",
}


class Backbone(nn.Module):
    """A network's stem and stages: images (n, 3, h, w) to the maps that its pyramid takes."""

    def __init__(self, network: Network):
        super().__init__()
        self.stem, self.stages, self.tapped = network.stem, network.stages, network.tapped

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the taps, finest first."""
        taps, x = [], self.stem(x)
        for index, stage in enumerate(self.stages):
            x = stage(x)
            if index in self.tapped:
                taps.append(x)
        return tuple(taps)


def modules(part: str, network: Network, images: Tensor, dtype: DType) -> dict[str, nn.Module]:
    """Eager in float32, and the part in a dtype with each step and those before it."""
    quantization = Quantization([(images,)]) if dtype == "int8" else None
    cut: Callable[[Network], nn.Module] = Backbone if part == "backbone" else lambda whole: whole
    made: dict[str, nn.Module] = {"eager": cut(deepcopy(network))}
    for name, (optimizations, order) in STEPS.items():
        has_kernels = name in (AFTER, BY_TILES)
        kernels = made_kernels(dtype, amx=name == BY_TILES) if has_kernels else None
        if kernels or not has_kernels:
            quantized = quantization if kernels else None
            fused = fuse(deepcopy(network), replace(optimizations, kernels=kernels), quantized)
            made[name] = cut(fused).to(memory_format=order, dtype=maps_of(dtype))  # type: ignore[call-overload]
    return made


def maps_of(dtype: DType) -> torch.dtype:
    """The dtype of maps: in int8 the kernels round what they multiply."""
    maps: torch.dtype = getattr(torch, "float32" if dtype == "int8" else dtype)
    return maps


def passes(made: dict[str, nn.Module], images: Tensor, dtype: DType) -> dict[str, Pass]:
    """A pass of each module on its order of the images, and of the other runtimes that have the dtype."""
    runs: dict[str, Pass] = {}
    for name, module in made.items():
        order, own = (STEPS[name][1], maps_of(dtype)) if name in STEPS else (torch.contiguous_format, None)
        runs[name] = partial(_tensors, partial(module, images.to(memory_format=order, dtype=own)))
    for name in ("onnxruntime", "openvino"):
        runtime = load_runtime(name)
        if not runtime.unavailable_reason(CPU, dtype, False):
            quantization = Quantization([(images,)]) if dtype == "int8" else None
            job = Job(deepcopy(made["eager"]), True, (images,), CPU, dtype, quantization=quantization)
            prepared = runtime.prepare(job)
            runs[name] = partial(_tensors, prepared.run, prepared.outputs)
    return runs


def _tensors(run: Callable[[], Any], outputs: Callable[[Any], Sequence[Tensor]] = as_tensors) -> Sequence[Tensor]:
    return outputs(run())


def take(runs: dict[str, Pass], rounds: int, clock: Clock) -> dict[str, list[float]]:
    """Milliseconds of each, there and back again; the passes before a timed one are of the same."""
    samples: dict[str, list[float]] = {name: [] for name in runs}
    for index in range(rounds):
        for name in list(runs) if index % 2 == 0 else reversed(runs):
            TimedRun(runs[name], HostTimer()).settle(OTHER_RUNTIME)
            start = clock()
            runs[name]()
            samples[name].append((clock() - start) * 1e3)
    return samples


def page_faults(run: Pass) -> int:
    """Page faults of a pass."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    run()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def print_steps(runs: dict[str, Pass], rounds: int, clock: Clock) -> dict[str, float]:
    """Print for each its time, × eager, what the step brought, page faults, and how far outputs are from eager's.

    Return the median milliseconds.
    """
    expected = [tensor.clone() for tensor in runs["eager"]()]
    far = {name: largest_difference(run(), expected) for name, run in runs.items()}  # which is a warm-up too
    times = take(runs, rounds, clock)
    first = before = median(times["eager"])
    print(f"{'':38}{'median':>9}{'min':>11}{'× eager':>9}{'brought':>12}{'faults':>8}{'difference':>12}")
    for name, samples in times.items():
        now, faults = median(samples), page_faults(runs[name])
        brought = f"{before - now:9.2f} ms" if name in STEPS else ""
        ratio = first / now
        line = f"{name:38}{now:6.2f} ms{min(samples):8.2f} ms{ratio:9.2f}{brought:>12}{faults:8}{far[name]:12.1e}"
        print(line)
        before = now
    return {name: median(samples) for name, samples in times.items()}


def print_rates(made: dict[str, nn.Module], images: Tensor, medians: dict[str, float], peak: float | None) -> None:
    """Print the MACs that the last steps do in a pass, and their rate beside the device's, where that is known."""
    for name in (BEFORE, AFTER, BY_TILES):
        if name in made:
            macs = sum(one.macs for one in executed_with_kernels(made[name], (images,)).operators)
            rate = macs / medians[name] * 1e3
            beside = f" of {peak / 1e9:.0f} GMAC/s, {rate / peak:.2f}" if peak else " GMAC/s"
            print(f"{name}: {macs / 1e9:.2f} GMAC at {rate / 1e9:.0f}{beside}")


def print_floors(
    made: dict[str, nn.Module], network: Network, images: Tensor, rounds: int, clock: Clock, peaks: Peaks
) -> None:
    """Print the floor of each stage and the share of it that was reached; the kernels run stage 0 with the stem."""
    size = Size(*images.shape[-2:])
    floors: dict[str, float] = {}
    works = network_work(network.plan, NetworkInput(1, 3, size), item_bytes=images.element_size())
    for one in roofline(works, peaks).floors:
        name = "stages.0" if one.part == "stem" else one.part
        floors[name] = floors.get(name, 0.0) + one.seconds * 1e3
    fastest = {
        name: stage_times(made[name], images, rounds, clock) for name in (BEFORE, AFTER, BY_TILES) if name in made
    }
    print(f"\n{'':38}{'floor':>9}" + "".join(f"{name.removeprefix('+ '):>34}" for name in fastest))
    for index, stage in enumerate(network.plan.backbone.stages):
        count, floor = len(stage.blocks), floors[f"stages.{index}"]
        shown = "".join(f"{times[index]:18.2f} ms{floor / times[index]:11.0%}  " for times in fastest.values())
        blocks = f"{count} block{'s' if count > 1 else ''}"
        print(f"{f'stage {index}: {blocks}' + (' and the stem' if index == 0 else ''):38}{floor:6.2f} ms{shown}")


def stage_times(module: nn.Module, images: Tensor, rounds: int, clock: Clock) -> list[float]:
    """The fewest milliseconds of each stage in passes of the backbone, the first with the stem."""
    assert isinstance(module, Backbone)
    ends: list[float] = []
    hooks = [stage.register_forward_hook(lambda *_: ends.append(clock())) for stage in module.stages]
    images, best = images.to(memory_format=torch.channels_last), [float("inf")] * len(hooks)
    for _ in range(rounds + 1):
        ends[:] = [clock()]
        module(images)
        best = [min(old, (end - start) * 1e3) for old, start, end in zip(best, ends, ends[1:], strict=False)]
    for hook in hooks:
        hook.remove()
    return best


def timed(run: Callable[[], object], clock: Clock) -> Timing:
    """The seconds of a run by a clock."""
    start = clock()
    run()
    return Timing(clock() - start)


@torch.inference_mode()
def main() -> None:
    """Time a part of a network, and for the backbone also its stages."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=tuple(PRESETS), default="network")
    parser.add_argument("--size", default="600x900")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--processor-time", action="store_true")
    parser.add_argument("--dtype", choices=("float32", "bfloat16", "int8"), default="float32")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    clock = time.process_time if options.processor_time else time.perf_counter
    size = parse_size(options.size)
    images = torch.rand(1, 3, *size)
    settings = NetworkSettings.model_validate(read_preset(PRESETS[options.part]).value).at(size)
    network = build_network(settings)
    made = modules(options.part, network, images, options.dtype)
    medians = print_steps(passes(made, images, options.dtype), options.rounds, clock)
    images = images.to(maps_of(options.dtype), memory_format=torch.channels_last)
    # torch has no product in int8 that shows what the device can do.
    peaks = measure_peaks(CPU, options.dtype, lambda run: timed(run, clock)) if options.dtype != "int8" else None
    print_rates(made, images, medians, peaks.macs_per_s if peaks else None)
    if options.part == "backbone" and peaks:
        print_floors(made, network, images, options.rounds, clock, peaks)


if __name__ == "__main__":
    main()
