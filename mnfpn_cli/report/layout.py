"""Lay out a network as the rows of a diagram, which `terminal.diagram` draws as text and `figures.svg` as a picture.

Rows run from the image down. On the left are the maps of the backbone, each under the one that it is computed from; on
the right is the level of the same row. Between them, from left to right: the lateral, the merge, the smooth.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from mnfpn_cli.plan.heads import LOGITS, BranchPlan, ClassifierPlan, DensePlan, LevelClassifiersPlan, LevelHeadPlan
from mnfpn_cli.plan.layers import LayerPlan, SeparablePlan, halved
from mnfpn_cli.plan.network import NetworkPlan
from mnfpn_cli.plan.pyramid import ONE_CELL, LevelPlan, PyramidPlan
from mnfpn_cli.plan.shapes import HeadOutputShape, MapShape, NetworkShapes, stage_map
from mnfpn_cli.plan.steps import MaxPoolStep, Walk, walk
from mnfpn_cli.report.units import count, shape
from mnfpn_cli.settings.network import Merge


@dataclass(frozen=True, slots=True)
class DiagramNode:
    """A map of the diagram.

    Attributes:
        name: its name.
        shape: channels×height×width; of logits, their number.
        stride: in pixels of the image; None where it is a single cell, or not a map.
        step: the layers that compute it from the map above, as ``3×3, /2`` for a stride of 2; empty at the top.
        in_head: whether it belongs to the head.
    """

    name: str
    shape: str
    stride: int | None
    step: str = ""
    in_head: bool = False


@dataclass(frozen=True, slots=True)
class Path:
    """The layers from a tap to its level.

    Attributes:
        lateral: the lateral, as ``1×1, 256``.
        merge: how the coarser level is merged into it; None on the coarsest level.
        merged: the channels after the merge.
        smooth: the smooth, as ``3×3``; empty without one.
    """

    lateral: str
    merge: Merge | None
    merged: int
    smooth: str


@dataclass(frozen=True, slots=True)
class DiagramRow:
    """A row: a map of the backbone or the head, a level, and the path from one to the other.

    A level without a path is an extra one, computed from the level above or, with ``on_tap``, from the last tap.
    """

    stage: DiagramNode | None = None
    path: Path | None = None
    level: DiagramNode | None = None
    on_tap: bool = False


@dataclass(frozen=True, slots=True)
class Votes:
    """The classifiers of a head that has one for each level.

    Attributes:
        each: the layers of each classifier.
        logits: the output of the last layer, over all levels.
    """

    each: str
    logits: DiagramNode


@dataclass(frozen=True, slots=True)
class DiagramBranch:
    """A branch of a detector's head, which takes all levels.

    Attributes:
        name: its name.
        tower: the layers that all its outputs have in common, and whether the levels share them.
        outputs: the maps that it returns; the step of each is its last layer.
    """

    name: str
    tower: str
    outputs: tuple[DiagramNode, ...]


@dataclass(frozen=True, slots=True)
class DiagramLayout:
    """A diagram.

    Attributes:
        title: the input of the network.
        rows: from the image down.
        resize: how the top-down path resizes a level; empty without a pyramid.
        votes: the classifiers of the levels; None where the head has none.
        branches: those of a detector's head; empty without one.
        notes: sentences below the diagram.
    """

    title: str
    rows: tuple[DiagramRow, ...]
    resize: str
    votes: Votes | None
    branches: tuple[DiagramBranch, ...]
    notes: tuple[str, ...]

    @property
    def stages(self) -> tuple[DiagramNode, ...]:
        """The maps on the left, from the image down."""
        return tuple(row.stage for row in self.rows if row.stage)

    @property
    def paths(self) -> tuple[Path, ...]:
        """The paths to the levels, the finest level first."""
        return tuple(row.path for row in self.rows if row.path)

    @property
    def levels(self) -> tuple[DiagramNode, ...]:
        """The levels on the right, the finest first."""
        return tuple(row.level for row in self.rows if row.level)

    @property
    def outputs(self) -> tuple[DiagramNode, ...]:
        """The outputs of all branches."""
        return tuple(output for branch in self.branches for output in branch.outputs)

    @property
    def merging(self) -> tuple[int, ...]:
        """The indices of the rows with a path: the top-down path runs from the last up to the first."""
        return tuple(index for index, row in enumerate(self.rows) if row.path)


def network_layout(plan: NetworkPlan, shapes: NetworkShapes) -> DiagramLayout:
    """Lay out a network with its shapes for an input, those of one image of the batch."""
    pyramid, head = plan.pyramid, plan.head
    return DiagramLayout(
        title="Input " + "×".join(map(str, shapes.input.shape)),
        rows=tuple(_rows(plan, shapes)),
        resize=pyramid.upsample if pyramid else "",
        votes=_votes(head) if isinstance(head, LevelClassifiersPlan) else None,
        branches=tuple(_branches(head, shapes)) if isinstance(head, DensePlan) else (),
        notes=tuple(_notes(plan, pyramid)) if pyramid else (),
    )


def _rows(plan: NetworkPlan, shapes: NetworkShapes) -> Iterator[DiagramRow]:
    walked = walk(plan, shapes.input.size)
    for node in _entry(walked):
        yield DiagramRow(node)
    tapped = {level.stage: level for level in plan.pyramid.levels} if plan.pyramid else {}
    outputs = {level.name: DiagramNode(level.name, _shape(level.output), level.stride) for level in shapes.levels}
    for index, node in enumerate(_stages(walked)):
        level = tapped.get(index)
        if not plan.pyramid or not level:
            yield DiagramRow(node)
            continue
        yield DiagramRow(node, _path(level, plan.pyramid), outputs[level.name])
        if level is plan.pyramid.levels[-1]:
            yield from _extra_rows(plan.pyramid, outputs)
    if isinstance(plan.head, ClassifierPlan):
        for node in _classifier(plan.head, walked):
            yield DiagramRow(node)


def _entry(walked: Walk) -> Iterator[DiagramNode]:
    stem = walked.plan.backbone.stem
    yield DiagramNode("image", shape(stem.in_channels, walked.size), 1)
    yield DiagramNode("stem", shape(stem.out_channels, stem.output(walked.size)), stem.stride, _layer(stem))
    for step in walked.backbone:
        if isinstance(step, MaxPoolStep):
            pooled = shape(step.channels, halved(step.input))
            kernel = f"{step.kernel}×{step.kernel}"
            yield DiagramNode(step.path, pooled, 2 * stem.stride, f"max-pool {kernel}, /2")


def _stages(walked: Walk) -> Iterator[DiagramNode]:
    plan = walked.plan.backbone
    stride = plan.stem.stride * (2 if plan.stem_pool else 1)
    for index, stage in enumerate(plan.stages):
        path, output = stage_map(walked, index)
        stride *= stage.stride
        block = "bottleneck" if stage.blocks[0].is_bottleneck else "inverted residual"
        step = f"{len(stage.blocks)} × {block}{_halving(stage.stride)}"
        yield DiagramNode(path, _shape(output), stride, step)


def _path(level: LevelPlan, pyramid: PyramidPlan) -> Path:
    lateral = f"1×1, {level.lateral.out_channels}"
    return Path(
        lateral=f"pool, {lateral}" if level.pooled else lateral,
        merge=None if level is pyramid.levels[-1] else pyramid.merge,
        merged=level.merged,
        smooth=_layer(level.smooth) if level.smooth else "",
    )


def _extra_rows(pyramid: PyramidPlan, outputs: Mapping[str, DiagramNode]) -> Iterator[DiagramRow]:
    for index, extra in enumerate(pyramid.extra):
        layer = _layer(extra.layer) if extra.layer else "max-pool, /2"
        step = f"ReLU, {layer}" if index and pyramid.extra_relu else layer
        on_tap = index == 0 and pyramid.extra_stage is not None
        yield DiagramRow(level=replace(outputs[extra.name], step=step), on_tap=on_tap)


def _classifier(head: ClassifierPlan, walked: Walk) -> Iterator[DiagramNode]:
    if head.last:
        last, stride = shape(head.features, walked.stages[-1]), walked.plan.backbone.stride
        yield DiagramNode("head.last", last, stride, _layer(head.last), in_head=True)
    yield DiagramNode("head.pool", shape(head.features, ONE_CELL), None, "average-pool", in_head=True)
    yield _logits(head.classes)


def _votes(head: LevelClassifiersPlan) -> Votes:
    return Votes("pool, dense" if head.pool else "dense", _logits(head.classes))


def _branches(head: DensePlan, shapes: NetworkShapes) -> Iterator[DiagramBranch]:
    outputs = {output.name: output for output in shapes.head.outputs} if shapes.head else {}
    for branch in head.branches:
        level, sharing = branch.levels[0], "shared" if len(branch.levels) == 1 else "one a level"
        tower = f"{len(level.tower)} × {_layer(level.tower[0])}, {_channels(level.tower[-1])}, " if level.tower else ""
        nodes = (_output(outputs[name], _layer(layer)) for name, layer in level.last)
        yield DiagramBranch(branch.name, tower + sharing, tuple(nodes))


def _output(output: HeadOutputShape, step: str) -> DiagramNode:
    anchors, values = output.shape
    return DiagramNode(output.name, f"{count(anchors)}×{values}", None, step, in_head=True)


def _channels(layer: LayerPlan) -> int:
    return (layer.pointwise if isinstance(layer, SeparablePlan) else layer).out_channels


def _logits(classes: int) -> DiagramNode:
    return DiagramNode(LOGITS, str(classes), None, "dense", in_head=True)


def _notes(plan: NetworkPlan, pyramid: PyramidPlan) -> Iterator[str]:
    smooths = [level.smooth for level in pyramid.levels if level.smooth]
    if pyramid.smooth_shared and smooths:
        yield "One smooth layer is shared by all levels."
    if pyramid.last:
        yield f"{pyramid.levels[-1].name} is on a last 1×1 convolution, {pyramid.last.out_channels} channels."
    if pyramid.smoothed_down:
        yield "Maps go down smoothed."
    branches: tuple[BranchPlan, ...] = plan.head.branches if isinstance(plan.head, DensePlan) else ()
    if any(branch.norms for branch in branches):
        yield "Each level has its own norms in the head."
    of_head = (layer for branch in branches for layer in _layers(branch.levels[0]))
    if any(isinstance(one, SeparablePlan) for one in (*smooths, *(extra.layer for extra in pyramid.extra), *of_head)):
        yield "separable: a depthwise 3×3 and a 1×1."


def _layers(level: LevelHeadPlan) -> Iterator[LayerPlan]:
    yield from level.tower
    yield from (layer for _, layer in level.last)


def _layer(layer: LayerPlan) -> str:
    if isinstance(layer, SeparablePlan):
        return f"separable{_halving(layer.depthwise.stride)}"
    return f"{layer.kernel}×{layer.kernel}{_halving(layer.stride)}"


def _halving(stride: int) -> str:
    return f", /{stride}" if stride > 1 else ""


def _shape(map_: MapShape) -> str:
    return shape(map_.channels, map_.size)
