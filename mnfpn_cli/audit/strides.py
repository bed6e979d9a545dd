"""Measure the strides of the maps that a network returns, by passes at several sizes of its input."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil

from mnfpn_cli.documents.audit import LevelSize, ObservedLevel
from mnfpn_cli.documents.records import ImageSize
from mnfpn_cli.external.guard import ModelError
from mnfpn_cli.settings.input import Size
from mnfpn_cli.trace.observe import TensorShape
from mnfpn_cli.trace.passes import Mode, run_pass
from mnfpn_cli.trace.trace import Trace

PROBES = (Size(1024, 1536), Size(2048, 3072))
"""Input sizes that strides of 2^k up to 512 divide, so that a remainder is a mistake. They cost nothing on meta."""

OTHER_PROBES = (Size(5376, 10752), Size(10752, 16128))
"""Input sizes for strides of 3, 7 and 14 and their doubles, up to 256, where ``PROBES`` show no whole stride."""

REAL_STRIDE = 64
"""The largest stride that real passes can measure, as large images cost time."""

BATCH = 3
"""Images in a pass at another size; a dimension is 3 by chance less often than 1."""

Outputs = tuple[tuple[str, TensorShape], ...]
"""The name and shape of each tensor that a network returns."""


@dataclass(frozen=True, slots=True)
class Level:
    """A map that a network returns.

    Attributes:
        name: its key or position in what the network returns, or the name of the level.
        channels: its channels.
        sizes: its size for each size of the input.
        stride: input pixels per cell, the same in height and width; None where there is no such number.
    """

    name: str
    channels: int
    sizes: dict[Size, Size]
    stride: Fraction | None

    def record(self) -> ObservedLevel:
        """Return the map as documents hold it; a stride that is not whole is None."""
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
        """Whether the map is one cell at every size, as an average of the image is."""
        return len(self.sizes) > 1 and all(size == (1, 1) for size in self.sizes.values())


@dataclass(frozen=True, slots=True)
class ObservedLevels:
    """Maps that a network returns in one tuple, list or dictionary.

    Attributes:
        levels: the maps, in the order in which they are returned.
        asked: the size of the input that the user asked for.
        shapes: the shape of each map for ``BATCH`` images at the first probe; empty where no probe ran.
        failed: the probes at which the network does not run.
        channels_last: whether maps are (batch, height, width, channels).
    """

    levels: tuple[Level, ...]
    asked: Size
    shapes: dict[str, TensorShape]
    failed: tuple[Size, ...]
    channels_last: bool


def observe_levels(trace: Trace, names: Sequence[str]) -> tuple[ObservedLevels, ...]:
    """Run a network at other sizes; return the maps of each tuple, list or dictionary that holds several.

    Return nothing where the network does not take one batch of images. ``names``: names of the outputs, which replace
    those that they have by key or position.
    """
    outputs = tuple((name, shape) for name, shape, _ in trace.eval_pass.outputs)
    groups = _groups(outputs)
    if len(trace.inputs) != 1 or len(trace.inputs[0].shape) != 4 or not groups:
        return ()
    _, _, height, width = trace.inputs[0].shape
    asked, named = Size(height, width), list(names) or [name for name, _ in outputs]

    def levels(probes: Sequence[Size]) -> tuple[ObservedLevels, ...]:
        at_probes, failed = _run_probes(trace, probes)
        at_sizes, probed = {asked: outputs} | at_probes, [size for size in probes if size in at_probes]
        return tuple(_group_levels(group, named, at_sizes, asked, probed, failed) for group in groups)

    observed = levels(_probes(asked, trace.eval_pass.mode))
    if trace.eval_pass.mode == "real" or all(_has_whole_stride(level) for group in observed for level in group.levels):
        return observed
    again = levels(OTHER_PROBES)
    return observed if again[0].failed else again


def _has_whole_stride(level: Level) -> bool:
    """Return whether a level has a whole stride, or is pooled and has none."""
    return level.is_pooled or (level.stride is not None and level.stride.denominator == 1)


def _groups(outputs: Outputs) -> list[list[int]]:
    """Return the positions of the outputs of each container that holds several maps and nothing else."""
    groups: dict[str, list[int]] = {}
    for index, (name, _) in enumerate(outputs):
        groups.setdefault(name.rpartition(".")[0], []).append(index)
    maps = (group for group in groups.values() if all(len(outputs[index][1]) == 4 for index in group))
    return [group for group in maps if len(group) > 1]


def _run_probes(trace: Trace, probes: Sequence[Size]) -> tuple[dict[Size, Outputs], tuple[Size, ...]]:
    """Return the outputs at each size, and the sizes at which the network fails, as one that is made for a size."""
    image, at_probes, failed = trace.inputs[0], dict[Size, Outputs](), []
    expected = [(name, len(shape)) for name, shape, _ in trace.eval_pass.outputs]
    for size in probes:
        try:
            probe = replace(image, shape=(BATCH, image.shape[1], *size), value=None)
            outputs = run_pass(trace.network, [probe], trace.eval_pass.mode, trace.hidden_modules).outputs
        except ModelError:
            failed.append(size)
            continue
        if [(name, len(shape)) for name, shape, _ in outputs] == expected:
            at_probes[size] = tuple((name, shape) for name, shape, _ in outputs)
    return at_probes, tuple(failed)


def _probes(asked: Size, mode: Mode) -> Sequence[Size]:
    """Return two input sizes to run at; small ones where passes are real."""
    if mode != "real":
        return PROBES
    height, width = (ceil(side / REAL_STRIDE) * REAL_STRIDE for side in asked)
    return Size(height, width), Size(2 * height, 2 * width)


def _group_levels(
    group: Sequence[int],
    names: Sequence[str],
    at_sizes: dict[Size, Outputs],
    asked: Size,
    probed: Sequence[Size],
    failed: tuple[Size, ...],
) -> ObservedLevels:
    """Return the maps of one container, of which ``group`` has the positions among all outputs."""
    shapes = {size: [outputs[index][1] for index in group] for size, outputs in at_sizes.items()}
    last = _channels_last({size: shapes[size] for size in probed or [asked]})
    levels = []
    for position, index in enumerate(group):
        maps = {size: in_group[position] for size, in_group in shapes.items()}
        sizes = {size: Size(*(shape[1:3] if last else shape[2:])) for size, shape in maps.items()}
        channels = maps[asked][-1 if last else 1]
        levels.append(Level(names[index], channels, sizes, _stride(sizes, probed or [asked])))
    batches = {level.name: shape for level, shape in zip(levels, shapes[probed[0]], strict=True)} if probed else {}
    return ObservedLevels(tuple(levels), asked, batches, failed, last)


def _channels_last(outputs: dict[Size, list[TensorShape]]) -> bool:
    """Return whether dimensions 1 and 2, and not the last two, are proportional to the input at each size."""

    def is_proportional(image: Size, height: int, width: int) -> bool:
        return round(image.height / height) == round(image.width / width)

    return all(
        is_proportional(image, *shape[1:3]) and not is_proportional(image, *shape[2:4])
        for image, shapes in outputs.items()
        for shape in shapes
    )


def _stride(sizes: dict[Size, Size], probed: Sequence[Size]) -> Fraction | None:
    """Return the pixels by which the input grows per cell of the map, from the first probe to the last.

    With one size alone, return the nearest whole number to input / map.
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
    """Return whether the size of a map is input / stride, rounded up or down where that is not whole."""
    return all(cells in (int(side / stride), ceil(side / stride)) for side, cells in zip(size, level, strict=True))
