"""The steps of a network on one image: what runs, in order, and the elements that each step makes and frees.

Shapes, cost, memory, work and the diagram are all computed from one walk over these steps. A step ``makes`` the
elements of its output. After it, the step ``frees`` the elements of the maps that no later step reads, as eager
execution does. The input of a module is alive until its call ends, because the caller holds it. ``path`` is the
attribute path of the step's module in the network.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from mnfpn_cli.plan.backbone import BackbonePlan, BlockPlan
from mnfpn_cli.plan.layers import ConvPlan, LinearPlan, halved
from mnfpn_cli.plan.network import ClassifierPlan, HeadPlan, NetworkPlan
from mnfpn_cli.plan.pyramid import ONE_CELL, PyramidPlan, SeparablePlan, level_sizes, stage_sizes
from mnfpn_cli.settings.input import Size


class ConvStep(NamedTuple):
    """A convolution with its norm and activation. ``again``: whether an earlier step ran the same module."""

    path: str
    conv: ConvPlan
    input: Size
    output: Size
    makes: int
    again: bool = False
    frees: int = 0


class LinearStep(NamedTuple):
    """A dense layer. ``joined``: elements of the concatenation that is made as its input; 0 where there is none."""

    path: str
    linear: LinearPlan
    makes: int
    joined: int = 0
    frees: int = 0


class PoolStep(NamedTuple):
    """The average of a whole map, channel by channel."""

    path: str
    channels: int
    input: Size
    makes: int
    frees: int = 0


class MaxPoolStep(NamedTuple):
    """Max-pooling of stride 2."""

    path: str
    channels: int
    kernel: int
    input: Size
    makes: int
    frees: int = 0


class ResizeStep(NamedTuple):
    """The top-down resize of a coarser level's map to the exact size of the lateral of a finer level, ``level``."""

    level: str
    channels: int
    input: Size
    output: Size
    makes: int
    frees: int = 0


class AddStep(NamedTuple):
    """The addition of two maps: a block's input and output, or a lateral and the resized coarser map."""

    path: str
    makes: int
    frees: int = 0


class JoinStep(NamedTuple):
    """The concatenation of a lateral and the resized coarser map."""

    path: str
    makes: int
    frees: int = 0


class ReluStep(NamedTuple):
    """A ReLU between extra levels. Unlike the activations of layers, it does not work in place."""

    path: str
    makes: int
    frees: int = 0


Step = ConvStep | LinearStep | PoolStep | MaxPoolStep | ResizeStep | AddStep | JoinStep | ReluStep


class Walk(NamedTuple):
    """The steps of a network on an image of ``size``, by part.

    Attributes:
        plan: the network.
        size: of the image.
        tapped: the indices of the stages whose maps the pyramid is built on.
        stages: the size of each stage's map.
        levels: the size of each level's map, finest first.
        pyramid: the steps of the pyramid.
        head: the steps of the head.
    """

    plan: NetworkPlan
    size: Size
    tapped: frozenset[int]
    stages: tuple[Size, ...]
    levels: tuple[Size, ...]
    pyramid: tuple[Step, ...]
    head: tuple[Step, ...]

    @property
    def backbone(self) -> tuple[Step, ...]:
        """The steps of the backbone. They are computed on access: in a sweep, many pyramids share one backbone."""
        return backbone_steps(self.plan.backbone, self.size, self.tapped)

    @property
    def steps(self) -> tuple[Step, ...]:
        """All steps of the network."""
        return self.backbone + self.pyramid + self.head


# Everything about one network is computed before the next network begins: a few entries suffice.
@lru_cache(maxsize=4)
def walk(plan: NetworkPlan, size: Size) -> Walk:
    """Return the steps of a network on an image of ``size``. The result is cached, as each quantity needs it."""
    stages, levels = stage_sizes(plan.backbone, size), tuple[Size, ...]()
    pyramid, head = tuple[Step, ...](), tuple[Step, ...]()
    if plan.pyramid:
        levels = level_sizes(plan.pyramid, stages)
        pyramid = tuple(_pyramid_steps(plan.pyramid, stages, levels))
    if plan.head:
        head = tuple(_head_steps(plan.head, levels or stages))
    return Walk(plan, size, plan.tapped, stages, levels, pyramid, head)


@lru_cache(maxsize=4)
def backbone_steps(plan: BackbonePlan, size: Size, tapped: frozenset[int]) -> tuple[Step, ...]:
    """Return the steps of the backbone on an image of ``size``; they free neither the last map nor ``tapped`` ones."""
    return tuple(_backbone_steps(plan, size, tapped))


def _backbone_steps(plan: BackbonePlan, size: Size, tapped: frozenset[int]) -> Iterator[Step]:
    output = plan.stem.output(size)
    current = plan.stem.elements(output)
    yield ConvStep("stem", plan.stem, size, output, current)
    size = output
    if plan.stem_pool:
        stem, size = current, halved(output)
        current = plan.stem.out_channels * size.cells
        yield MaxPoolStep("stem_pool", plan.stem.out_channels, 3, output, current, frees=stem)
    for i, stage in enumerate(plan.stages):
        stage_input, last = current, len(stage.blocks) - 1
        for j, block in enumerate(stage.blocks):
            frees = current if j else 0
            if j == last and i - 1 not in tapped:
                frees += stage_input
            steps = list(_block_steps(block, f"stages.{i}.{j}", size, frees))
            yield from steps
            current = steps[-1].makes
            size = halved(size) if j == 0 and stage.stride == 2 else size


def _block_steps(block: BlockPlan, path: str, size: Size, frees: int) -> Iterator[Step]:
    """Yield the steps of a block on a map of ``size``; the last step also frees ``frees`` elements."""
    block_input, elements, before, last = size, 0, 0, block.layers[-1][0]
    for name, conv in block.layers:
        output = conv.output(size)
        elements = conv.elements(output)
        at_end = frees if name == last and not block.residual else 0
        yield ConvStep(f"{path}.{name}", conv, size, output, elements, frees=before + at_end)
        before, size = elements, output
    if block.shortcut:
        yield ConvStep(f"{path}.shortcut", block.shortcut, block_input, size, elements)
        frees += elements
    if block.residual:
        yield AddStep(path, elements, frees=before + frees)


def _pyramid_steps(plan: PyramidPlan, stages: Sequence[Size], sizes: Sequence[Size]) -> Iterator[Step]:
    """Yield the steps of the pyramid; ``stages`` and ``sizes`` are the sizes of the maps of stages and levels."""
    areas = [size.cells for size in sizes]
    on_taps = list(zip(plan.levels, sizes, areas, strict=False))
    for level, size, area in on_taps:
        path, averaged = f"pyramid.lateral.{level.name}", 0
        if level.pooled:
            averaged = level.lateral.in_channels
            yield PoolStep(f"{path}.pool", averaged, stages[level.stage], averaged)
            path = f"{path}.conv"
        yield ConvStep(path, level.lateral, size, size, plan.channels * area, frees=averaged)
    for (fine, size, area), (coarse, coarse_size, _) in reversed(list(pairwise(on_taps))):
        resized = coarse.merged * area
        yield ResizeStep(fine.name, coarse.merged, coarse_size, size, resized)
        merge = AddStep if plan.merge == "add" else JoinStep
        yield merge("pyramid", fine.merged * area, frees=resized + plan.channels * area)
    tail: list[Step] = [*_smooth_steps(plan, sizes), *_extra_steps(plan, sizes)]
    yield from tail[:-1]
    if tail:  # the maps before smoothing are alive until the pyramid has run
        last = tail[-1]
        merged = sum([level.merged * area for level, _, area in on_taps if level.smooth])
        yield last._replace(frees=last.frees + merged)


def _smooth_steps(plan: PyramidPlan, sizes: Sequence[Size]) -> Iterator[Step]:
    again = False
    for level, size in zip(plan.levels, sizes, strict=False):
        if level.smooth:
            yield from _conv_steps(f"pyramid.smooth.{plan.smoothing(level)}", level.smooth, size, size, again)
            again = plan.smooth_shared


def _extra_steps(plan: PyramidPlan, sizes: Sequence[Size]) -> Iterator[Step]:
    """Yield the steps of the levels beyond the taps; the map of a ReLU is freed after the layer that takes it."""
    below = sizes[len(plan.levels) - 1]
    for index, (extra, size) in enumerate(zip(plan.extra, sizes[len(plan.levels) :], strict=True)):
        path, rectified = f"pyramid.extra.{extra.name}", 0
        if index and plan.extra_relu:
            rectified = plan.channels * below.cells
            yield ReluStep("pyramid", rectified)
        if extra.layer:
            yield from _conv_steps(path, extra.layer, below, size, frees=rectified)
        else:
            yield MaxPoolStep(path, plan.channels, 1, below, plan.channels * size.cells, frees=rectified)
        below = size


def _head_steps(plan: HeadPlan, sizes: Sequence[Size]) -> Iterator[Step]:
    """Yield the steps of a head; ``sizes`` are those of the maps of the pyramid's levels or the backbone's stages."""
    if isinstance(plan, ClassifierPlan):
        last = 0
        if plan.last:
            last = plan.last.elements(sizes[-1])
            yield ConvStep("head.last", plan.last, sizes[-1], sizes[-1], last)
        yield PoolStep("head.pool", plan.features, sizes[-1], plan.features, frees=last)
        if isinstance(plan.dense, ConvPlan):
            yield ConvStep("head.dense", plan.dense, ONE_CELL, ONE_CELL, plan.classes)
        else:
            yield LinearStep("head.dense", plan.dense, plan.classes)
        return
    for (name, linear), size in zip(plan.levels, sizes, strict=True):
        if plan.pool:
            yield PoolStep(f"head.levels.{name}.pool", linear.in_features, size, linear.in_features)
        yield LinearStep(
            f"head.levels.{name}.dense", linear, plan.classes, frees=linear.in_features if plan.pool else 0
        )
    yield LinearStep("head.final", plan.final, plan.classes, joined=plan.final.in_features)


def _conv_steps(
    path: str, layer: ConvPlan | SeparablePlan, input: Size, output: Size, again: bool = False, frees: int = 0
) -> Iterator[ConvStep]:
    if isinstance(layer, ConvPlan):
        yield ConvStep(path, layer, input, output, layer.elements(output), again, frees)
    else:
        between = layer.depthwise.elements(output)
        yield ConvStep(f"{path}.depthwise", layer.depthwise, input, output, between, again)
        pointwise = layer.pointwise.elements(output)
        yield ConvStep(f"{path}.pointwise", layer.pointwise, output, output, pointwise, again, between + frees)
