"""The maps that a network returns at several sizes of its input, and the strides that they have."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil

from mnfpn_cli.inspection.facts import Facts
from mnfpn_cli.inspection.observe import Shape
from mnfpn_cli.inspection.passes import How, Input, run_pass
from mnfpn_cli.models.errors import ModelError
from mnfpn_cli.settings.input import Size

PROBES = (Size(1024, 1536), Size(2048, 3072))
"""Sizes that every stride up to 512 divides, so that what is left over is a fault. They cost nothing on meta."""

REAL_STRIDE = 64
"""The largest stride that can be told where passes are real, and large images cost time."""

BATCH = 3
"""Images in the passes at other sizes: a number that no dimension has by chance as often as 1."""

Run = Callable[[int, Size], tuple[tuple[str, Shape], ...]]


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

    @property
    def is_pooled(self) -> bool:
        """Whether it is one cell, whatever the input: an average of it all."""
        return len(self.sizes) > 1 and all(size == (1, 1) for size in self.sizes.values())


@dataclass(frozen=True, slots=True)
class Levels:
    """All maps of a network.

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


def observe_levels(facts: Facts, names: Sequence[str]) -> Levels | None:
    """Run a network at more sizes; None where it does not turn one batch of images into several maps.

    ``names``: of the outputs, where the network has names that its outputs do not.
    """
    inputs = facts.inputs
    first = tuple((name, shape) for name, shape, _ in facts.seen.outputs)
    if len(inputs) != 1 or len(inputs[0].shape) != 4 or len(first) < 2 or any(len(shape) != 4 for _, shape in first):
        return None
    _, channels, height, width = inputs[0].shape

    def run(images: int, size: Size) -> tuple[tuple[str, Shape], ...]:
        image = Input((images, channels, *size), inputs[0].dtype)
        seen = run_pass(facts.network, [image], facts.seen.how, facts.others)
        return tuple((name, shape) for name, shape, _ in seen.outputs)

    asked = Size(height, width)
    return _levels(run, first, asked, _probes(asked, facts.seen.how), list(names) or [name for name, _ in first])


def _probes(asked: Size, how: How) -> Sequence[Size]:
    if how != "real":
        return PROBES
    height, width = (ceil(side / REAL_STRIDE) * REAL_STRIDE for side in asked)
    return Size(height, width), Size(2 * height, 2 * width)


def _levels(
    run: Run, first: tuple[tuple[str, Shape], ...], asked: Size, probes: Sequence[Size], names: Sequence[str]
) -> Levels:
    outputs: dict[Size, tuple[tuple[str, Shape], ...]] = {asked: first}
    failed: list[Size] = []
    for size in probes:
        try:
            outputs[size] = run(BATCH, size)
        except ModelError:
            failed.append(size)  # one that is made for a size, as transformers are
    same = {size: found for size, found in outputs.items() if len(found) == len(first)}
    probed = [size for size in probes if size in same]
    last = _channels_last({size: [shape for _, shape in same[size]] for size in probed or [asked]})
    levels = []
    for index, name in enumerate(names):
        shapes = {size: found[index][1] for size, found in same.items()}
        sizes = {size: Size(*shape[1:3] if last else shape[2:]) for size, shape in shapes.items()}
        levels.append(Level(name, shapes[asked][-1 if last else 1], sizes, _stride(sizes, probed or [asked])))
    probe = same[probed[0]] if probed else ()
    return Levels(tuple(levels), asked, dict(zip(names, (s for _, s in probe), strict=False)), tuple(failed), last)


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
