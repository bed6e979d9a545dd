"""The memory that a network needs to run, worked out from the order in which it runs.

This is what eager execution holds at its peak, tensor by tensor; the scratch space of convolution kernels
comes on top, so it says what certainly does not fit, not what certainly does.
"""

from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from mnfpn_cli.plan.backbone import BackbonePlan
from mnfpn_cli.plan.cost import network_cost
from mnfpn_cli.plan.network import NetworkPlan
from mnfpn_cli.plan.steps import ConvStep, LinearStep, MaxPoolStep, Step, backbone_steps, cells, walk
from mnfpn_cli.settings.input import ITEM_BYTES, DType, NetworkInput, Size

INDEX_BYTES = 8
"""Max-pooling also returns where each maximum was."""


def memory_needed(plan: NetworkPlan, input: NetworkInput, dtype: DType) -> int:
    """Bytes of the weights and of the activations alive together at the peak of an inference pass."""
    return network_cost(plan, input.size).state_bytes(dtype) + activation_bytes(plan, input, dtype)


def activation_bytes(plan: NetworkPlan, input: NetworkInput, dtype: DType) -> int:
    """Bytes of the input and the feature maps alive together at the peak, for the whole batch."""
    walked = walk(plan, input.size)
    alive = _after_backbone(plan.backbone, input.size, walked.tapped, dtype)
    return input.batch * _run(alive, walked.pyramid + walked.head, dtype).peak


class _Alive(NamedTuple):
    """The bytes of the tensors that are alive, and the most that ever were."""

    bytes: int
    peak: int


# A sweep asks for the same backbone under each of its pyramids.
@lru_cache(maxsize=256)
def _after_backbone(plan: BackbonePlan, size: Size, tapped: frozenset[int], dtype: DType) -> _Alive:
    """What is alive when the backbone has run on an image, which its caller holds."""
    image = plan.stem.in_channels * cells(size) * ITEM_BYTES[dtype]
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
