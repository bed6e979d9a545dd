"""Plan the whole network."""

from dataclasses import dataclass

from mnfpn_cli.plan.backbone import BackbonePlan, plan_backbone
from mnfpn_cli.plan.heads import LOGITS, DensePlan, HeadPlan, plan_classifier, plan_dense, plan_level_classifiers
from mnfpn_cli.plan.pyramid import PyramidPlan, plan_pyramid
from mnfpn_cli.plan.rules import plan_outline
from mnfpn_cli.settings.network import ClassifierHead, LevelClassifiersHead, NetworkSettings


@dataclass(frozen=True, slots=True)
class NetworkPlan:
    """Every layer of a network. Only a head on flattened maps depends on the size of the input.

    Attributes:
        norm_eps: what every norm adds to the variance.
    """

    backbone: BackbonePlan
    pyramid: PyramidPlan | None
    head: HeadPlan | None
    norm_eps: float = 1e-5

    @property
    def tapped(self) -> frozenset[int]:
        """The stages whose maps the pyramid is built on."""
        return frozenset([level.stage for level in self.pyramid.levels]) if self.pyramid else frozenset()

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of the outputs: the levels, finest first, ``logits``, or those of a detector."""
        if isinstance(self.head, DensePlan):
            return self.head.outputs
        if self.head or not self.pyramid:
            return (LOGITS,)
        return self.pyramid.names


def plan_network(settings: NetworkSettings, *, whole: bool = False) -> NetworkPlan:
    """Plan the network that settings describe.

    Args:
        settings: of the network.
        whole: whether to plan also the stages that no level and no head needs.

    Raises:
        UsageError: where settings break a rule together, or a head that flattens maps has no size.
    """
    widths, levels = plan_outline(settings)
    backbone = plan_backbone(settings, widths, None if whole else levels.last_stage)
    pyramid = plan_pyramid(levels, settings.pyramid, backbone, widths) if settings.pyramid else None
    head: HeadPlan | None = None
    if isinstance(settings.head, ClassifierHead):
        head = plan_classifier(widths.last, settings.head, backbone)
    elif isinstance(settings.head, LevelClassifiersHead) and pyramid:
        head = plan_level_classifiers(settings.head, backbone, pyramid)
    elif settings.detection and pyramid:
        head = plan_dense(settings.detection, pyramid)
    return NetworkPlan(backbone, pyramid, head, settings.norm_eps)
