"""The whole network worked out."""

from dataclasses import dataclass

from mnfpn_cli.plan.backbone import BackbonePlan, plan_backbone
from mnfpn_cli.plan.head import HeadPlan, plan_classifier, plan_level_classifiers
from mnfpn_cli.plan.pyramid import PyramidPlan, plan_pyramid
from mnfpn_cli.plan.rules import plan_outline
from mnfpn_cli.settings.heads import ClassifierHead, LevelClassifiersHead
from mnfpn_cli.settings.network import NetworkSettings

LOGITS = "logits"
"""The name of a head's output."""


@dataclass(frozen=True, slots=True)
class NetworkPlan:
    """Every layer of a network, exactly.

    Nothing in it depends on the size of the input, but for a head on flattened maps.
    """

    backbone: BackbonePlan
    pyramid: PyramidPlan | None
    head: HeadPlan | None

    @property
    def tapped(self) -> frozenset[int]:
        """The stages whose maps the pyramid is built on."""
        return frozenset([level.stage for level in self.pyramid.levels]) if self.pyramid else frozenset()

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of what comes out: the levels, finest first, or the logits."""
        if self.head or not self.pyramid:
            return (LOGITS,)
        return self.pyramid.names


def plan_network(settings: NetworkSettings, *, whole: bool = False) -> NetworkPlan:
    """Work out the network that the settings describe; the ``whole`` also has the stages that no level or head needs.

    Raises:
        UsageError: where the settings break a rule together, or lack the size of images that the head is made for.
    """
    widths, levels = plan_outline(settings)
    backbone = plan_backbone(settings, widths, None if whole else levels.last_stage)
    pyramid = plan_pyramid(levels, settings.pyramid, backbone) if settings.pyramid else None
    head: HeadPlan | None = None
    if isinstance(settings.head, ClassifierHead):
        head = plan_classifier(widths.last, settings.head, backbone)
    elif isinstance(settings.head, LevelClassifiersHead) and pyramid:
        head = plan_level_classifiers(settings.head, backbone, pyramid)
    return NetworkPlan(backbone, pyramid, head)
