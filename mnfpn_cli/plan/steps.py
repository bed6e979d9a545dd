"""The steps of a network on one image: what runs, in order, and the elements that each step makes and frees.

Shapes, cost, memory, work and the diagram are all computed from one walk over these steps. A step ``makes`` the
elements of its output. After it, the step ``frees`` the elements of the maps that no later step reads, as eager
execution does. The input of a module is alive until its call ends, because the caller holds it. ``path`` is the
attribute path of the step's module in the network.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from mnfpn_cli.plan.backbone import BackbonePlan, BlockPlan
from mnfpn_cli.plan.heads import BranchPlan, ClassifierPlan, DensePlan, HeadPlan, LevelHeadPlan
from mnfpn_cli.plan.layers import ConvPlan, LayerPlan, LinearPlan, NormPlan, SeparablePlan, halved, padded_cells
from mnfpn_cli.plan.network import NetworkPlan
from mnfpn_cli.plan.pyramid import ONE_CELL, LevelPlan, PyramidPlan, level_sizes, stage_sizes
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


class NormStep(NamedTuple):
    """A norm of its own behind a convolution, and its activation."""

    path: str
    norm: NormPlan
    makes: int
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
    """Max-pooling of stride 2. ``padded``: elements of the padded copy of its input; 0 where it pads by itself."""

    path: str
    channels: int
    kernel: int
    input: Size
    makes: int
    frees: int = 0
    padded: int = 0


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


class CopyStep(NamedTuple):
    """A copy of maps: the concatenation of two or more, or a map in another order."""

    path: str
    makes: int
    frees: int = 0


class ReluStep(NamedTuple):
    """A ReLU between extra levels. Unlike the activations of layers, it does not work in place."""

    path: str
    makes: int
    frees: int = 0


Step = ConvStep | NormStep | LinearStep | PoolStep | MaxPoolStep | ResizeStep | AddStep | CopyStep | ReluStep


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
    return walk_once(plan, size)


def walk_once(plan: NetworkPlan, size: Size) -> Walk:
    """Return the same, not cached: for a caller that keeps what it makes of it."""
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
        channels = plan.stem.out_channels
        padded = channels * padded_cells(3, output) if plan.same else 0
        yield MaxPoolStep("stem_pool", channels, 3, output, current, stem, padded)
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
    steps = list(_lateral_steps(plan, stages, sizes))
    on_taps = list(zip(plan.levels, sizes, strict=False))
    if plan.smoothed_down:
        for k in reversed(range(len(on_taps))):
            steps += _merge_steps(plan, on_taps[k : k + 2])
            again = plan.smooth_shared and any(level.smooth for level, _ in on_taps[k + 1 :])
            steps += _smooth_steps(plan, on_taps[k : k + 1], again)
    else:
        for k in reversed(range(len(on_taps) - 1)):
            steps += _merge_steps(plan, on_taps[k : k + 2])
        steps += _smooth_steps(plan, on_taps, again=False)
    steps += _extra_steps(plan, sizes)
    # The maps before smoothing, and the last convolution's, are alive until the pyramid has run.
    held = sum([level.merged * size.cells for level, size in on_taps if level.smooth])
    if plan.last:
        held += plan.last.elements(sizes[len(plan.levels) - 1])
    yield from steps[:-1]
    yield steps[-1]._replace(frees=steps[-1].frees + held)


def _lateral_steps(plan: PyramidPlan, stages: Sequence[Size], sizes: Sequence[Size]) -> Iterator[Step]:
    if plan.last:
        size = sizes[len(plan.levels) - 1]
        yield ConvStep("pyramid.last", plan.last, size, size, plan.last.elements(size))
    for level, size in zip(plan.levels, sizes, strict=False):
        path, averaged = f"pyramid.lateral.{level.name}", 0
        if level.pooled:
            averaged = level.lateral.in_channels
            yield PoolStep(f"{path}.pool", averaged, stages[level.stage], averaged)
            path = f"{path}.conv"
        yield ConvStep(path, level.lateral, size, size, level.lateral.elements(size), frees=averaged)


def _merge_steps(plan: PyramidPlan, pair: Sequence[tuple[LevelPlan, Size]]) -> Iterator[Step]:
    """Yield the steps that merge the second of two levels into the first; none for the coarsest level."""
    if len(pair) < 2:
        return
    (fine, size), (coarse, coarse_size) = pair
    channels = plan.resized_channels(coarse)
    resized = channels * size.cells
    yield ResizeStep(fine.name, channels, coarse_size, size, resized)
    merge = AddStep if plan.merge == "add" else CopyStep
    yield merge("pyramid", fine.merged * size.cells, frees=resized + plan.channels * size.cells)


def _smooth_steps(plan: PyramidPlan, levels: Sequence[tuple[LevelPlan, Size]], again: bool) -> Iterator[Step]:
    """Yield the steps that smooth levels; ``again``: whether a shared smoothing ran before."""
    for level, size in levels:
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
    if isinstance(plan, DensePlan):
        for branch in plan.branches:
            yield from _branch_steps(plan, branch, sizes)
        return
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


def _branch_steps(plan: DensePlan, branch: BranchPlan, sizes: Sequence[Size]) -> Iterator[Step]:
    """Yield the steps of a tower and its outputs on all levels, and the concatenation of each output."""
    steps, values = list[Step](), dict(plan.values)
    totals = dict.fromkeys(branch.outputs, 0)
    for index, ((name, count), size) in enumerate(zip(plan.anchors, sizes, strict=True)):
        level = branch.levels[min(index, len(branch.levels) - 1)]
        steps += _level_head_steps(branch, level, name, size, again=index > 0 and len(branch.levels) == 1)
        for output in branch.outputs:
            totals[output] += count * values[output] * size.cells
    steps += [CopyStep("head", total) for total in totals.values()]
    yield from steps[:-1]
    yield steps[-1]._replace(frees=sum(totals.values()))


def _level_head_steps(branch: BranchPlan, level: LevelHeadPlan, name: str, size: Size, again: bool) -> Iterator[Step]:
    path, tower = f"head.{branch.name}.{level.name}", 0
    for index, layer in enumerate(level.tower):
        yield from _conv_steps(f"{path}.tower.{index}", layer, size, size, again, frees=tower)
        tower = layer_elements(layer, size)
        if branch.norms:
            yield NormStep(f"head.{branch.name}.norms.{name}.{index}", branch.norms[index], tower, frees=tower)
    for index, (output, layer) in enumerate(level.last):
        made, frees = layer_elements(layer, size), tower if index == len(level.last) - 1 else 0
        yield from _conv_steps(f"{path}.{output}", layer, size, size, again)
        yield CopyStep("head", made, frees=made + frees)  # the values of a cell come next to each other


def layer_elements(layer: LayerPlan, output: Size) -> int:
    """Return the elements of a layer's output for one image, given its size."""
    return (layer.pointwise if isinstance(layer, SeparablePlan) else layer).elements(output)


def _conv_steps(
    path: str, layer: LayerPlan, input: Size, output: Size, again: bool = False, frees: int = 0
) -> Iterator[ConvStep]:
    if isinstance(layer, ConvPlan):
        yield ConvStep(path, layer, input, output, layer.elements(output), again, frees)
    else:
        between = layer.depthwise.elements(output)
        yield ConvStep(f"{path}.depthwise", layer.depthwise, input, output, between, again)
        pointwise = layer.pointwise.elements(output)
        yield ConvStep(f"{path}.pointwise", layer.pointwise, output, output, pointwise, again, between + frees)
