"""mnfpn's median of a pass against other clocks: `torch.utils.benchmark`, and a plain loop. Target: within 2 %.

All three time the same prepared pass, in turn, a fraction of a second each. The plain loop reads the clock between
passes; on a GPU it records events between them, and waits once, at the end. `torch.utils.benchmark` knows the mean of a
round alone, so it is held against mnfpn's mean, and the loop's median against the median. Ratios are those of a round;
what is printed is their median over the rounds, and the least and the most.

`asleep` says what the processes of runs take of a core while others have their turns.

On a GPU, `memory` holds the peak that `bench` states against torch's allocator in another process, and against the
driver; `queued` the host's time for a pass against torch's profiler.

    python benchmarks/trust.py times --size 224x224
    python benchmarks/trust.py times --device cuda --size 600x900 --dtype float16 --batch 8
    python benchmarks/trust.py asleep --runtime eager,fused,onnxruntime,openvino,executorch
    python benchmarks/trust.py queued --device cuda
    python benchmarks/trust.py memory --device cuda
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from copy import deepcopy
from itertools import pairwise
from statistics import mean, median
from typing import Any

import psutil
import torch
from torch.profiler import DeviceType, ProfilerActivity, profile, record_function
from torch.utils import benchmark

from mnfpn_cli.bench.processes import RunProcess
from mnfpn_cli.devices.choose import choose_devices, device_of
from mnfpn_cli.devices.timers import Timer
from mnfpn_cli.documents.records import InputRecord
from mnfpn_cli.documents.worker import RunRequest, SamplingRecord
from mnfpn_cli.errors import MnfpnError
from mnfpn_cli.measure.engine import TimedRun, settling_of, warm_up
from mnfpn_cli.network.network import build_network
from mnfpn_cli.runtimes.runtime import Job, Prepared, load_runtime
from mnfpn_cli.settings.input import parse_size
from mnfpn_cli.settings.network import NetworkSettings

Run = Callable[[], object]

CLOCKS = ("mnfpn", "torch", "loop")

PASS = "a pass of mnfpn's"
"""The name of a pass in a profile."""

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

        def run(pass_: Run = prepared.run) -> object:
            with record_function(PASS):
                return pass_()

        with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiled:
            for _ in range(options.rounds):
                timer(run)
        events = profiled.events() or []
        on_gpu = [event for event in events if event.device_type == DeviceType.CUDA and event.name != PASS]
        host = [event.cpu_time for event in events if event.device_type == DeviceType.CPU and event.name == PASS]
        computed = sum(event.device_time for event in on_gpu if not event.is_user_annotation) / options.rounds
        print(
            f"{name:14} pass {median(one.seconds for one in timings) * 1e3:.3f} ms, queued in "
            f"{median(one.enqueue or 0.0 for one in timings) * 1e3:.3f} ms; by the profiler, which adds to it, "
            f"{median(host) / 1e3:.3f} ms; kernels {computed / 1e3:.3f} ms",
            flush=True,
        )


def asleep(options: argparse.Namespace, device: torch.device) -> None:
    """Print the processor time that each run's process takes while another has its turn, in per cent of a core."""
    size, names = parse_size(options.size), [one for one in options.runtime.split(",") if one != "cuda-graph"]
    requests = [
        RunRequest(
            settings=NetworkSettings(),
            input=InputRecord(batch=options.batch, channels=3, height=size.height, width=size.width, shapes=None),
            runtime=name,
            device=str(device),
            dtype=options.dtype,
            threads=None,
            train=False,
            sampling=SamplingRecord(),
            by_layer=False,
        )
        for name in names
    ]
    settling = settling_of(device.type, [f"{number} {name}" for number, name in enumerate(names)])  # processes
    busy, turns = [0.0] * len(names), 0.0
    with ExitStack() as stack:
        runs = [stack.enter_context(closing(RunProcess(request))) for request in requests]
        for run in runs:
            run.load(lambda *_: None)
        for run in runs:
            run.prepare(lambda *_: None)
        for _ in range(options.rounds):
            for run in runs:
                if settling:
                    TimedRun(lambda: None, run).settle(settling)
                before, start = [taken(one.pid) for one in runs], time.perf_counter()
                while time.perf_counter() < start + options.seconds / 5:
                    run(lambda: None)
                turns += time.perf_counter() - start
                for index, other in enumerate(runs):
                    busy[index] += (taken(other.pid) - before[index]) * (other is not run)
    others = turns * (len(runs) - 1) / len(runs)
    for name, seconds in zip(names, busy, strict=True):
        print(f"{name:14} {seconds / others:.2%} of a core in {others:.0f} s of the others' turns")


def taken(pid: int) -> float:
    """The seconds of processor time that a process has taken."""
    return float(sum(psutil.Process(pid).cpu_times()[:2]))


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


MODES = {"times": times, "asleep": asleep, "queued": queued, "memory": memory}


def main() -> None:
    """Hold a figure against those of others."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=list(MODES))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--size", default="224x224")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--runtime", default="eager,channels-last,fused,compiled,cuda-graph")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=0.5, help="of each clock in a round")
    options = parser.parse_args()
    (device,) = choose_devices([options.device])
    if options.what in ("queued", "memory") and device.type != "cuda":
        parser.error(f"{options.what} needs a GPU")
    with torch.inference_mode(), device_of(device).current():
        MODES[options.what](options, device)


if __name__ == "__main__":
    main()
