"""What a network costs, in closed form: parameters, and multiply-accumulates for one image."""

from collections.abc import Iterable
from dataclasses import dataclass

from mnfpn_cli.plan.network import NetworkPlan
from mnfpn_cli.plan.steps import ConvStep, ResizeStep, Step, backbone_steps, pyramid_steps, stage_sizes
from mnfpn_cli.settings.input import Size


@dataclass(frozen=True, slots=True)
class Cost:
    """Parameters, and per image the MACs of the convolutions and the elements that other steps go through."""

    parameters: int = 0
    buffers: int = 0
    macs: int = 0
    norm_elements: int = 0
    resized_elements: int = 0
    added_elements: int = 0

    @property
    def flops(self) -> int:
        """Floating-point operations of the convolutions: two for each MAC."""
        return 2 * self.macs

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(
            self.parameters + other.parameters,
            self.buffers + other.buffers,
            self.macs + other.macs,
            self.norm_elements + other.norm_elements,
            self.resized_elements + other.resized_elements,
            self.added_elements + other.added_elements,
        )


@dataclass(frozen=True, slots=True)
class NetworkCost:
    """The cost of a network's two parts, and of the whole."""

    backbone: Cost
    pyramid: Cost

    @property
    def total(self) -> Cost:
        """Backbone and pyramid together."""
        return self.backbone + self.pyramid


def network_cost(plan: NetworkPlan, size: Size) -> NetworkCost:
    """The cost of a network on one image of ``size``."""
    return NetworkCost(
        backbone=_total(backbone_steps(plan.backbone, size)),
        pyramid=_total(pyramid_steps(plan.pyramid, stage_sizes(plan.backbone, size))),
    )


def _total(steps: Iterable[Step]) -> Cost:
    parameters = buffers = macs = norms = resized = added = 0
    for step in steps:
        if isinstance(step, ConvStep):
            conv = step.conv
            parameters += conv.parameters
            buffers += conv.buffers
            macs += conv.macs(step.output)
            norms += conv.elements(step.output) if conv.norm else 0
        elif isinstance(step, ResizeStep):
            resized += step.channels * step.output.height * step.output.width
        else:
            added += step.channels * step.size.height * step.size.width
    return Cost(parameters, buffers, macs, norms, resized, added)
