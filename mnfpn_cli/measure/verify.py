"""Run the real network, and compare its maps with the plan's; and how far two outputs differ."""

from collections.abc import Sequence
from functools import partial
from math import inf

import torch
from torch import Tensor, nn

from mnfpn_cli.documents.records import WeightsRecord
from mnfpn_cli.errors import CheckError, Problem
from mnfpn_cli.external.origin import FromSettings
from mnfpn_cli.measure.memory import check_fits, out_of_memory_explained
from mnfpn_cli.network.network import Network
from mnfpn_cli.plan.cost import network_cost
from mnfpn_cli.plan.network import NetworkPlan
from mnfpn_cli.plan.shapes import NetworkShapes


def largest(tensor: Tensor) -> float:
    """The largest absolute value; 0 of no elements."""
    return tensor.abs().max().item() if tensor.numel() else 0.0


def relative_difference(found: Tensor, expected: Tensor) -> float:
    """The largest difference of two elements, over the largest absolute value that was expected.

    Infinite where either is not finite, where their shapes differ, or where all that was expected is zero and
    something else was found.
    """
    if found.shape != expected.shape or not (found.isfinite().all() and expected.isfinite().all()):
        return inf
    difference, scale = largest(found - expected), largest(expected)
    return difference / scale if scale else (inf if difference else 0.0)


def largest_difference(found: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
    """The largest relative difference over all outputs, 0 of none, in float32 and on the CPU."""
    differences = (
        relative_difference(_in_float32(one), _in_float32(other)) for one, other in zip(found, expected, strict=True)
    )
    return max(differences, default=0.0)


def _in_float32(tensor: Tensor) -> Tensor:
    """On the CPU; of complex numbers, both parts."""
    tensor = tensor.detach().cpu()
    return (torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor).float()


SEED = 0
"""Of the weights that no checkpoint gives; shapes do not depend on them."""


def verify_shapes(origin: FromSettings, shapes: NetworkShapes) -> WeightsRecord | None:
    """Run the real network, on the CPU in float32, and compare it with the plan; load its checkpoint if it has one.

    Compared are the number of parameters, each level's tap and output, and the logits.

    Raises:
        CheckError: where anything differs, naming all that does.
        UsageError: where the run cannot fit the memory that is free, or the checkpoint is of another network.
        MnfpnError: where it runs out of memory all the same.
    """
    plan, input = origin.plan, shapes.input
    check_fits(plan, input, "float32", torch.device("cpu"))
    with out_of_memory_explained(f"verifying {input.batch} × {input.size}"), torch.inference_mode():
        network, loaded = origin.build(SEED)
        real = _observe(network, plan, torch.rand(input.shape))
    planned = _expect(shapes) | {"parameters": network_cost(plan, input.size).total.parameters}
    # A level's tap is a stage, or, for an extra level, the level before it: what is real of either is known by path.
    real |= {f"{level.name} tap": real.get(level.tap_path) for level in shapes.levels}
    wrong = [
        f"{what} planned {planned[what]}, real {real.get(what)}" for what in planned if planned[what] != real.get(what)
    ]
    if wrong:
        raise CheckError(Problem("`verify`", f"at {input.size} the real network differs: {'; '.join(wrong)}"))
    return loaded


def _expect(shapes: NetworkShapes) -> dict[str, object]:
    """What the plan says of each level and of the logits."""
    batch = shapes.input.batch
    planned: dict[str, object] = {"levels": len(shapes.levels)}
    for level in shapes.levels:
        planned[f"{level.name} tap"] = (batch, level.tap.channels, *level.tap.size)
        planned[f"{level.name} output"] = (batch, level.output.channels, *level.output.size)
    if shapes.head:
        planned["logits output"] = (batch, shapes.head.classes)
    return planned


def _observe(network: Network, plan: NetworkPlan, images: torch.Tensor) -> dict[str, object]:
    """The shapes of a real pass: each stage's and each level's map by path, and what comes out."""
    seen: dict[str, object] = {"parameters": sum(p.numel() for p in network.parameters()), "levels": 0}

    def see_levels(_module: nn.Module, _taps: object, maps: tuple[torch.Tensor, ...]) -> None:
        names = plan.pyramid.names if plan.pyramid else ()
        seen["levels"] = len(maps)
        seen.update({name: tuple(x.shape) for name, x in zip(names, maps, strict=True)})
        seen.update({f"{name} output": tuple(x.shape) for name, x in zip(names, maps, strict=True)})

    def see_stage(path: str, _module: nn.Module, _x: object, y: torch.Tensor) -> None:
        seen[path] = tuple(y.shape)

    for index, stage in enumerate(network.stages):
        stage.register_forward_hook(partial(see_stage, f"stages.{index}"))
    if network.pyramid:
        network.pyramid.register_forward_hook(see_levels)
    output = network(images)
    if network.head:
        seen["logits output"] = tuple(output.shape)
    return seen
