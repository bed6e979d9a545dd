"""The whole network worked out: backbone, pyramid, head."""

from dataclasses import dataclass

from mnfpn_cli.errors import Problem, UsageError
from mnfpn_cli.plan.backbone import BackbonePlan, plan_backbone
from mnfpn_cli.plan.layers import ConvPlan, LinearPlan
from mnfpn_cli.plan.levels import plan_outline
from mnfpn_cli.plan.pyramid import PyramidPlan, level_sizes, plan_pyramid, stage_sizes
from mnfpn_cli.settings.network import ClassifierHead, LevelClassifiersHead, NetworkSettings


@dataclass(frozen=True, slots=True)
class ClassifierPlan:
    """A last convolution, perhaps; average pooling; dropout; and a dense layer to the classes."""

    in_channels: int
    last: ConvPlan | None
    dropout: float
    dense: LinearPlan | ConvPlan
    classes: int

    @property
    def features(self) -> int:
        """Channels of the map that is averaged."""
        return self.last.out_channels if self.last else self.in_channels


@dataclass(frozen=True, slots=True)
class LevelClassifiersPlan:
    """For each level dropout, a dense layer to the classes and ReLU; and one dense layer over all of them."""

    pool: bool
    dropout: float
    levels: tuple[tuple[str, LinearPlan], ...]
    final: LinearPlan

    @property
    def classes(self) -> int:
        """Number of classes."""
        return self.final.out_features


HeadPlan = ClassifierPlan | LevelClassifiersPlan


def plan_classifier(channels: int | None, head: ClassifierHead, backbone: BackbonePlan) -> ClassifierPlan:
    """Work out a classifier on the backbone's last map; ``channels`` are those of the last convolution, scaled."""
    features, last = backbone.stages[-1].out_channels, None
    if channels is not None:
        bare, activation = head.bare_last, None if head.bare_last else backbone.activation
        bias = bare or backbone.conv_bias
        last = ConvPlan(features, channels, kernel=1, bias=bias, norm=not bare, activation=activation)
        features = channels
    dense: LinearPlan | ConvPlan = LinearPlan(features, head.classes)
    if head.dense == "conv":
        dense = ConvPlan(features, head.classes, kernel=1, bias=True)
    return ClassifierPlan(backbone.stages[-1].out_channels, last, head.dropout, dense, head.classes)


def plan_level_classifiers(
    head: LevelClassifiersHead, backbone: BackbonePlan, pyramid: PyramidPlan
) -> LevelClassifiersPlan:
    """Work out a classifier on each level of the pyramid.

    Raises:
        UsageError: where the head flattens maps, and the settings do not say of which size of images.
    """
    names = pyramid.names
    cells = [1] * len(names)
    if head.pool == "none":
        if head.made_for is None:
            raise UsageError(
                Problem("head.size", "must be given, as 600x900: dense layers on flattened maps fit one size", "null")
            )
        sizes = level_sizes(pyramid, stage_sizes(backbone, head.made_for))
        cells = [size.cells for size in sizes]
    levels = tuple(
        (name, LinearPlan(pyramid.channels * count, head.classes)) for name, count in zip(names, cells, strict=True)
    )
    return LevelClassifiersPlan(
        head.pool == "average", head.dropout, levels, LinearPlan(head.classes * len(levels), head.classes)
    )


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
