"""Holding a plan against the real network: does it return what the plan says?"""

import torch

from mnfpn_cli.errors import CheckError
from mnfpn_cli.measure.memory import check_fits, out_of_memory_explained
from mnfpn_cli.network.build import build_network
from mnfpn_cli.plan.cost import network_cost
from mnfpn_cli.plan.network import plan_network
from mnfpn_cli.plan.shapes import NetworkShapes
from mnfpn_cli.settings.models import NetworkSettings


def verify_shapes(settings: NetworkSettings, shapes: NetworkShapes) -> None:
    """Run the real network, on the CPU in float32, and compare it with the plan.

    Compared are the number of parameters, each level's tap, and each level's output.

    Raises:
        CheckError: where anything differs, naming all that does.
        UsageError: where the run cannot fit the memory that is free.
        MnfpnError: where it runs out of memory all the same.
    """
    plan, input = plan_network(settings), shapes.input
    check_fits(plan, input, "float32", torch.device("cpu"))
    with out_of_memory_explained(f"verifying {input.batch} × {input.size}"), torch.inference_mode():
        network = build_network(settings)
        taps: dict[int, torch.Size] = {}
        for index, stage in enumerate(network.stages):
            stage.register_forward_hook(lambda _m, _x, y, index=index: taps.update({index: y.shape}))
        outputs = network(torch.rand(input.shape))
    planned: dict[str, object] = {
        "parameters": network_cost(plan, input.size).total.parameters,
        "levels": len(shapes.levels),
    }
    real: dict[str, object] = {"parameters": sum(p.numel() for p in network.parameters()), "levels": len(outputs)}
    for level, output in zip(shapes.levels, outputs, strict=False):
        planned |= {
            f"{level.name} tap": (input.batch, level.tap.channels, *level.tap.size),
            f"{level.name} output": (input.batch, level.output.channels, *level.output.size),
        }
        real |= {f"{level.name} tap": tuple(taps[level.stage]), f"{level.name} output": tuple(output.shape)}
    wrong = [f"{what} planned {planned[what]}, real {real[what]}" for what in planned if planned[what] != real[what]]
    if wrong:
        raise CheckError(f"--verify: at {input.size} the real network differs: {'; '.join(wrong)}")
