"""Plan the head: classifiers, and the dense heads of detectors."""

from collections.abc import Sequence
from dataclasses import dataclass

from mnfpn_cli.errors import Problem, UsageError
from mnfpn_cli.plan.anchors import anchors_per_cell
from mnfpn_cli.plan.backbone import BackbonePlan
from mnfpn_cli.plan.layers import Activation, ConvPlan, LayerPlan, LinearPlan, Norm, NormPlan, SeparablePlan
from mnfpn_cli.plan.pyramid import SHARED, PyramidPlan, level_sizes, stage_sizes
from mnfpn_cli.settings.detection import DetectionSettings, FCOSHead, RetinaNetHead, RPNHead, SSDHead
from mnfpn_cli.settings.network import ClassifierHead, LevelClassifiersHead

LOGITS = "logits"
"""The name of a classifier's output."""

CLASSES, BOXES, CENTRENESS, OBJECTNESS = "cls_logits", "bbox_regression", "bbox_ctrness", "objectness"
DETECTOR_OUTPUTS = (CLASSES, BOXES, CENTRENESS, OBJECTNESS)
"""The names of a detector's outputs, as in torchvision."""


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


def plan_classifier(channels: int | None, head: ClassifierHead, backbone: BackbonePlan) -> ClassifierPlan:
    """Plan a classifier; ``channels`` are the scaled channels of its last convolution, None for no convolution."""
    features, last = backbone.stages[-1].out_channels, None
    if channels is not None:
        bare, activation = head.bare_last, None if head.bare_last else backbone.activation
        bias = bare or backbone.conv_bias
        last = ConvPlan(features, channels, kernel=1, bias=bias, norm=None if bare else "batch", activation=activation)
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


@dataclass(frozen=True, slots=True)
class LevelHeadPlan:
    """The convolutions of a branch on one level, or on all levels that share them.

    Attributes:
        name: of the level, or ``shared``.
        tower: the convolutions before the last ones.
        last: the last convolution of each output, by its name.
    """

    name: str
    tower: tuple[LayerPlan, ...]
    last: tuple[tuple[str, LayerPlan], ...]


@dataclass(frozen=True, slots=True)
class BranchPlan:
    """A tower of a dense head, and the outputs that are computed from its map.

    Attributes:
        name: ``cls``, ``box``, or ``joint`` for both.
        levels: the convolutions of each level; one entry where all levels share them.
        norms: behind the convolutions of a shared tower, those of each level; empty where each has its norm within.
    """

    name: str
    levels: tuple[LevelHeadPlan, ...]
    norms: tuple[NormPlan, ...]

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of the outputs."""
        return tuple(name for name, _ in self.levels[0].last)


@dataclass(frozen=True, slots=True)
class DensePlan:
    """The head of a detector: on each level of a pyramid, values for each cell and anchor.

    Attributes:
        kind: ``retinanet``, ``fcos``, ``ssd``, ``ssdlite`` or ``rpn``.
        anchors: the anchors of each cell, for each level by name, finest first.
        values: the values for an anchor, for each output by name: as many as classes, 4 of a box, 1.
        branches: in the order in which they run.
    """

    kind: str
    anchors: tuple[tuple[str, int], ...]
    values: tuple[tuple[str, int], ...]
    branches: tuple[BranchPlan, ...]

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of the outputs, in the order in which the network returns them."""
        return tuple(name for name, _ in self.values)

    @property
    def classes(self) -> int:
        """The number of scores of an anchor."""
        return self.values[0][1]


HeadPlan = ClassifierPlan | LevelClassifiersPlan | DensePlan


def plan_dense(head: DetectionSettings, pyramid: PyramidPlan) -> DensePlan:
    """Plan the head of a detector.

    Raises:
        SettingsError: where its anchors do not match the levels of the pyramid.
    """
    counts = anchors_per_cell(head, len(pyramid.names))
    layers = _HeadLayers(head)
    branches: dict[str, tuple[str, ...]]
    values, branches = {OBJECTNESS: 1, BOXES: 4}, {"cls": (OBJECTNESS,), "box": (BOXES,)}
    if isinstance(head, RetinaNetHead | FCOSHead | SSDHead):
        values, branches = {CLASSES: head.classes, BOXES: 4}, {"cls": (CLASSES,), "box": (BOXES,)}
    if isinstance(head, FCOSHead):
        branches["box"], values[CENTRENESS] = (BOXES, CENTRENESS), 1
    if head.one_tower:
        branches = {"joint": tuple(values)}
    channels = head.channels or pyramid.channels
    tower = tuple(layers.tower(channels if k else pyramid.channels, channels) for k in range(head.depth))
    before = channels if head.depth else pyramid.channels

    def level(name: str, count: int, outputs: Sequence[str]) -> LevelHeadPlan:
        return LevelHeadPlan(
            name, tower, tuple((key, layers.last(key, before, count * values[key])) for key in outputs)
        )

    named = [(SHARED, counts[0])] if head.shared else list(zip(pyramid.names, counts, strict=True))
    return DensePlan(
        kind=head.kind,
        anchors=tuple(zip(pyramid.names, counts, strict=True)),
        values=tuple(values.items()),
        branches=tuple(
            BranchPlan(
                branch,
                tuple(level(name, count, outputs) for name, count in named),
                (layers.norm(channels),) * head.depth if layers.own_norms else (),
            )
            for branch, outputs in branches.items()
        ),
    )


class _HeadLayers:
    """Makes the convolutions of a dense head."""

    def __init__(self, head: DetectionSettings) -> None:
        self._head = head
        self._norm: Norm | None = None if head.norm == "none" else head.norm
        self._groups = head.norm_groups if head.norm == "group" else 0
        self._activation: Activation = head.activation
        self.own_norms = head.shared and not head.norm_shared and self._norm is not None

    def norm(self, channels: int) -> NormPlan:
        """A level's own norm, behind a convolution that the levels share."""
        assert self._norm
        return NormPlan(channels, self._norm, self._activation, self._groups)

    def tower(self, in_channels: int, out_channels: int) -> LayerPlan:
        """A convolution of a tower; it has a bias unless a norm follows, or as `conv_bias` says."""
        bias = self._head.conv_bias or self._norm is None
        if self.own_norms:
            return self._conv(in_channels, ConvPlan(in_channels, out_channels, 3, bias=bias))
        return self._conv(in_channels, self._normed(ConvPlan(in_channels, out_channels, 3, bias=bias)))

    def last(self, output: str, in_channels: int, out_channels: int) -> LayerPlan:
        """The last convolution of an output; distances of FCOS are never negative, so a ReLU follows them."""
        kernel = 1 if isinstance(self._head, RPNHead) else 3
        activation: Activation | None = "relu" if isinstance(self._head, FCOSHead) and output == BOXES else None
        return self._conv(in_channels, ConvPlan(in_channels, out_channels, kernel, bias=True, activation=activation))

    def _conv(self, in_channels: int, conv: ConvPlan) -> LayerPlan:
        """A convolution as it is, or the depthwise and the 1×1 convolution that stand for it."""
        if not self._head.separable or conv.kernel == 1:
            return conv
        depthwise = ConvPlan(in_channels, in_channels, conv.kernel, groups=in_channels)
        if self._head.depthwise_norm:
            depthwise = self._normed(depthwise._replace(bias=self._head.conv_bias or self._norm is None))
        return SeparablePlan(depthwise, conv._replace(kernel=1))

    def _normed(self, conv: ConvPlan) -> ConvPlan:
        return conv._replace(norm=self._norm, activation=self._activation, norm_groups=self._groups)
