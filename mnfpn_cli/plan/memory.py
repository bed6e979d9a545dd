"""The memory that a network needs to run, worked out from the order in which it runs.

This is what eager execution holds at its fullest moment, tensor by tensor; the scratch space of convolution kernels
comes on top, so it says what certainly does not fit, not what certainly does.
"""

from collections.abc import Sequence
from functools import lru_cache

from mnfpn_cli.plan.backbone import BackbonePlan, BlockPlan
from mnfpn_cli.plan.cost import network_cost
from mnfpn_cli.plan.head import ClassifierPlan, HeadPlan
from mnfpn_cli.plan.layers import ConvPlan, halved
from mnfpn_cli.plan.network import NetworkPlan
from mnfpn_cli.plan.pyramid import PyramidPlan, SeparablePlan
from mnfpn_cli.plan.sizes import level_sizes, stage_sizes
from mnfpn_cli.settings.input import ITEM_BYTES, DType, NetworkInput, Size

INDEX_BYTES = 8
"""Max-pooling also returns where each maximum was."""


def memory_needed(plan: NetworkPlan, input: NetworkInput, dtype: DType) -> int:
    """Bytes of the weights and of the activations alive together at the fullest moment of an inference pass."""
    return network_cost(plan, input.size).state_bytes(dtype) + activation_bytes(plan, input, dtype)


def activation_bytes(plan: NetworkPlan, input: NetworkInput, dtype: DType) -> int:
    """Bytes of the input and the feature maps alive together at the fullest moment, for the whole batch."""
    sizes = stage_sizes(plan.backbone, input.size)
    tapped = frozenset(level.stage for level in plan.pyramid.levels) if plan.pyramid else frozenset()
    alive = _Alive(ITEM_BYTES[dtype], *_after_backbone(plan.backbone, input.channels, input.size, tapped, dtype))
    if plan.pyramid:
        _run_pyramid(alive, plan.pyramid, sizes)
        sizes = level_sizes(plan.pyramid, sizes)
    if plan.head:
        _run_head(alive, plan.head, sizes)
    return input.batch * alive.peak


class _Alive:
    """The bytes of the tensors that are alive, and the most that ever were.

    What follows runs the network with it as the real one runs. A module's input lives as long as its call: the caller
    holds it. Batch norm makes a second tensor beside the convolution's; activations behind it work in place.
    """

    def __init__(self, item_bytes: int, bytes: int = 0, peak: int = 0) -> None:
        self.item_bytes = item_bytes
        self.bytes = bytes
        self.peak = peak

    def take(self, elements: int) -> None:
        self.bytes += elements * self.item_bytes
        self.peak = max(self.peak, self.bytes)

    def free(self, elements: int) -> None:
        self.bytes -= elements * self.item_bytes

    def conv(self, conv: ConvPlan, output: Size) -> int:
        """A convolution and its norm; returns the elements of the output."""
        elements = conv.elements(output)
        self.take(elements)
        if conv.norm:
            self.take(elements)
            self.free(elements)
        return elements

    def bare(self, layer: ConvPlan | SeparablePlan, output: Size) -> int:
        """A layer of the pyramid; returns the elements of the output."""
        if isinstance(layer, ConvPlan):
            return self.conv(layer, output)
        between = self.conv(layer.depthwise, output)
        elements = self.conv(layer.pointwise, output)
        self.free(between)
        return elements

    def max_pool(self, elements: int) -> None:
        """Max-pooling to so many elements."""
        self.take(elements)
        self.peak = max(self.peak, self.bytes + elements * INDEX_BYTES)


# A sweep asks for the same backbone under each of its pyramids.
@lru_cache(maxsize=256)
def _after_backbone(
    plan: BackbonePlan, channels: int, size: Size, tapped: frozenset[int], dtype: DType
) -> tuple[int, int]:
    """What is alive when the backbone has run on an image, and the most that was."""
    alive = _Alive(ITEM_BYTES[dtype])
    alive.take(channels * _cells(size))
    _run_backbone(alive, plan, size, tapped)
    return alive.bytes, alive.peak


def _run_backbone(alive: _Alive, plan: BackbonePlan, size: Size, tapped: frozenset[int]) -> None:
    size = plan.stem.output(size)
    current = alive.conv(plan.stem, size)
    if plan.stem_pool:
        size = halved(size)
        pooled = plan.stem.out_channels * _cells(size)
        alive.max_pool(pooled)
        alive.free(current)
        current = pooled
    for index, stage in enumerate(plan.stages):
        stage_input = current
        for number, block in enumerate(stage.blocks):
            output = _run_block(alive, block, size)
            if number:
                alive.free(current)
            size = size if stage.stride == 1 or number else halved(size)
            current = output
        if index - 1 not in tapped:  # the list of taps holds it otherwise
            alive.free(stage_input)


def _run_block(alive: _Alive, block: BlockPlan, size: Size) -> int:
    """Run a block on an input that its caller holds; returns the elements of the output."""
    current = 0
    for _, conv in block.layers:
        size = conv.output(size)
        output = alive.conv(conv, size)
        alive.free(current)
        current = output
    if block.residual:
        shortcut = alive.conv(block.shortcut, size) if block.shortcut else 0
        alive.take(current)
        alive.free(current + shortcut)
    return current


def _run_pyramid(alive: _Alive, plan: PyramidPlan, stages: Sequence[Size]) -> None:
    sizes = level_sizes(plan, stages)
    maps = []
    for level, size in zip(plan.levels, sizes, strict=False):
        averaged = level.lateral.in_channels if level.pooled else 0
        alive.take(averaged)
        maps.append(alive.conv(level.lateral, size))
        alive.free(averaged)
    for k in reversed(range(len(maps) - 1)):
        resized, merged = (plan.levels[n].merged * _cells(sizes[k]) for n in (k + 1, k))
        alive.take(resized)
        alive.take(merged)
        alive.free(resized + maps[k])
        maps[k] = merged
    kept = 0
    for level, size, elements in zip(plan.levels, sizes, maps, strict=False):
        if level.smooth:
            alive.bare(level.smooth, size)
        else:
            kept += elements
    below = plan.channels * _cells(sizes[len(plan.levels) - 1])
    for index, (extra, size) in enumerate(zip(plan.extra, sizes[len(plan.levels) :], strict=True)):
        rectified = below if index and plan.extra_relu else 0
        alive.take(rectified)
        below = plan.channels * _cells(size)
        if extra.layer:
            alive.bare(extra.layer, size)
        else:
            alive.max_pool(below)
        alive.free(rectified)
    alive.free(sum(maps) - kept)


def _run_head(alive: _Alive, plan: HeadPlan, sizes: Sequence[Size]) -> None:
    if isinstance(plan, ClassifierPlan):
        last = alive.conv(plan.last, sizes[-1]) if plan.last else 0
        alive.take(plan.features)
        alive.free(last)
        alive.take(plan.classes)
        return
    for _, layer in plan.levels:
        averaged = layer.in_features if plan.pool else 0
        alive.take(averaged)
        alive.take(layer.out_features)
        alive.free(averaged)
    alive.take(plan.final.in_features)
    alive.take(plan.final.out_features)


def _cells(size: Size) -> int:
    return size.height * size.width
