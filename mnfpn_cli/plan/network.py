"""Plan the head and the whole network."""

from dataclasses import dataclass

from mnfpn_cli.errors import Problem, UsageError
from mnfpn_cli.plan.backbone import BackbonePlan, plan_backbone
from mnfpn_cli.plan.layers import ConvPlan, LinearPlan
from mnfpn_cli.plan.pyramid import PyramidPlan, level_sizes, plan_pyramid, stage_sizes
from mnfpn_cli.plan.rules import plan_outline
from mnfpn_cli.settings.network import ClassifierHead, LevelClassifiersHead, NetworkSettings


@dataclass(frozen=True, slots=True)
class ClassifierPlan:
    """A classifier on the backbone's last map: a last convolution or none, average pooling, dropout, a dense layer."""

    in_channels: int
    last: ConvPlan | None
    dropout: float
    dense: LinearPlan | ConvPlan
    classes: int

    @property
    def features(self) -> int:
        """The channels of the map that is averaged."""
        return self.last.out_channels if self.last else self.in_channels


@dataclass(frozen=True, slots=True)
class LevelClassifiersPlan:
    """A classifier on each level (dropout, dense layer, ReLU), and a dense layer over their outputs.

    Attributes:
        pool: whether each level's map is averaged before its dense layer; else it is flattened.
        dropout: the share of features dropped in training.
        levels: the dense layer of each level, by name.
        final: the dense layer over all levels.
    """

    pool: bool
    dropout: float
    levels: tuple[tuple[str, LinearPlan], ...]
    final: LinearPlan

    @property
    def classes(self) -> int:
        """The number of classes."""
        return self.final.out_features


HeadPlan = ClassifierPlan | LevelClassifiersPlan


def plan_classifier(channels: int | None, head: ClassifierHead, backbone: BackbonePlan) -> ClassifierPlan:
    """Plan a classifier; ``channels`` are the scaled channels of its last convolution, None for no convolution."""
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
    """Plan a classifier on each level of the pyramid.

    Raises:
        UsageError: where the head flattens maps and ``head.size`` is null.
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
    """Every layer of a network. Only a head on flattened maps depends on the size of the input."""

    backbone: BackbonePlan
    pyramid: PyramidPlan | None
    head: HeadPlan | None

    @property
    def tapped(self) -> frozenset[int]:
        """The stages whose maps the pyramid is built on."""
        return frozenset([level.stage for level in self.pyramid.levels]) if self.pyramid else frozenset()

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of the outputs: the levels, finest first, or ``logits``."""
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
    pyramid = plan_pyramid(levels, settings.pyramid, backbone) if settings.pyramid else None
    head: HeadPlan | None = None
    if isinstance(settings.head, ClassifierHead):
        head = plan_classifier(widths.last, settings.head, backbone)
    elif isinstance(settings.head, LevelClassifiersHead) and pyramid:
        head = plan_level_classifiers(settings.head, backbone, pyramid)
    return NetworkPlan(backbone, pyramid, head)
