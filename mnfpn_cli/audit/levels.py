"""The maps that a network returns at several sizes of its input, and the strides that they have."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil

from mnfpn_cli.documents.audit import LevelSize, ObservedLevel
from mnfpn_cli.documents.records import ImageSize
from mnfpn_cli.external.guard import ModelError
from mnfpn_cli.settings.input import Size
from mnfpn_cli.trace.observe import Shape
from mnfpn_cli.trace.passes import Mode, run_pass
from mnfpn_cli.trace.trace import Trace

PROBES = (Size(1024, 1536), Size(2048, 3072))
"""Sizes that every stride up to 512 divides, so that what is left over is a fault. They cost nothing on meta."""

OTHER_PROBES = (Size(5376, 10752), Size(10752, 16128))
"""The same for strides of 3, 7 and 14 and their doubles, up to 256: where the others show no whole stride."""

REAL_STRIDE = 64
"""The largest stride that can be told where passes are real, and large images cost time."""

BATCH = 3
"""Images in the passes at other sizes: a number that no dimension has by chance as often as 1."""

Outputs = tuple[tuple[str, Shape], ...]
"""The name and shape of each tensor that comes out."""


@dataclass(frozen=True, slots=True)
class Level:
    """A map that comes out.

    Attributes:
        name: its key or position.
        channels: of it.
        sizes: for each size of the input, the size of the map.
        stride: by which it is smaller than the input, height and width alike; None where it follows no stride.
    """

    name: str
    channels: int
    sizes: dict[Size, Size]
    stride: Fraction | None

    def record(self) -> ObservedLevel:
        """Say in a document how large the map is, and by which stride."""
        whole = self.stride is not None and self.stride.denominator == 1
        sizes = tuple(
            LevelSize(input=ImageSize(**image._asdict()), **size._asdict()) for image, size in self.sizes.items()
        )
        return ObservedLevel(
            name=self.name,
            stride=int(self.stride) if self.stride and whole else None,
            channels=self.channels,
            sizes=sizes,
        )

    @property
    def is_pooled(self) -> bool:
        """Whether it is one cell, whatever the input: an average of it all."""
        return len(self.sizes) > 1 and all(size == (1, 1) for size in self.sizes.values())


@dataclass(frozen=True, slots=True)
class ObservedLevels:
    """Maps that come out together.

    Attributes:
        levels: in the order in which they come out.
        asked: the size of the input that was asked for.
        shapes: of each for a batch of `BATCH`, where the network takes one at the sizes that are probed.
        failed: the sizes at which it does not run.
        channels_last: whether maps are (batch, height, width, channels).
    """

    levels: tuple[Level, ...]
    asked: Size
    shapes: dict[str, Shape]
    failed: tuple[Size, ...]
    channels_last: bool


def observe_levels(trace: Trace, names: Sequence[str]) -> tuple[ObservedLevels, ...]:
    """Run a network at more sizes; the maps of each tuple, list or dictionary that holds several, by themselves.

    There are none where the network does not take one batch of images. ``names``: of the outputs, where the network
    has names that its outputs do not.
    """
    outputs = tuple((name, shape) for name, shape, _ in trace.eval_pass.outputs)
    groups = _groups(outputs)
    if len(trace.inputs) != 1 or len(trace.inputs[0].shape) != 4 or not groups:
        return ()
    _, _, height, width = trace.inputs[0].shape
    asked, named = Size(height, width), list(names) or [name for name, _ in outputs]

    def levels(probes: Sequence[Size]) -> tuple[ObservedLevels, ...]:
        others, failed = _at_sizes(trace, probes)
        seen, probed = {asked: outputs} | others, [size for size in probes if size in others]
        return tuple(_levels(group, named, seen, asked, probed, failed) for group in groups)

    found = levels(_probes(asked, trace.eval_pass.mode))
    if trace.eval_pass.mode == "real" or not any(_is_broken(level) for one in found for level in one.levels):
        return found
    again = levels(OTHER_PROBES)
    return found if again[0].failed else again


def _is_broken(level: Level) -> bool:
    """Whether a level has no whole stride by these sizes."""
    return not level.is_pooled and (level.stride is None or level.stride.denominator > 1)


def _groups(outputs: Outputs) -> list[list[int]]:
    """The positions of maps that one container holds, where it holds several and nothing else."""
    groups: dict[str, list[int]] = {}
    for index, (name, _) in enumerate(outputs):
        groups.setdefault(name.rpartition(".")[0], []).append(index)
    maps = (group for group in groups.values() if all(len(outputs[index][1]) == 4 for index in group))
    return [group for group in maps if len(group) > 1]


def _at_sizes(trace: Trace, probes: Sequence[Size]) -> tuple[dict[Size, Outputs], tuple[Size, ...]]:
    """What comes out at each size, and the sizes at which the network fails, as one that is made for a size."""
    image, seen, failed = trace.inputs[0], dict[Size, Outputs](), []
    expected = [(name, len(shape)) for name, shape, _ in trace.eval_pass.outputs]
    for size in probes:
        try:
            probe = replace(image, shape=(BATCH, image.shape[1], *size))
            outputs = run_pass(trace.network, [probe], trace.eval_pass.mode, trace.hidden_modules).outputs
        except ModelError:
            failed.append(size)
            continue
        if [(name, len(shape)) for name, shape, _ in outputs] == expected:
            seen[size] = tuple((name, shape) for name, shape, _ in outputs)
    return seen, tuple(failed)


def _probes(asked: Size, mode: Mode) -> Sequence[Size]:
    if mode != "real":
        return PROBES
    height, width = (ceil(side / REAL_STRIDE) * REAL_STRIDE for side in asked)
    return Size(height, width), Size(2 * height, 2 * width)


def _levels(
    group: Sequence[int],
    names: Sequence[str],
    seen: dict[Size, Outputs],
    asked: Size,
    probed: Sequence[Size],
    failed: tuple[Size, ...],
) -> ObservedLevels:
    shapes = {size: [outputs[index][1] for index in group] for size, outputs in seen.items()}
    last = _channels_last({size: shapes[size] for size in probed or [asked]})
    levels = []
    for place, index in enumerate(group):
        sizes = {size: Size(*(each[place][1:3] if last else each[place][2:])) for size, each in shapes.items()}
        channels = shapes[asked][place][-1 if last else 1]
        levels.append(Level(names[index], channels, sizes, _stride(sizes, probed or [asked])))
    batches = {level.name: shape for level, shape in zip(levels, shapes[probed[0]], strict=True)} if probed else {}
    return ObservedLevels(tuple(levels), asked, batches, failed, last)


def _channels_last(outputs: dict[Size, list[Shape]]) -> bool:
    """Whether the dimensions behind the batch, and not the last two, go with the input at each size."""

    def goes_with(image: Size, height: int, width: int) -> bool:
        return round(image.height / height) == round(image.width / width)

    return all(
        goes_with(image, *shape[1:3]) and not goes_with(image, *shape[2:4])
        for image, shapes in outputs.items()
        for shape in shapes
    )


def _stride(sizes: dict[Size, Size], probed: Sequence[Size]) -> Fraction | None:
    """What the input's sides grow by for each cell of the map, from the first probe to the last.

    At one size alone it is the nearest whole number to input / map.
    """
    small, large = probed[0] if len(probed) > 1 else Size(0, 0), probed[-1]
    grown = [after - before for before, after in zip(sizes.get(small, small), sizes[large], strict=True)]
    if 0 in grown:
        return None
    strides = {Fraction(b - a, cells) for a, b, cells in zip(small, large, grown, strict=True)}
    if len(probed) == 1:
        strides = {Fraction(round(stride)) for stride in strides}
    return strides.pop() if len(strides) == 1 else None


def follows(size: Size, level: Size, stride: Fraction) -> bool:
    """Whether a map is as large as its stride says: input / stride, rounded up or down where that is not whole."""
    return all(cells in (int(side / stride), ceil(side / stride)) for side, cells in zip(size, level, strict=True))
