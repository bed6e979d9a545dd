"""What each step of the runtime `fused` brings, on the default network: each with all steps before it, timed in turn.

    python benchmarks/fused_steps.py --size 600x900 --threads 2

With one thread, and by the time that the processor took (`--processor-time`), other work on the machine hardly counts.
"""

import argparse
import time
from collections.abc import Callable
from copy import deepcopy
from functools import partial
from statistics import median

import torch
from torch import Tensor

from mnfpn_cli.measure.verify import largest_difference
from mnfpn_cli.network.network import Network, build_network
from mnfpn_cli.runtimes.fused import fuse
from mnfpn_cli.runtimes.fused.folded import Optimizations
from mnfpn_cli.settings.input import parse_size
from mnfpn_cli.settings.network import NetworkSettings

Pass = Callable[[], tuple[Tensor, ...]]

STEPS = {
    "batch norm folded": (Optimizations(), torch.contiguous_format),
    "+ channels last": (Optimizations(), torch.channels_last),
    "+ weights packed, activations inside": (Optimizations(packed=True), torch.channels_last),
    "+ sums inside": (Optimizations(packed=True, added=True), torch.channels_last),
    "+ levels smoothed early": (Optimizations(packed=True, added=True, early=True), torch.channels_last),
}


def passes(network: Network, images: Tensor) -> dict[str, Pass]:
    """Eager, and the network with each step and those before it."""
    steps: dict[str, Pass] = {"eager": partial(network, images)}
    for name, (optimizations, order) in STEPS.items():
        fused = fuse(deepcopy(network), optimizations).to(memory_format=order, dtype=torch.float32)  # type: ignore[call-overload]
        steps[name] = partial(fused, images.to(memory_format=order))
    return steps


def take(steps: dict[str, Pass], rounds: int, clock: Callable[[], float]) -> dict[str, list[float]]:
    """Milliseconds of each, there and back again."""
    samples: dict[str, list[float]] = {name: [] for name in steps}
    for index in range(rounds):
        for name in list(steps) if index % 2 == 0 else reversed(steps):
            start = clock()
            steps[name]()
            samples[name].append((clock() - start) * 1e3)
    return samples


@torch.inference_mode()
def main() -> None:
    """Print for each step its time, against eager, what it brought, and how far its outputs are from eager's."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="600x900")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--processor-time", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    images = torch.rand(1, 3, *parse_size(options.size))
    steps = passes(build_network(NetworkSettings()), images)
    expected = steps["eager"]()
    far = {name: largest_difference(step(), expected) for name, step in steps.items()}  # which is a warm-up too
    times = take(steps, options.rounds, time.process_time if options.processor_time else time.perf_counter)
    first = before = median(times["eager"])
    print(f"{'':38}{'median':>9}{'min':>11}{'× eager':>10}{'brought':>11}{'difference':>12}")
    for name, samples in times.items():
        now = median(samples)
        line = f"{name:38}{now:6.0f} ms{min(samples):8.0f} ms{first / now:10.2f}{before - now:8.0f} ms{far[name]:12.1e}"
        print(line)
        before = now


if __name__ == "__main__":
    main()
