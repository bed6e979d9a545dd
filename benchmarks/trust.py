"""mnfpn's median of a pass against other clocks: `torch.utils.benchmark`, and a plain loop. Target: within 2 %.

All three time the same prepared pass, in turn, a fraction of a second each. The plain loop reads the clock between
passes; on a GPU it records events between them, and waits once, at the end. `torch.utils.benchmark` knows the mean of a
round alone. Ratios are those of a round; what is printed is their median over the rounds, and the least and the most.

On a GPU, `memory` holds the peak that `bench` states against torch's allocator in another process, and against the
driver; `queued` the host's time for a pass against torch's profiler.

    python benchmarks/trust.py times --size 224x224
    python benchmarks/trust.py times --device cuda --size 600x900 --dtype float16 --batch 8
    python benchmarks/trust.py queued --device cuda
    python benchmarks/trust.py memory --device cuda
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from itertools import pairwise
from statistics import mean, median
from typing import Any

import torch
from torch.profiler import DeviceType, ProfilerActivity, profile
from torch.utils import benchmark

from mnfpn_cli.devices.choose import choose_devices, device_of
from mnfpn_cli.devices.timers import Timer
from mnfpn_cli.errors import MnfpnError
from mnfpn_cli.measure.engine import warm_up
from mnfpn_cli.network.network import build_network
from mnfpn_cli.runtimes.runtime import Job, Prepared, load_runtime
from mnfpn_cli.settings.input import parse_size
from mnfpn_cli.settings.network import NetworkSettings

Run = Callable[[], object]

CLOCKS = ("mnfpn", "torch", "loop")

ALONE = """
import torch
from mnfpn_cli.network.network import build_network
from mnfpn_cli.settings.network import NetworkSettings

device = torch.device("{device}")
with torch.inference_mode():
    network = build_network(NetworkSettings()).to(device)
    images = torch.rand({batch}, 3, {height}, {width}, device=device)
    for _ in range(3):
        network(images)
    torch.cuda.reset_peak_memory_stats(device)
    network(images)
    torch.cuda.synchronize(device)
print(torch.cuda.max_memory_allocated(device), torch.cuda.max_memory_reserved(device))
"""
"""A pass in a process of its own, and what torch's allocator handed out and took for it."""


def by_mnfpn(run: Run, timer: Timer, passes: int) -> list[float]:
    """The seconds of each pass, as `bench` has them."""
    return [timer(run).seconds for _ in range(passes)]


def by_torch(run: Run, passes: int) -> float:
    """The mean seconds of a pass, by torch's own benchmark."""
    timer = benchmark.Timer("run()", globals={"run": run}, num_threads=torch.get_num_threads())
    return float(timer.timeit(passes).mean)


def by_loop(run: Run, device: torch.device, passes: int) -> list[float]:
    """The seconds between the ends of passes that follow one another at once."""
    if device.type != "cuda":
        ends = [time.perf_counter()]
        for _ in range(passes):
            run()
            ends.append(time.perf_counter())
        return [end - start for start, end in pairwise(ends)]
    events = [torch.cuda.Event(enable_timing=True) for _ in range(passes + 1)]  # type: ignore[no-untyped-call]
    torch.cuda.synchronize(device)
    events[0].record()
    for event in events[1:]:
        run()
        event.record()
    torch.cuda.synchronize(device)
    return [start.elapsed_time(end) / 1e3 for start, end in pairwise(events)]


def prepared_runs(options: argparse.Namespace, device: torch.device) -> dict[str, Prepared]:
    """The passes of all runtimes that can run here."""
    network = build_network(NetworkSettings())
    images = torch.rand(options.batch, 3, *parse_size(options.size))
    runs = dict[str, Prepared]()
    for name in options.runtime.split(","):
        runtime = load_runtime(name)
        try:
            if reason := runtime.unavailable_reason(device, options.dtype, False):
                raise MnfpnError(reason)
            runs[name] = runtime.prepare(Job(deepcopy(network), True, (images,), device, options.dtype))
        except MnfpnError as error:
            print(f"{name:14} {error}")
    return runs


def ratios(values: Sequence[float]) -> str:
    """The median, the least and the most."""
    return f"{median(values):.4f} ({min(values):.3f} to {max(values):.3f})"


def times(options: argparse.Namespace, device: torch.device) -> None:
    """Print each clock's figure over mnfpn's."""
    timer = device_of(device).timer()
    print(f"{'':14} {'mnfpn':>10}   {'torch.utils.benchmark / mnfpn':30} {'plain loop / mnfpn':30}")
    for name, prepared in prepared_runs(options, device).items():
        run = prepared.run
        warm_up(run, timer)
        passes = max(5, round(options.seconds / timer(run).seconds))
        medians, of_torch, of_loop = list[float](), list[float](), list[float]()
        for done in range(options.rounds):
            taken = dict[str, Any]()
            for clock in (*CLOCKS[done % 3 :], *CLOCKS[: done % 3]):
                match clock:
                    case "mnfpn":
                        taken[clock] = by_mnfpn(run, timer, passes)
                    case "torch":
                        taken[clock] = by_torch(run, passes)
                    case "loop":
                        taken[clock] = by_loop(run, device, passes)
            medians.append(median(taken["mnfpn"]))
            of_torch.append(taken["torch"] / mean(taken["mnfpn"]))
            of_loop.append(median(taken["loop"]) / medians[-1])
        print(f"{name:14} {median(medians) * 1e3:7.3f} ms   {ratios(of_torch):30} {ratios(of_loop):30}", flush=True)


def queued(options: argparse.Namespace, device: torch.device) -> None:
    """Print the host's time for a pass, by mnfpn and by torch's profiler, and the time of the kernels."""
    timer = device_of(device).timer()
    for name, prepared in prepared_runs(options, device).items():
        warm_up(prepared.run, timer)
        timings = [timer(prepared.run) for _ in range(options.rounds)]
        with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiled:
            for _ in range(options.rounds):
                timer(prepared.run)
        events = profiled.events() or []
        launches = [event.cpu_time for event in events if "Launch" in event.name]
        kernels = [event.device_time for event in events if event.device_type == DeviceType.CUDA]
        launched, computed = (sum(some) / options.rounds / 1e3 for some in (launches, kernels))
        print(
            f"{name:14} pass {median(one.seconds for one in timings) * 1e3:.3f} ms, queued in "
            f"{median(one.enqueue or 0.0 for one in timings) * 1e3:.3f} ms; profiler, of a pass: "
            f"{len(launches) / options.rounds:.0f} launches of {launched:.3f} ms, "
            f"{len(kernels) / options.rounds:.0f} kernels of {computed:.3f} ms",
            flush=True,
        )


def memory(options: argparse.Namespace, device: torch.device) -> None:
    """Print the memory of a pass: what `bench` states, what torch's allocator says elsewhere, and the driver."""
    size = parse_size(options.size)
    command = f"bench --device {device} --size {size} --batch {options.batch} --isolate --passes 20 --json --quiet"
    done = subprocess.run([sys.executable, "-m", "mnfpn_cli", *command.split()], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    (run,) = json.loads(done.stdout)["runs"]
    alone = ALONE.format(device=device, batch=options.batch, height=size.height, width=size.width)
    handed, taken = subprocess.run(
        [sys.executable, "-c", alone], capture_output=True, text=True, check=True
    ).stdout.split()
    print(f"bench: { ({key: value for key, value in run.items() if 'memory' in key}) }")
    print(f"torch in another process: {int(handed):,} bytes handed out at most, {int(taken):,} taken from the driver")


def main() -> None:
    """Hold one of the three against others."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["times", "queued", "memory"])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--size", default="224x224")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--runtime", default="eager,channels-last,fused,compiled,cuda-graph")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=0.5, help="of each clock in a round")
    options = parser.parse_args()
    (device,) = choose_devices([options.device])
    if options.what != "times" and device.type != "cuda":
        parser.error(f"{options.what} needs a GPU")
    with torch.inference_mode(), device_of(device).current():
        {"times": times, "queued": queued, "memory": memory}[options.what](options, device)


if __name__ == "__main__":
    main()
