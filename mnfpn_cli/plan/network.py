"""The whole network worked out."""

from dataclasses import dataclass

from mnfpn_cli.plan.backbone import BackbonePlan, plan_backbone
from mnfpn_cli.plan.pyramid import PyramidPlan, plan_pyramid
from mnfpn_cli.settings.models import NetworkSettings


@dataclass(frozen=True, slots=True)
class NetworkPlan:
    """Every layer of a network, exactly; nothing in it depends on the size of the input."""

    backbone: BackbonePlan
    pyramid: PyramidPlan


def plan_network(settings: NetworkSettings) -> NetworkPlan:
    """Work out the network that the settings describe."""
    backbone = plan_backbone(settings)
    return NetworkPlan(backbone, plan_pyramid(settings, backbone))
