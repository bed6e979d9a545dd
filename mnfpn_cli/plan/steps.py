"""A plan at a size: each step that the network takes on one image, in the order in which it takes them."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from mnfpn_cli.plan.backbone import BackbonePlan
from mnfpn_cli.plan.layers import ConvPlan
from mnfpn_cli.plan.network import NetworkPlan
from mnfpn_cli.plan.pyramid import PyramidPlan, SeparablePlan
from mnfpn_cli.settings.input import Size


class ConvStep(NamedTuple):
    """A convolution (with its norm and activation); ``path`` is its module's attribute path in the network."""

    path: str
    conv: ConvPlan
    input: Size
    output: Size


class ResizeStep(NamedTuple):
    """The top-down resize of a coarser level's map to the exact size of a finer level's lateral."""

    level: str
    channels: int
    input: Size
    output: Size


class AddStep(NamedTuple):
    """An addition of two maps: a block's residual, or a lateral and the resized coarser map."""

    path: str
    channels: int
    size: Size


Step = ConvStep | ResizeStep | AddStep


def steps(plan: NetworkPlan, size: Size) -> Iterator[Step]:
    """Every step of the network on an image of ``size``."""
    yield from backbone_steps(plan.backbone, size)
    yield from pyramid_steps(plan.pyramid, stage_sizes(plan.backbone, size))


def stage_sizes(plan: BackbonePlan, size: Size) -> list[Size]:
    """The size of each stage's output for an image of ``size``."""
    sizes = []
    size = plan.stem.output(size)
    for stage in plan.stages:
        size = stage.blocks[0].depthwise.output(size)  # the only layer of a stage that has a stride
        sizes.append(size)
    return sizes


def backbone_steps(plan: BackbonePlan, size: Size) -> Iterator[Step]:
    """The steps of the backbone on an image of ``size``."""
    output = plan.stem.output(size)
    yield ConvStep("stem", plan.stem, size, output)
    size = output
    for i, stage in enumerate(plan.stages):
        for j, block in enumerate(stage.blocks):
            for name, conv in block.convs():
                output = conv.output(size)
                yield ConvStep(f"stages.{i}.{j}.{name}", conv, size, output)
                size = output
            if block.residual:
                yield AddStep(f"stages.{i}.{j}", block.project.out_channels, size)


def pyramid_steps(plan: PyramidPlan, sizes: Sequence[Size]) -> Iterator[Step]:
    """The steps of the pyramid on stage outputs of the given sizes: laterals, top-down path, smoothing."""
    for level in plan.levels:
        size = sizes[level.stage]
        yield ConvStep(f"pyramid.lateral.{level.name}", level.lateral, size, size)
    for fine, coarse in reversed(list(pairwise(plan.levels))):
        size, channels = sizes[fine.stage], fine.lateral.out_channels
        yield ResizeStep(fine.name, channels, sizes[coarse.stage], size)
        yield AddStep("pyramid", channels, size)
    for level in plan.levels:
        size, path = sizes[level.stage], f"pyramid.smooth.{level.name}"
        match level.smooth:
            case ConvPlan() as conv:
                yield ConvStep(path, conv, size, size)
            case SeparablePlan(depthwise, pointwise):
                yield ConvStep(f"{path}.depthwise", depthwise, size, size)
                yield ConvStep(f"{path}.pointwise", pointwise, size, size)
