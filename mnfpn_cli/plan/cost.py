"""The cost of a network for an input: parameters, MACs, and bytes of weights and activations."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from mnfpn_cli.plan.backbone import BackbonePlan
from mnfpn_cli.plan.network import NetworkPlan
from mnfpn_cli.plan.steps import (
    AddStep,
    ConvStep,
    LinearStep,
    MaxPoolStep,
    NormStep,
    PoolStep,
    ResizeStep,
    Step,
    Walk,
    backbone_steps,
    walk,
)
from mnfpn_cli.settings.input import ITEM_BYTES, DType, NetworkInput, Size

COUNTER_BYTES = 8
"""Bytes of batch norm's counter of batches, an int64."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Parameters, and the MACs and elements of one image.

    Attributes:
        parameters: trainable parameters.
        buffers: elements of batch norm's running means and variances.
        macs: MACs of convolutions and dense layers.
        norm_elements: elements that batch norms normalise.
        group_norm_elements: elements that group norms normalise.
        resized_elements: elements of resized maps.
        added_elements: elements of sums of two maps.
        pooled_elements: elements that average pooling reads; max-pooling is not counted.
        counters: batch norm's counters of batches, one for each norm layer: int64 in every dtype.
    """

    parameters: int = 0
    buffers: int = 0
    macs: int = 0
    norm_elements: int = 0
    resized_elements: int = 0
    added_elements: int = 0
    pooled_elements: int = 0
    counters: int = 0
    group_norm_elements: int = 0

    @property
    def flops(self) -> int:
        """Floating-point operations of convolutions and dense layers: two for each MAC."""
        return 2 * self.macs

    def state_bytes(self, dtype: DType) -> int:
        """Return the bytes of the weights in a dtype: parameters, and batch norm's means, variances and counters."""
        return (self.parameters + self.buffers) * ITEM_BYTES[dtype] + self.counters * COUNTER_BYTES

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(
            self.parameters + other.parameters,
            self.buffers + other.buffers,
            self.macs + other.macs,
            self.norm_elements + other.norm_elements,
            self.resized_elements + other.resized_elements,
            self.added_elements + other.added_elements,
            self.pooled_elements + other.pooled_elements,
            self.counters + other.counters,
            self.group_norm_elements + other.group_norm_elements,
        )


@dataclass(frozen=True, slots=True)
class NetworkCost:
    """The cost of each part of a network; 0 for a part that the network does not have."""

    backbone: Cost
    pyramid: Cost
    head: Cost

    @property
    def total(self) -> Cost:
        """The sum of all parts."""
        return self.backbone + self.pyramid + self.head

    @property
    def parts(self) -> dict[str, Cost]:
        """The parts that the network has, by name."""
        named = {"backbone": self.backbone, "pyramid": self.pyramid, "head": self.head}
        return {name: part for name, part in named.items() if part.parameters}

    def state_bytes(self, dtype: DType) -> int:
        """Return the bytes of the weights of all parts in a dtype."""
        return self.total.state_bytes(dtype)


@dataclass(frozen=True, slots=True)
class WholeCost:
    """The cost of an external network, whose parts have no names.

    Attributes:
        total: the cost of the whole network.
        uncounted: the names of operations whose MACs are not in it.
    """

    total: Cost
    uncounted: tuple[str, ...] = ()

    @property
    def parts(self) -> dict[str, Cost]:
        """Always empty."""
        return {}


def network_cost(plan: NetworkPlan, size: Size) -> NetworkCost:
    """Return the cost of each part of a network on one image of ``size``."""
    return walked_cost(walk(plan, size))


def walked_cost(walked: Walk) -> NetworkCost:
    """Return the cost of each part of a network from its steps, where a caller has them."""
    backbone = _backbone_cost(walked.plan.backbone, walked.size, walked.tapped)
    return NetworkCost(backbone, _total(walked.pyramid), _total(walked.head))


# In a sweep, many pyramids share one backbone.
@lru_cache(maxsize=256)
def _backbone_cost(plan: BackbonePlan, size: Size, tapped: frozenset[int]) -> Cost:
    return _total(backbone_steps(plan, size, tapped))


def _total(steps: Iterable[Step]) -> Cost:
    parameters = buffers = macs = norms = resized = added = pooled = counters = group_norms = 0
    for step in steps:
        if isinstance(step, ConvStep):  # a match statement takes twice as long, and a sweep has millions of steps
            conv, output = step.conv, step.output
            weights, own_parameters, own_buffers = conv.sizes()
            macs += weights * output.height * output.width
            if conv.norm:
                if conv.norm == "batch":
                    norms += step.makes
                else:
                    group_norms += step.makes
            if not step.again:
                parameters += own_parameters
                buffers += own_buffers
                counters += conv.norm == "batch"
        elif isinstance(step, NormStep):
            is_batch = step.norm.norm == "batch"
            norms += step.makes * is_batch
            group_norms += step.makes * (not is_batch)
            parameters += step.norm.parameters
            buffers += step.norm.buffers
            counters += is_batch
        elif isinstance(step, LinearStep):
            parameters += step.linear.parameters
            macs += step.linear.macs
        elif isinstance(step, PoolStep):
            pooled += step.channels * step.input.cells
        elif isinstance(step, ResizeStep):
            resized += step.makes
        elif isinstance(step, AddStep):
            added += step.makes
    return Cost(parameters, buffers, macs, norms, resized, added, pooled, counters, group_norms)


INDEX_BYTES = 8
"""Bytes of the index of a maximum, an int64, which max-pooling also returns for each element."""


def memory_needed(plan: NetworkPlan, input: NetworkInput, dtype: DType) -> int:
    """Return the bytes of the weights, and of the activations that are alive at the peak of an inference pass."""
    return network_cost(plan, input.size).state_bytes(dtype) + activation_bytes(plan, input, dtype)


def activation_bytes(plan: NetworkPlan, input: NetworkInput, dtype: DType) -> int:
    """Return the peak bytes of the input, maps and temporary tensors alive together, for the whole batch."""
    return input.batch * walked_activation_bytes(walk(plan, input.size), dtype)


def walked_activation_bytes(walked: Walk, dtype: DType) -> int:
    """Return the peak bytes of input and feature maps for one image, where a caller has the steps of the network."""
    alive = _after_backbone(walked.plan.backbone, walked.size, walked.tapped, dtype)
    return _after(_after(alive, walked.pyramid, dtype), walked.head, dtype).peak


class _Alive(NamedTuple):
    """The bytes of the tensors that are alive, and the peak so far."""

    bytes: int
    peak: int


# In a sweep, many pyramids share one backbone.
@lru_cache(maxsize=256)
def _after_backbone(plan: BackbonePlan, size: Size, tapped: frozenset[int], dtype: DType) -> _Alive:
    """Return the bytes that are alive after the backbone ran on one image. The image counts: the caller holds it."""
    image = plan.stem.in_channels * size.cells * ITEM_BYTES[dtype]
    return _after(_Alive(image, image), backbone_steps(plan, size, tapped), dtype)


def _after(alive: _Alive, steps: Iterable[Step], dtype: DType) -> _Alive:
    """Return the bytes that are alive after some steps.

    A norm makes a second tensor, as large as the convolution's; the activations after it work in place. A padded copy
    of the input is gone before.
    """
    (bytes, peak), item_bytes = alive, ITEM_BYTES[dtype]
    for step in steps:
        made, temporary = step.makes * item_bytes, 0
        if isinstance(step, ConvStep):
            temporary = made if step.conv.norm else 0
            if step.conv.same:
                temporary = max(temporary, step.conv.padded(step.input) * item_bytes)
        elif isinstance(step, MaxPoolStep):
            temporary = step.makes * INDEX_BYTES + step.padded * item_bytes
        elif isinstance(step, LinearStep):
            temporary = step.joined * item_bytes
        bytes += made
        peak = max(peak, bytes + temporary)
        bytes -= step.frees * item_bytes
    return _Alive(bytes, peak)
