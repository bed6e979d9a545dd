"""What a network costs for an input: parameters, MACs, and bytes of weights and activations."""

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
    PoolStep,
    ResizeStep,
    Step,
    Walk,
    backbone_steps,
    walk,
)
from mnfpn_cli.settings.input import ITEM_BYTES, DType, NetworkInput, Size

COUNTER_BYTES = 8
"""Of batch norm's count of batches, an int64."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Parameters, and per image the MACs of convolutions and dense layers and the elements that other steps go through.

    Pooled elements are those of the maps that are averaged. Buffers are batch norm's means and variances; its counters,
    one whole number a norm, are apart, as no dtype changes them.
    """

    parameters: int = 0
    buffers: int = 0
    macs: int = 0
    norm_elements: int = 0
    resized_elements: int = 0
    added_elements: int = 0
    pooled_elements: int = 0
    counters: int = 0

    @property
    def flops(self) -> int:
        """Floating-point operations of convolutions and dense layers: two for each MAC."""
        return 2 * self.macs

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
        )


@dataclass(frozen=True, slots=True)
class NetworkCost:
    """The cost of a network's parts, and of the whole; zero for a part that there is not."""

    backbone: Cost
    pyramid: Cost
    head: Cost

    @property
    def total(self) -> Cost:
        """All parts together."""
        return self.backbone + self.pyramid + self.head

    @property
    def parts(self) -> dict[str, Cost]:
        """Those that the network has, by name."""
        named = {"backbone": self.backbone, "pyramid": self.pyramid, "head": self.head}
        return {name: part for name, part in named.items() if part.parameters}

    def state_bytes(self, dtype: DType) -> int:
        """Bytes of the weights in a dtype: of parameters, and of batch norm's means, variances and counters."""
        total = self.total
        return (total.parameters + total.buffers) * ITEM_BYTES[dtype] + total.counters * COUNTER_BYTES


@dataclass(frozen=True, slots=True)
class WholeCost:
    """The cost of a network that others wrote, whose parts nobody has named."""

    total: Cost

    @property
    def parts(self) -> dict[str, Cost]:
        """None."""
        return {}


def network_cost(plan: NetworkPlan, size: Size) -> NetworkCost:
    """Add up what the steps of a network cost on one image of ``size``, part by part."""
    return walked_cost(walk(plan, size))


def walked_cost(walked: Walk) -> NetworkCost:
    """Add up the same for a network that was walked through already, as a space does for each of its networks."""
    backbone = _backbone_cost(walked.plan.backbone, walked.size, walked.tapped)
    return NetworkCost(backbone, _total(walked.pyramid), _total(walked.head))


# A sweep asks for the same backbone under each of its pyramids.
@lru_cache(maxsize=256)
def _backbone_cost(plan: BackbonePlan, size: Size, tapped: frozenset[int]) -> Cost:
    return _total(backbone_steps(plan, size, tapped))


def _total(steps: Iterable[Step]) -> Cost:
    parameters = buffers = macs = norms = resized = added = pooled = counters = 0
    for step in steps:
        if isinstance(step, ConvStep):  # told apart by hand: a match statement takes twice the time, for millions
            conv, output = step.conv, step.output
            macs += conv.macs(output)
            if conv.norm:
                norms += step.makes
            if not step.again:
                parameters += conv.parameters
                buffers += conv.buffers
                counters += conv.norm
        elif isinstance(step, LinearStep):
            parameters += step.linear.parameters
            macs += step.linear.macs
        elif isinstance(step, PoolStep):
            pooled += step.channels * step.input.cells
        elif isinstance(step, ResizeStep):
            resized += step.makes
        elif isinstance(step, AddStep):
            added += step.makes
    return Cost(parameters, buffers, macs, norms, resized, added, pooled, counters)


INDEX_BYTES = 8
"""Max-pooling also returns where each maximum was."""


def memory_needed(plan: NetworkPlan, input: NetworkInput, dtype: DType) -> int:
    """Bytes of the weights and of the activations alive together at the peak of an inference pass."""
    return network_cost(plan, input.size).state_bytes(dtype) + activation_bytes(plan, input, dtype)


def activation_bytes(plan: NetworkPlan, input: NetworkInput, dtype: DType) -> int:
    """Bytes of the input and the feature maps alive together at the peak, for the whole batch."""
    return input.batch * walked_activation_bytes(walk(plan, input.size), dtype)


def walked_activation_bytes(walked: Walk, dtype: DType) -> int:
    """Bytes of the same for one image, for a network that was walked through already."""
    alive = _after_backbone(walked.plan.backbone, walked.size, walked.tapped, dtype)
    return _run(_run(alive, walked.pyramid, dtype), walked.head, dtype).peak


class _Alive(NamedTuple):
    """The bytes of the tensors that are alive, and the most that ever were."""

    bytes: int
    peak: int


# A sweep asks for the same backbone under each of its pyramids.
@lru_cache(maxsize=256)
def _after_backbone(plan: BackbonePlan, size: Size, tapped: frozenset[int], dtype: DType) -> _Alive:
    """What is alive when the backbone has run on an image, which its caller holds."""
    image = plan.stem.in_channels * size.cells * ITEM_BYTES[dtype]
    return _run(_Alive(image, image), backbone_steps(plan, size, tapped), dtype)


def _run(alive: _Alive, steps: Iterable[Step], dtype: DType) -> _Alive:
    """Run steps as the real network does.

    Batch norm makes a second tensor beside the convolution's; activations behind it work in place.
    """
    (bytes, peak), item_bytes = alive, ITEM_BYTES[dtype]
    for step in steps:
        made, beside = step.makes * item_bytes, 0
        if isinstance(step, ConvStep):
            beside = made if step.conv.norm else 0
        elif isinstance(step, MaxPoolStep):
            beside = step.makes * INDEX_BYTES
        elif isinstance(step, LinearStep):
            beside = step.joined * item_bytes
        bytes += made
        peak = max(peak, bytes + beside)
        bytes -= step.frees * item_bytes
    return _Alive(bytes, peak)
