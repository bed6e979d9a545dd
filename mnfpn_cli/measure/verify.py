"""Verify a plan against the real network's shapes, and measure the difference of two outputs."""

from collections.abc import Sequence
from functools import partial
from math import inf

import torch
from torch import Tensor, nn

from mnfpn_cli.documents.records import WeightsRecord
from mnfpn_cli.errors import CheckError, Problem
from mnfpn_cli.external.origin import FromSettings
from mnfpn_cli.measure.memory import check_fits, out_of_memory_explained
from mnfpn_cli.network.heads import DenseHead, LevelHead
from mnfpn_cli.network.network import Network
from mnfpn_cli.plan.cost import network_cost
from mnfpn_cli.plan.network import NetworkPlan
from mnfpn_cli.plan.shapes import LAST, NetworkShapes


def largest(tensor: Tensor) -> float:
    """Return the largest absolute value; 0 of no elements."""
    return tensor.abs().max().item() if tensor.numel() else 0.0


def relative_difference(actual: Tensor, expected: Tensor) -> float:
    """Return the largest difference of two elements, over the largest absolute value in ``expected``.

    It is infinite where a tensor is not finite, where the shapes differ, or where ``expected`` is all zero and
    ``actual`` is not.
    """
    if actual.shape != expected.shape or not (actual.isfinite().all() and expected.isfinite().all()):
        return inf
    difference, scale = largest(actual - expected), largest(expected)
    return difference / scale if scale else (inf if difference else 0.0)


def largest_difference(actual: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
    """Return the largest relative difference over all outputs, in float32 on the CPU; 0 of no outputs."""
    differences = (relative_difference(_in_float32(x), _in_float32(y)) for x, y in zip(actual, expected, strict=True))
    return max(differences, default=0.0)


def _in_float32(tensor: Tensor) -> Tensor:
    """Copy to the CPU in float32; complex numbers as their two parts."""
    tensor = tensor.detach().cpu()
    return (torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor).float()


SEED = 0
"""Seed of the weights that no checkpoint gives; shapes do not depend on them."""


def verify_shapes(origin: FromSettings, shapes: NetworkShapes) -> WeightsRecord | None:
    """Run the real network on the CPU in float32, and compare it with the plan: parameters, taps, levels, the head.

    Returns:
        The record of its checkpoint, if the settings name one.

    Raises:
        CheckError: where anything differs, with all that does.
        UsageError: where the run cannot fit the free memory, or the checkpoint is of another network.
        MnfpnError: where the run is out of memory nevertheless.
    """
    plan, input = origin.plan, shapes.input
    check_fits(plan, input, "float32", torch.device("cpu"))
    with out_of_memory_explained(f"verifying {input.batch} × {input.size}"), torch.inference_mode():
        network, loaded = origin.build(SEED)
        real = _observe(network, plan, torch.rand(input.shape))
    planned = _expect(shapes) | {"parameters": network_cost(plan, input.size).total.parameters}
    # A level's tap is a stage, a last convolution or, for an extra level, the level before: each is known by its path.
    real |= {f"{level.name} tap": real.get(level.tap_path) for level in shapes.levels}
    wrong = [
        f"{name} planned {planned[name]}, real {real.get(name)}" for name in planned if planned[name] != real.get(name)
    ]
    if wrong:
        raise CheckError(Problem("`verify`", f"at {input.size} the real network differs: {'; '.join(wrong)}"))
    return loaded


def _expect(shapes: NetworkShapes) -> dict[str, object]:
    """Return the planned shapes of each level's tap and output, and of the head's outputs, and its anchors."""
    batch = shapes.input.batch
    planned: dict[str, object] = {"levels": len(shapes.levels)}
    for level in shapes.levels:
        planned[f"{level.name} tap"] = (batch, level.tap.channels, *level.tap.size)
        planned[f"{level.name} output"] = (batch, level.output.channels, *level.output.size)
    if shapes.head:
        planned["outputs"] = tuple(output.name for output in shapes.head.outputs)
        planned |= {f"{output.name} output": (batch, *output.shape) for output in shapes.head.outputs}
    if shapes.head and shapes.head.anchors:
        for (path, taken), anchors in zip(shapes.head.maps, shapes.head.anchors, strict=True):
            planned[f"map of the head on {path}"] = (batch, taken.channels, *taken.size)
            planned[f"anchors on {path}"] = anchors
    return planned


def _observe(network: Network, plan: NetworkPlan, images: torch.Tensor) -> dict[str, object]:
    """Run a real pass; return the shapes of each stage's and each level's map by path, and of the head's outputs."""
    shapes: dict[str, object] = {"parameters": sum(p.numel() for p in network.parameters()), "levels": 0}

    def record_levels(_module: nn.Module, _taps: object, maps: tuple[torch.Tensor, ...]) -> None:
        names = plan.pyramid.names if plan.pyramid else ()
        shapes["levels"] = len(maps)
        shapes.update({name: tuple(x.shape) for name, x in zip(names, maps, strict=True)})
        shapes.update({f"{name} output": tuple(x.shape) for name, x in zip(names, maps, strict=True)})

    def record_stage(path: str, _module: nn.Module, _x: object, y: torch.Tensor) -> None:
        shapes[path] = tuple(y.shape)

    for index, stage in enumerate(network.stages):
        stage.register_forward_hook(partial(record_stage, f"stages.{index}"))
    if network.pyramid:
        network.pyramid.register_forward_hook(record_levels)
        if network.pyramid.last:
            network.pyramid.last.register_forward_hook(partial(record_stage, LAST))
    taken = _record_maps_of_head(network.head) if isinstance(network.head, DenseHead) else []
    output = network(images)
    if network.head:
        outputs = output if isinstance(output, tuple) else (output,)
        shapes["outputs"] = network.outputs
        shapes |= {f"{name} output": tuple(y.shape) for name, y in zip(network.outputs, outputs, strict=False)}
    for name, (x, anchors) in zip(plan.pyramid.names if plan.pyramid else (), taken, strict=False):
        shapes |= {f"map of the head on {name}": x, f"anchors on {name}": anchors}
    return shapes


def _record_maps_of_head(head: DenseHead) -> list[tuple[tuple[int, ...], int]]:
    """Return a list that a pass appends to: for each level the shape of the map that the head takes, and its anchors.

    They are those of the first branch, which runs its layers on one level after the other.
    """
    taken: list[tuple[tuple[int, ...], int]] = []

    def record(_module: nn.Module, x: tuple[torch.Tensor, ...], y: list[torch.Tensor]) -> None:
        taken.append((tuple(x[0].shape), y[0].shape[1]))

    for module in head.get_submodule(head.branches[0]).modules():
        if isinstance(module, LevelHead):
            module.register_forward_hook(record)
    return taken
