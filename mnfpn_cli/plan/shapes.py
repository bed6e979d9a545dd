"""The feature maps that come out of a network, worked out for an input."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mnfpn_cli.documents.records import ImageInput, MapSize, WeightsRecord
from mnfpn_cli.documents.shapes import HeadMaps, LevelMap, PlannedMaps, ShapesDocument, TapMap
from mnfpn_cli.plan.network import NetworkPlan
from mnfpn_cli.plan.pyramid import ExtraPlan, LevelPlan, PyramidPlan
from mnfpn_cli.plan.steps import ResizeStep, Walk, walk
from mnfpn_cli.settings.input import ITEM_BYTES, DType, NetworkInput, Size
from mnfpn_cli.settings.network import NetworkSettings


@dataclass(frozen=True, slots=True)
class MapShape:
    """One feature map of one image: channels × height × width."""

    channels: int
    size: Size

    @property
    def elements(self) -> int:
        """Elements of the map."""
        return self.channels * self.size.cells

    def bytes(self, batch: int, dtype: DType) -> int:
        """Bytes of the maps of a whole batch."""
        return batch * self.elements * ITEM_BYTES[dtype]


@dataclass(frozen=True, slots=True)
class LevelShape:
    """A level of the pyramid: what it is made of, what it is resized from, and the map that comes out.

    ``tap`` is a stage's map, or for an extra level perhaps the map of the level before it; ``tap_path`` says which. A
    pooled top has no stride: it is one cell whatever the input.
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
        """Whether the map is exactly the input over the stride, on both sides."""
        return (self.exact_height, self.exact_width) == self.output.size


@dataclass(frozen=True, slots=True)
class HeadShape:
    """A head: the maps it takes, by path, and how many numbers come out for one image."""

    maps: tuple[tuple[str, MapShape], ...]
    classes: int

    def bytes(self, batch: int, dtype: DType) -> int:
        """Bytes of the logits of a whole batch."""
        return batch * self.classes * ITEM_BYTES[dtype]


@dataclass(frozen=True, slots=True)
class NetworkShapes:
    """The maps of a network for one input, finest level first, and its head."""

    input: NetworkInput
    levels: tuple[LevelShape, ...]
    head: HeadShape | None


def network_shapes(plan: NetworkPlan, input: NetworkInput) -> NetworkShapes:
    """Read every level and the head of a network off its walk. Shapes are those of one image of the batch."""
    walked = walk(plan, input.size)
    levels = tuple(_levels(plan.pyramid, walked)) if plan.pyramid else ()
    head = None
    if plan.head:
        maps = tuple((level.name, level.output) for level in levels) or (stage_map(walked, len(walked.stages) - 1),)
        head = HeadShape(maps, plan.head.classes)
    return NetworkShapes(input, levels, head)


def stage_map(walked: Walk, stage: int) -> tuple[str, MapShape]:
    """The path of a stage, and its map."""
    return f"stages.{stage}", MapShape(walked.plan.backbone.stages[stage].out_channels, walked.stages[stage])


def _levels(plan: PyramidPlan, walked: Walk) -> Iterator[LevelShape]:
    outputs = [MapShape(plan.channels, size) for size in walked.levels]
    resized = {step.level: step.input for step in walked.pyramid if isinstance(step, ResizeStep)}
    for level, output in zip(plan.levels, outputs, strict=False):
        yield _level(level, stage_map(walked, level.stage), resized.get(level.name), output, walked.size)
    taps = list(zip(plan.names, outputs, strict=True))[len(plan.levels) - 1 :]
    if plan.extra_stage is not None:
        taps[0] = stage_map(walked, plan.extra_stage)
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
    """Make the document of `mnfpn shapes`; bytes are those of the whole batch."""
    return ShapesDocument(
        settings=settings,
        model=None,
        dtype=dtype,
        verified=verified,
        results=tuple(_record(one, dtype) for one in results),
        weights=weights,
    )


def _record(shapes: NetworkShapes, dtype: DType) -> PlannedMaps:
    batch, head = shapes.input.batch, shapes.head
    return PlannedMaps(
        input=image_input(shapes.input),
        levels=tuple(_level_record(level, batch, dtype) for level in shapes.levels),
        head=HeadMaps(
            output="logits",
            classes=head.classes,
            bytes=head.bytes(batch, dtype),
            maps=tuple(_tap(path, one) for path, one in head.maps),
        )
        if head
        else None,
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


def _tap(path: str, one: MapShape) -> TapMap:
    return TapMap(path=path, channels=one.channels, **one.size._asdict())


def image_input(input: NetworkInput) -> ImageInput:
    """Say in a document which images a network takes."""
    return ImageInput(batch=input.batch, channels=input.channels, **input.size._asdict())
