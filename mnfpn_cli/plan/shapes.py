"""The feature maps that a network outputs for an input, and the document of `mnfpn shapes`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod

from mnfpn_cli.documents.records import ImageInput, MapSize, WeightsRecord
from mnfpn_cli.documents.shapes import (
    HeadMap,
    HeadMaps,
    HeadOutput,
    LevelMap,
    PlannedMaps,
    ShapesDocument,
    TapMap,
)
from mnfpn_cli.plan.heads import CLASSES, LOGITS, DensePlan, HeadPlan
from mnfpn_cli.plan.network import NetworkPlan
from mnfpn_cli.plan.pyramid import ExtraPlan, LevelPlan, PyramidPlan
from mnfpn_cli.plan.steps import ResizeStep, Walk, walk
from mnfpn_cli.settings.input import ITEM_BYTES, DType, NetworkInput, Size
from mnfpn_cli.settings.network import NetworkSettings


@dataclass(frozen=True, slots=True)
class MapShape:
    """The shape of a feature map of one image: channels × height × width."""

    channels: int
    size: Size

    @property
    def elements(self) -> int:
        """The elements of the map."""
        return self.channels * self.size.cells

    def bytes(self, batch: int, dtype: DType) -> int:
        """Return the bytes of the maps of a batch."""
        return batch * self.elements * ITEM_BYTES[dtype]


@dataclass(frozen=True, slots=True)
class LevelShape:
    """A level of the pyramid, the maps that it is made of, and its own map.

    Attributes:
        name: of the level.
        stride: in pixels of the image; None for a pooled top, which is one cell for any image.
        tap_path: the path of the tap: a stage, a last convolution, or for some extra levels the level before.
        tap: the map of the tap.
        resized_from: the size of the coarser map that is resized and merged into the level; None where there is none.
        output: the level's map.
        exact_height: the height of the image over the stride.
        exact_width: the width of the image over the stride.
    """

    name: str
    stride: int | None
    tap_path: str
    tap: MapShape
    resized_from: Size | None
    output: MapShape
    exact_height: float
    exact_width: float

    @property
    def is_exact(self) -> bool:
        """Whether the sides of the map are those of the image over the stride, without rounding."""
        return (self.exact_height, self.exact_width) == self.output.size


@dataclass(frozen=True, slots=True)
class HeadOutputShape:
    """An output of a head for one image: ``logits`` of each class, or a detector's values of each anchor."""

    name: str
    shape: tuple[int, ...]

    def bytes(self, batch: int, dtype: DType) -> int:
        """Return the bytes of the output for a batch."""
        return batch * prod(self.shape) * ITEM_BYTES[dtype]


@dataclass(frozen=True, slots=True)
class HeadShape:
    """A head.

    Attributes:
        maps: the maps that it takes, each with its path.
        anchors: the anchors of each map, of a detector; else empty.
        classes: the scores of an image, or of an anchor; None where these are not of classes.
        outputs: in the order in which the network returns them.
    """

    maps: tuple[tuple[str, MapShape], ...]
    anchors: tuple[int, ...]
    classes: int | None
    outputs: tuple[HeadOutputShape, ...]


@dataclass(frozen=True, slots=True)
class NetworkShapes:
    """The levels of a network for one input, finest first, and its head."""

    input: NetworkInput
    levels: tuple[LevelShape, ...]
    head: HeadShape | None


def network_shapes(plan: NetworkPlan, input: NetworkInput) -> NetworkShapes:
    """Return the levels and the head of a network for an input. Shapes are those of one image of the batch."""
    walked = walk(plan, input.size)
    levels = tuple(_levels(plan.pyramid, walked)) if plan.pyramid else ()
    head = None
    if plan.head:
        maps = tuple((level.name, level.output) for level in levels) or (stage_map(walked, len(walked.stages) - 1),)
        head = _head(plan.head, maps)
    return NetworkShapes(input, levels, head)


def _head(plan: HeadPlan, maps: tuple[tuple[str, MapShape], ...]) -> HeadShape:
    if not isinstance(plan, DensePlan):
        return HeadShape(maps, (), plan.classes, (HeadOutputShape(LOGITS, (plan.classes,)),))
    anchors = tuple(count * shape.size.cells for (_, count), (_, shape) in zip(plan.anchors, maps, strict=True))
    outputs = tuple(HeadOutputShape(name, (sum(anchors), values)) for name, values in plan.values)
    return HeadShape(maps, anchors, plan.classes if CLASSES in plan.outputs else None, outputs)


LAST = "pyramid.last"
"""The path of a pyramid's last convolution, whose map stands for the coarsest tap."""


def stage_map(walked: Walk, stage: int) -> tuple[str, MapShape]:
    """Return the path of a stage, and its map."""
    return f"stages.{stage}", MapShape(walked.plan.backbone.stages[stage].out_channels, walked.stages[stage])


def _levels(plan: PyramidPlan, walked: Walk) -> Iterator[LevelShape]:
    outputs = [MapShape(plan.channels, size) for size in walked.levels]
    resized = {step.level: step.input for step in walked.pyramid if isinstance(step, ResizeStep)}
    on_stages = [stage_map(walked, level.stage) for level in plan.levels]
    if plan.last:
        on_stages[-1] = LAST, MapShape(plan.last.out_channels, walked.stages[plan.levels[-1].stage])
    for level, tap, output in zip(plan.levels, on_stages, outputs, strict=False):
        yield _level(level, tap, resized.get(level.name), output, walked.size)
    taps = list(zip(plan.names, outputs, strict=True))[len(plan.levels) - 1 :]
    if plan.extra_stage is not None:
        taps[0] = on_stages[-1]
    for extra, tap, output in zip(plan.extra, taps, outputs[len(plan.levels) :], strict=False):
        yield _level(extra, tap, None, output, walked.size)


def _level(
    plan: LevelPlan | ExtraPlan, tap: tuple[str, MapShape], coarser: Size | None, output: MapShape, image: Size
) -> LevelShape:
    exact: tuple[float, float] = output.size
    if plan.stride:
        exact = (image.height / plan.stride, image.width / plan.stride)
    return LevelShape(plan.name, plan.stride, *tap, coarser, output, *exact)


def shapes_document(
    settings: NetworkSettings,
    results: Sequence[NetworkShapes],
    dtype: DType,
    verified: bool,
    weights: WeightsRecord | None = None,
) -> ShapesDocument:
    """Return the document of `mnfpn shapes`; bytes are those of the whole batch."""
    return ShapesDocument(
        settings=settings,
        model=None,
        dtype=dtype,
        verified=verified,
        results=tuple(_record(shapes, settings.head.kind, dtype) for shapes in results),
        weights=weights,
    )


def _record(shapes: NetworkShapes, kind: str, dtype: DType) -> PlannedMaps:
    batch = shapes.input.batch
    return PlannedMaps(
        input=image_input(shapes.input),
        levels=tuple(_level_record(level, batch, dtype) for level in shapes.levels),
        head=_head_record(shapes.head, kind, batch, dtype) if shapes.head else None,
    )


def _head_record(head: HeadShape, kind: str, batch: int, dtype: DType) -> HeadMaps:
    outputs = tuple(
        HeadOutput(name=one.name, shape=(batch, *one.shape), bytes=one.bytes(batch, dtype)) for one in head.outputs
    )
    maps = zip(head.maps, head.anchors or (None,) * len(head.maps), strict=True)
    return HeadMaps(
        kind=kind,
        classes=head.classes,
        bytes=sum(output.bytes for output in outputs),
        maps=tuple(
            HeadMap(path=path, channels=shape.channels, **shape.size._asdict(), anchors=anchors)
            for (path, shape), anchors in maps
        ),
        outputs=outputs,
    )


def _level_record(level: LevelShape, batch: int, dtype: DType) -> LevelMap:
    return LevelMap(
        name=level.name,
        stride=level.stride,
        channels=level.output.channels,
        **level.output.size._asdict(),
        bytes=level.output.bytes(batch, dtype),
        exact=level.is_exact,
        tap=_tap(level.tap_path, level.tap),
        resized_from=MapSize(**level.resized_from._asdict()) if level.resized_from else None,
    )


def _tap(path: str, shape: MapShape) -> TapMap:
    return TapMap(path=path, channels=shape.channels, **shape.size._asdict())


def image_input(input: NetworkInput) -> ImageInput:
    """Return the record of an input of images."""
    return ImageInput(batch=input.batch, channels=input.channels, **input.size._asdict())
