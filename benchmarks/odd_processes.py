"""How often a process is slow for as long as it lives, and what in it is slow.

Processes of one network of equal layers are started two at a time, each with one thread and kept memory. Of those that
take 1.1 times as long as usual or longer, and still do when they are asked again, this prints the time of a pass

- on each core,
- with other memory: a copy of the network, and another input,
- on maps of other sizes, for as many pixels,
- with the layers' kernel compiled anew: oneDNN keeps 1,024 compiled kernels, and as many others take its place.

    python benchmarks/odd_processes.py --count 320
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from itertools import product
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from mnfpn_cli.devices.allocator import use_allocator

SIDE, CHANNELS, LAYERS = 48, 24, 20
OTHER_SIZES = ((SIDE - 1, SIDE), (SIDE + 1, SIDE))
OTHERS = tuple(product(range(30, 56), range(60, 105)))  # sizes of maps that torch gives to oneDNN
ODD = 1.1
LEAST_FOR_USUAL = 20
"""Processes from which on the usual time is known; of those before, none is called odd."""


def pass_ms(network: Callable[[Tensor], object], images: Tensor) -> float:
    """The median time of a pass, for as many pixels as the usual input has."""
    times = []
    for number in range(45):
        start = time.perf_counter()
        network(images)
        if number >= 5:
            times.append(time.perf_counter() - start)
    return 1e3 * median(times) * SIDE**2 / (images.shape[2] * images.shape[3])


@contextmanager
def on_core(core: int) -> Iterator[None]:
    """Run the block on one core."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def what_is_slow(network: nn.Module, images: Tensor) -> dict[str, float]:
    """The time of a pass under each condition, in milliseconds."""
    found = {"again": pass_ms(network, images)}
    for core in sorted(os.sched_getaffinity(0)):
        with on_core(core):
            found[f"core {core}"] = pass_ms(network, images)
    found["other memory"] = pass_ms(deepcopy(network), images.clone())
    for height, width in OTHER_SIZES:
        found[f"{height}x{width}"] = pass_ms(network, torch.rand(1, CHANNELS, height, width))
    found["before"] = pass_ms(network, images)
    layer = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1)
    for height, width in OTHERS:
        layer(torch.rand(1, CHANNELS, height, width))
    found["compiled anew"] = pass_ms(network, images)
    return found


@torch.inference_mode()
def answer() -> None:
    """Be one process: print its time, and what is slow in it where that is asked for."""
    use_allocator("keep")
    torch.set_num_threads(1)
    network = nn.Sequential(*(nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1) for _ in range(LAYERS))).eval()
    images = torch.rand(1, CHANNELS, SIDE, SIDE)
    print(json.dumps(pass_ms(network, images)), flush=True)
    if sys.stdin.readline().strip() == "what":
        print(json.dumps(what_is_slow(network, images)), flush=True)


def started() -> subprocess.Popen[str]:
    """Start a process."""
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, __file__, "--answer"], stdin=pipe, stdout=pipe, text=True)


def answered(process: subprocess.Popen[str]) -> Any:
    """Read the answer of a process."""
    assert process.stdout is not None
    return json.loads(process.stdout.readline())


def main() -> None:
    """Start so many processes, and print the odd ones."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=320)
    parser.add_argument("--answer", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.answer:
        answer()
        return
    times, odd = list[float](), list[float]()
    while len(times) < options.count:
        processes = [started(), started()]
        for process, ms in [(process, answered(process)) for process in processes]:
            times.append(ms)
            usual = median(times)
            asks = len(times) > LEAST_FOR_USUAL and ms >= ODD * usual
            assert process.stdin is not None
            process.stdin.write("what\n" if asks else "end\n")
            process.stdin.flush()
            if asks:
                found = answered(process)
                if found["again"] >= ODD * usual:
                    odd.append(found["again"] / usual)
                    conditions = ", ".join(f"{name} {ms:.2f} ms" for name, ms in found.items())
                    print(f"{odd[-1]:.2f} x: {conditions}", flush=True)
            process.wait()
        print(f"{len(times)} of {options.count}", end="\r", file=sys.stderr)
    print(f"{len(odd)} of {len(times)} processes take {ODD} times {median(times):.2f} ms or more")


if __name__ == "__main__":
    main()
