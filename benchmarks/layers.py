"""How far the times of layers that each runtime takes of itself can be believed, on the default network.

    python benchmarks/layers.py --size 600x900 --threads 2

For each runtime: a pass without profiling, how much longer it takes with it, what the layers add up to against the
former, the share of that which has a path, and the rows with several layers.
"""

import argparse

import torch

from mnfpn_cli.errors import MnfpnError
from mnfpn_cli.measure.layer_times import REST, LayerTimes
from mnfpn_cli.network.network import build_network
from mnfpn_cli.plan.network import plan_network
from mnfpn_cli.plan.roofline import network_work
from mnfpn_cli.plan.rules import network_input
from mnfpn_cli.runtimes.runtime import Job, load_runtime
from mnfpn_cli.settings.input import parse_size
from mnfpn_cli.settings.network import NetworkSettings

RUNTIMES = ("eager", "channels-last", "fused", "compiled", "onnxruntime", "openvino", "executorch")


def line(name: str, times: LayerTimes) -> str:
    """The figures of a runtime."""
    placed = 1 - sum(row.seconds for row in times.rows if row.part == REST) / times.seconds
    figures = (
        f"{times.undisturbed * 1e3:9.2f} ms",
        f"{times.marked / times.undisturbed - 1:+8.1%}",
        f"{times.seconds / times.undisturbed - 1:+8.1%}",
        f"{placed:8.1%}",
        f"{len(times.rows):6}",
        f"{sum(bool(row.joined) for row in times.rows):8}",
    )
    return f"{name:14}{'  '.join(figures)}"


@torch.inference_mode()
def main() -> None:
    """Print a line for each runtime."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="600x900")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--passes", type=int, default=15)
    parser.add_argument("--runtimes", default=",".join(RUNTIMES))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    settings, size = NetworkSettings(), parse_size(options.size)
    works = network_work(plan_network(settings), network_input(settings, size), 4)
    print("                      pass   profiled       sum  with path    rows    joined")
    for name in options.runtimes.split(","):
        images = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0))
        job = Job(build_network(settings, 0), True, (images,), torch.device("cpu"), "float32")
        try:
            print(line(name, load_runtime(name).time_layers(job, works, options.passes, lambda _: None)), flush=True)
        except MnfpnError as error:
            print(f"{name:14}{error.message}", flush=True)


if __name__ == "__main__":
    main()
