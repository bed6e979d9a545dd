"""The memory that a network needs to run, worked out from the order in which it runs.

This is what eager execution holds at its fullest moment, tensor by tensor; the scratch space of convolution kernels
comes on top, so it says what certainly does not fit, not what certainly does.
"""

from collections.abc import Iterator

from mnfpn_cli.plan.backbone import BackbonePlan
from mnfpn_cli.plan.cost import network_cost
from mnfpn_cli.plan.layers import ConvPlan
from mnfpn_cli.plan.network import NetworkPlan
from mnfpn_cli.plan.pyramid import PyramidPlan, SeparablePlan
from mnfpn_cli.plan.steps import stage_sizes
from mnfpn_cli.settings.input import ITEM_BYTES, DType, NetworkInput, Size


def memory_needed(plan: NetworkPlan, input: NetworkInput, dtype: DType) -> int:
    """Bytes of the weights and of the activations alive together at the fullest moment of an inference pass."""
    cost = network_cost(plan, input.size).total
    return (cost.parameters + cost.buffers) * ITEM_BYTES[dtype] + activation_bytes(plan, input, dtype)


def activation_bytes(plan: NetworkPlan, input: NetworkInput, dtype: DType) -> int:
    """Bytes of the input and the feature maps alive together at the fullest moment, for the whole batch."""
    return input.batch * peak_activations(plan, input) * ITEM_BYTES[dtype]


def peak_activations(plan: NetworkPlan, input: NetworkInput) -> int:
    """Elements of the input and the feature maps alive together at the fullest moment, for one image.

    A module's input lives as long as its call: the caller holds it.
    """
    image = input.channels * input.size.height * input.size.width
    sizes = stage_sizes(plan.backbone, input.size)
    taps = {level.stage: level.lateral.in_channels * _cells(sizes[level.stage]) for level in plan.pyramid.levels}
    in_pyramid = max(_pyramid_moments(plan.pyramid, sizes)) + sum(taps.values())
    return image + max(*_backbone_moments(plan.backbone, input.size, taps), in_pyramid)


def _backbone_moments(plan: BackbonePlan, size: Size, taps: dict[int, int]) -> Iterator[int]:
    size = plan.stem.output(size)
    stage_input = plan.stem.elements(size)
    yield 2 * stage_input
    held = 0  # by the list of taps; a tap that is also the stage's input is one tensor
    for index, stage in enumerate(plan.stages):
        held_before = held - taps.get(index - 1, 0)
        block_input = 0  # of the first block: the stage's input, counted already
        for block in stage.blocks:
            current = 0  # the first layer's input is the block's
            for _, conv in block.convs():
                size = conv.output(size)
                output = conv.elements(size)
                # Batch norm makes a second tensor beside the convolution's; ReLU6 works in place.
                yield held_before + stage_input + block_input + current + 2 * output
                current = output
            if block.residual:
                yield held_before + stage_input + block_input + 2 * current
            block_input = current
        stage_input = block_input
        held += taps.get(index, 0)


def _pyramid_moments(plan: PyramidPlan, sizes: list[Size]) -> Iterator[int]:
    maps = [level.lateral.elements(sizes[level.stage]) for level in plan.levels]
    yield sum(maps)
    for finer in maps[:-1]:
        yield sum(maps) + 2 * finer  # the resized map and the sum, while the lateral is still there
    smoothed = 0
    for level, elements in zip(plan.levels, maps, strict=True):
        match level.smooth:
            case ConvPlan():
                smoothed += elements
                yield sum(maps) + smoothed
            case SeparablePlan():
                smoothed += elements
                yield sum(maps) + smoothed + elements


def _cells(size: Size) -> int:
    return size.height * size.width
