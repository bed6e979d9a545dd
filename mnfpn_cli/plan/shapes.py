"""The feature maps that come out of a network, worked out for an input."""

from collections.abc import Sequence
from dataclasses import dataclass

from mnfpn_cli.documents.inputs import ImageInput, MapSize, WeightsRecord
from mnfpn_cli.documents.shapes import HeadMaps, LevelMap, PlannedMaps, ShapesDocument, TapMap
from mnfpn_cli.plan.backbone import BackbonePlan
from mnfpn_cli.plan.network import NetworkPlan
from mnfpn_cli.plan.pyramid import ExtraPlan, LevelPlan, PyramidPlan, level_sizes, stage_sizes
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
        return self.channels * self.size.height * self.size.width

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
    """Work out every level and the head of a network for an input. Shapes are those of one image of the batch."""
    sizes = stage_sizes(plan.backbone, input.size)
    levels = _levels(plan.pyramid, sizes, plan.backbone, input.size) if plan.pyramid else ()
    head = None
    if plan.head:
        last = len(plan.backbone.stages) - 1
        maps = tuple((level.name, level.output) for level in levels) or (
            (f"stages.{last}", MapShape(plan.backbone.stages[-1].out_channels, sizes[-1])),
        )
        head = HeadShape(maps, plan.head.classes)
    return NetworkShapes(input, levels, head)


def _levels(plan: PyramidPlan, stages: Sequence[Size], backbone: BackbonePlan, image: Size) -> tuple[LevelShape, ...]:
    sizes = level_sizes(plan, stages)
    levels: list[LevelShape] = []
    for index, (level, size) in enumerate(zip(plan.levels, sizes, strict=False)):
        coarser = sizes[index + 1] if index + 1 < len(plan.levels) else None
        tap = MapShape(level.lateral.in_channels, stages[level.stage])
        levels.append(_level(level, f"stages.{level.stage}", tap, coarser, MapShape(plan.channels, size), image))
    for extra, size in zip(plan.extra, sizes[len(plan.levels) :], strict=True):
        path, tap = levels[-1].name, levels[-1].output
        if plan.extra_stage is not None and extra is plan.extra[0]:
            stage = plan.extra_stage
            path, tap = f"stages.{stage}", MapShape(backbone.stages[stage].out_channels, stages[stage])
        levels.append(_level(extra, path, tap, None, MapShape(plan.channels, size), image))
    return tuple(levels)


def _level(
    plan: LevelPlan | ExtraPlan, path: str, tap: MapShape, coarser: Size | None, output: MapShape, image: Size
) -> LevelShape:
    exact: tuple[float, float] = output.size
    if plan.stride:
        exact = (image.height / plan.stride, image.width / plan.stride)
    return LevelShape(plan.name, plan.stride, path, tap, coarser, output, *exact)


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
