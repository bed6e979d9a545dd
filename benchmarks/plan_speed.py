"""Time the plan of random settings, and hold it against the real network and fvcore.

One settings object means: validate it, plan the network, work out every map, every parameter and every MAC. The time is
that of one core; beside it, in the same rounds, the time of the same answers from the real network on the meta device
and from fvcore, for as many settings as fit.

    python benchmarks/plan_speed.py --settings 4000 --networks 40
"""

import argparse
import random
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from pydantic import ValidationError

from mnfpn_cli.measure.flops import count_with_fvcore
from mnfpn_cli.measure.observe import Shape
from mnfpn_cli.measure.tree import layer_tree
from mnfpn_cli.network.build import build_meta, build_network
from mnfpn_cli.plan.cost import NetworkCost, network_cost
from mnfpn_cli.plan.network import NetworkPlan, plan_network
from mnfpn_cli.plan.shapes import NetworkShapes, network_shapes
from mnfpn_cli.settings.backbones import MOBILENET_V2
from mnfpn_cli.settings.input import Size, network_input
from mnfpn_cli.settings.models import NetworkSettings


def random_values(generator: random.Random) -> dict[str, Any]:
    """Settings around MobileNetV2: other widths, repeats, channels, roundings and pyramids."""
    stages = [
        {
            "expansion": 1 if index == 0 else generator.choice((3, 4, 6)),
            "channels": max(8, round(stage.channels * generator.uniform(0.5, 1.5))),
            "repeats": max(1, stage.repeats + generator.randint(-1, 1)),
            "stride": stage.stride,
        }
        for index, stage in enumerate(MOBILENET_V2)
    ]
    return {
        "width_mult": generator.choice((0.35, 0.5, 0.75, 1.0, 1.4)),
        "rounding": generator.choice(("nearest8", "ceil8", "truncate")),
        "stages": stages,
        "pyramid": {
            "channels": generator.choice((64, 128, 256)),
            "upsample": generator.choice(("bilinear", "nearest")),
            "smooth": generator.choice(("conv", "separable", "none")),
            "levels": generator.choice(("all", "p3-p5", ["p3", "p4"])),
        },
    }


def answer(values: dict[str, Any], size: Size) -> tuple[NetworkSettings, NetworkShapes, NetworkCost]:
    """What is timed: from values as JSON has them to every shape and count."""
    settings = NetworkSettings.model_validate(values)
    plan = plan_network(settings)
    return settings, network_shapes(plan, network_input(settings, size)), network_cost(plan, size)


def answer_all(drawn: list[dict[str, Any]], size: Size) -> None:
    """Answer for each settings object."""
    for values in drawn:
        answer(values, size)


def tree_on_meta(plan: NetworkPlan, shape: Shape) -> None:
    """Build the real network and count it, without memory."""
    layer_tree(build_meta(plan), shape)


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
    counted = count_with_fvcore(network, shapes.input)
    per_resized = 4 if settings.pyramid and settings.pyramid.upsample == "bilinear" else 1
    total = cost.total
    return (
        [tuple(y.shape[1:]) for y in outputs] == [(lv.output.channels, *lv.output.size) for lv in shapes.levels]
        and sum(p.numel() for p in network.parameters()) == total.parameters
        and counted.by_operator["conv"] == total.macs
        and counted.total == total.macs + 2 * total.norm_elements + per_resized * total.resized_elements
    )


def main() -> None:
    """Time plans and networks in turn, then check that they agree."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--settings", type=int, default=4000)
    parser.add_argument("--networks", type=int, default=40)
    options = parser.parse_args()
    torch.set_num_threads(1)
    generator = random.Random(0)
    drawn: list[dict[str, Any]] = []
    while len(drawn) < options.settings:
        values = random_values(generator)
        try:
            NetworkSettings.model_validate(values)
        except ValidationError:
            continue
        drawn.append(values)
    size, small, step = Size(600, 900), Size(97, 131), options.settings // options.networks
    plans, trees, counts = [], [], []
    for index in range(options.networks):
        part = drawn[index * step : (index + 1) * step]
        plans.append(seconds(partial(answer_all, part, size)) / len(part))
        settings, shapes, _ = answer(part[0], size)
        plan = plan_network(settings)
        trees.append(seconds(partial(tree_on_meta, plan, shapes.input.shape)))
        network, input = build_network(settings), network_input(settings, small)
        counts.append(seconds(partial(count_with_fvcore, network, input)))
    middle = options.networks // 2
    plan_s, tree_s, count_s = (sorted(times)[middle] for times in (plans, trees, counts))
    print(f"plan (validate, plan, shapes, cost)   {plan_s * 1e3:8.3f} ms   {1 / plan_s:8.0f} settings/s")
    print(f"real network on the meta device       {tree_s * 1e3:8.3f} ms   {tree_s / plan_s:8.0f} × as long")
    print(f"fvcore on {small} (smaller image)     {count_s * 1e3:8.3f} ms   {count_s / plan_s:8.0f} × as long")
    agreed = sum(check(values, small) for values in drawn[:: max(1, step)])
    print(f"plan, real network and fvcore equal   {agreed} of {len(drawn[:: max(1, step)])}")


if __name__ == "__main__":
    main()
