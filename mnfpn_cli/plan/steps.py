"""A plan at a size: each step that the network takes on one image, in the order in which it takes them."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from mnfpn_cli.plan.backbone import BackbonePlan
from mnfpn_cli.plan.head import ClassifierPlan, HeadPlan
from mnfpn_cli.plan.layers import ConvPlan, LinearPlan, halved
from mnfpn_cli.plan.network import NetworkPlan
from mnfpn_cli.plan.pyramid import PyramidPlan, SeparablePlan
from mnfpn_cli.plan.sizes import ONE_CELL, level_sizes, stage_sizes
from mnfpn_cli.settings.input import Size


class ConvStep(NamedTuple):
    """A convolution (with its norm and activation); ``path`` is its module's attribute path in the network.

    ``again`` says that a step before it ran the same module.
    """

    path: str
    conv: ConvPlan
    input: Size
    output: Size
    again: bool = False


class LinearStep(NamedTuple):
    """A dense layer."""

    path: str
    linear: LinearPlan


class PoolStep(NamedTuple):
    """The average of a whole map."""

    path: str
    channels: int
    input: Size


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


Step = ConvStep | LinearStep | PoolStep | ResizeStep | AddStep


def steps(plan: NetworkPlan, size: Size) -> Iterator[Step]:
    """Every step of the network on an image of ``size`` that multiplies, adds, resizes or averages."""
    yield from backbone_steps(plan.backbone, size)
    sizes = stage_sizes(plan.backbone, size)
    if plan.pyramid:
        yield from pyramid_steps(plan.pyramid, sizes)
        sizes = level_sizes(plan.pyramid, sizes)
    if plan.head:
        yield from head_steps(plan.head, sizes)


def backbone_steps(plan: BackbonePlan, size: Size) -> Iterator[Step]:
    """The steps of the backbone on an image of ``size``."""
    output = plan.stem.output(size)
    yield ConvStep("stem", plan.stem, size, output)
    size = halved(output) if plan.stem_pool else output
    for i, stage in enumerate(plan.stages):
        for j, block in enumerate(stage.blocks):
            path, block_input = f"stages.{i}.{j}", size
            for name, conv in block.layers:
                output = conv.output(size)
                yield ConvStep(f"{path}.{name}", conv, size, output)
                size = output
            if block.shortcut:
                yield ConvStep(f"{path}.shortcut", block.shortcut, block_input, size)
            if block.residual:
                yield AddStep(path, block.out_channels, size)


def pyramid_steps(plan: PyramidPlan, stages: Sequence[Size]) -> Iterator[Step]:
    """The steps of the pyramid on stage outputs of the given sizes, in the order in which they run."""
    sizes = level_sizes(plan, stages)
    for level, size in zip(plan.levels, sizes, strict=False):
        path = f"pyramid.lateral.{level.name}"
        if level.pooled:
            yield PoolStep(f"{path}.pool", level.lateral.in_channels, stages[level.stage])
            path = f"{path}.conv"
        yield ConvStep(path, level.lateral, size, size)
    for (fine, size), (coarse, above) in reversed(list(pairwise(zip(plan.levels, sizes, strict=False)))):
        yield ResizeStep(fine.name, coarse.merged, above, size)
        if plan.merge == "add":
            yield AddStep("pyramid", fine.merged, size)
    again = False
    for level, size in zip(plan.levels, sizes, strict=False):
        if level.smooth:
            name = "shared" if plan.smooth_shared else level.name
            yield from _conv_steps(f"pyramid.smooth.{name}", level.smooth, size, size, again)
            again = plan.smooth_shared
    below = sizes[len(plan.levels) - 1]
    for extra, size in zip(plan.extra, sizes[len(plan.levels) :], strict=True):
        if extra.layer:
            yield from _conv_steps(f"pyramid.extra.{extra.name}", extra.layer, below, size)
        below = size


def head_steps(plan: HeadPlan, sizes: Sequence[Size]) -> Iterator[Step]:
    """The steps of a head on maps of the given sizes: of the backbone's stages, or of the pyramid's levels."""
    if isinstance(plan, ClassifierPlan):
        if plan.last:
            yield ConvStep("head.last", plan.last, sizes[-1], sizes[-1])
        yield PoolStep("head.pool", plan.features, sizes[-1])
        if isinstance(plan.dense, ConvPlan):
            yield ConvStep("head.dense", plan.dense, ONE_CELL, ONE_CELL)
        else:
            yield LinearStep("head.dense", plan.dense)
        return
    for (name, linear), size in zip(plan.levels, sizes, strict=True):
        if plan.pool:
            yield PoolStep(f"head.levels.{name}.pool", linear.in_features, size)
        yield LinearStep(f"head.levels.{name}.dense", linear)
    yield LinearStep("head.final", plan.final)


def _conv_steps(
    path: str, layer: ConvPlan | SeparablePlan, input: Size, output: Size, again: bool = False
) -> Iterator[ConvStep]:
    if isinstance(layer, ConvPlan):
        yield ConvStep(path, layer, input, output, again)
    else:
        yield ConvStep(f"{path}.depthwise", layer.depthwise, input, output, again)
        yield ConvStep(f"{path}.pointwise", layer.pointwise, output, output, again)
