"""Time the plan of random settings, and hold it against the real network and fvcore.

One settings object means: validate it, plan the network, work out every map, every parameter and every MAC. The time is
that of one core; beside it, in the same rounds, the time of the same answers from the real network on the meta device
and from fvcore, as multiples of that. The settings are drawn around each preset.

    python benchmarks/plan_speed.py
"""

import argparse
import copy
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any

import torch

from mnfpn_cli.audit.tree import layer_tree
from mnfpn_cli.bench.workload import count_with_fvcore
from mnfpn_cli.network.network import build_meta, build_network
from mnfpn_cli.plan.cost import NetworkCost, network_cost
from mnfpn_cli.plan.network import NetworkPlan, plan_network
from mnfpn_cli.plan.rules import network_input
from mnfpn_cli.plan.shapes import NetworkShapes, network_shapes
from mnfpn_cli.settings.backbones import MOBILENET_V2
from mnfpn_cli.settings.files import preset_names, read_preset
from mnfpn_cli.settings.input import Size
from mnfpn_cli.settings.network import NetworkSettings
from mnfpn_cli.trace.observe import TensorShape
from mnfpn_cli.trace.passes import Input
from mnfpn_cli.trace.trace import trace_network


def random_values(preset: str, generator: random.Random) -> dict[str, Any]:
    """Settings around a preset: other widths, stages and pyramid channels."""
    values: dict[str, Any] = copy.deepcopy(read_preset(preset).value)
    values["width_mult"] = generator.choice((0.35, 0.5, 0.75, 1.0, 1.4))
    if values.get("backbone", {}).get("kind") == "resnet":
        values["backbone"]["blocks"] = [repeats + generator.randint(0, 4) for repeats in values["backbone"]["blocks"]]
    else:
        table = values.get("stages") or [stage.model_dump() for stage in MOBILENET_V2]
        values["stages"] = [
            {
                "expansion": 1 if index == 0 else generator.choice((3, 4, 6)),
                "channels": max(8, round(stage["channels"] * generator.uniform(0.5, 1.5))),
                "repeats": max(1, stage["repeats"] + generator.randint(-1, 1)),
                "stride": stage["stride"],
            }
            for index, stage in enumerate(table)
        ]
    if values.get("head", {}).get("kind") != "classifier":
        values["pyramid"] = values.get("pyramid", {}) | {"channels": generator.choice((64, 128, 256))}
    return values


def answer(values: dict[str, Any], size: Size) -> tuple[NetworkSettings, NetworkShapes, NetworkCost]:
    """What is timed: from values as JSON has them to every shape and count."""
    settings = NetworkSettings.model_validate(values).at(size)
    plan = plan_network(settings)
    return settings, network_shapes(plan, network_input(settings, size)), network_cost(plan, size)


def answer_all(drawn: list[dict[str, Any]], size: Size) -> None:
    """Answer for each settings object."""
    for values in drawn:
        answer(values, size)


def tree_on_meta(plan: NetworkPlan, shape: TensorShape) -> None:
    """Build the real network and count it, without memory."""
    layer_tree(trace_network(build_meta(plan), [Input(shape)], gradients=False))


def seconds(run: Callable[[], object]) -> float:
    """How long a call takes."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def check(values: dict[str, Any], size: Size) -> bool:
    """Whether plan, real network and fvcore agree to the last digit."""
    settings, shapes, cost = answer(values, size)
    network = build_network(settings)
    with torch.inference_mode():
        outputs = network(torch.zeros(shapes.input.shape))
    counted, total = count_with_fvcore(network, shapes.input), cost.total
    per_resized = 1 if settings.pyramid and settings.pyramid.upsample == "nearest" else 4
    counts = 2 * total.norm_elements + per_resized * total.resized_elements + total.pooled_elements
    if shapes.head:
        same = tuple(outputs.shape) == (1, shapes.head.classes)
    else:
        same = [tuple(y.shape[1:]) for y in outputs] == [(lv.output.channels, *lv.output.size) for lv in shapes.levels]
    return (
        same
        and sum(p.numel() for p in network.parameters()) == total.parameters
        and counted.by_operator["conv"] + counted.by_operator.get("linear", 0) == total.macs
        and counted.total == total.macs + counts
    )


@dataclass(frozen=True)
class Times:
    """Median seconds for one settings object."""

    plan: float
    tree: float
    fvcore: float
    agreed: int


def measure(drawn: list[dict[str, Any]], networks: int, size: Size, small: Size) -> Times:
    """Time plans and networks in turn, then check that they agree."""
    step = len(drawn) // networks
    plans, trees, counts = [], [], []
    for index in range(networks):
        part = drawn[index * step : (index + 1) * step]
        plans.append(seconds(partial(answer_all, part, size)) / len(part))
        settings, shapes, _ = answer(part[0], size)
        plan = plan_network(settings)
        trees.append(seconds(partial(tree_on_meta, plan, shapes.input.shape)))
        at_small = NetworkSettings.model_validate(part[0]).at(small)
        counts.append(seconds(partial(count_with_fvcore, build_network(at_small), network_input(at_small, small))))
    agreed = sum(check(drawn[index * step], small) for index in range(networks))
    return Times(median(plans), median(trees), median(counts), agreed)


def main() -> None:
    """One line a preset."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--settings", type=int, default=800, help="of each preset")
    parser.add_argument("--networks", type=int, default=8, help="of each preset")
    options = parser.parse_args()
    torch.set_num_threads(1)
    size, small = Size(600, 900), Size(97, 131)
    print(
        f"{'settings around':30}{'plan':>10}{'settings/s':>12}{'meta':>9}{'fvcore at ' + str(small):>20}{'equal':>10}"
    )
    for preset in preset_names():
        generator = random.Random(0)
        drawn = [random_values(preset, generator) for _ in range(options.settings)]
        times = measure(drawn, options.networks, size, small)
        print(
            f"{preset:30}{times.plan * 1e3:7.3f} ms{1 / times.plan:12.0f}{times.tree / times.plan:7.0f} ×"
            f"{times.fvcore / times.plan:18.0f} ×{times.agreed:5} of {options.networks}"
        )


if __name__ == "__main__":
    main()
