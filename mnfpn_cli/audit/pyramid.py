"""Judge the maps that a network returns as a pyramid: strides, order, sizes, channels and layout."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from math import prod

from torch import nn

from mnfpn_cli.audit.strides import BATCH, Level, ObservedLevels, follows, observe_levels
from mnfpn_cli.documents.audit import Finding
from mnfpn_cli.documents.shapes import ObservedMaps, OutputRecord, ShapesDocument
from mnfpn_cli.external.origin import Origin
from mnfpn_cli.external.target import InputSpec
from mnfpn_cli.settings.input import Size
from mnfpn_cli.trace.observe import TensorShape
from mnfpn_cli.trace.passes import Input, pass_notes
from mnfpn_cli.trace.trace import trace_network


def pyramid_findings(levels: ObservedLevels) -> Iterator[Finding]:
    """Yield what is wrong with maps that are returned together; nothing where all have one stride or size."""
    if _one_stride(levels) or _one_size(levels):
        return
    misplaced = list(_layout(levels))
    yield from misplaced
    yield from _no_stride(levels.levels)
    for head in _heads(levels.levels):
        if _are_mixed(head):
            continue
        strided = [level for level in head if level.stride is not None and level.stride.denominator == 1]
        yield from _same_stride(strided)
        yield from _gaps(strided)
        yield from _order(strided)
        yield from _sizes(strided, levels.asked)
        if not misplaced:  # else dimension 1 is not the channels
            yield from _channels(head)


def pyramid_notes(levels: ObservedLevels) -> Iterator[str]:
    """Yield what is worth knowing of the maps, and not wrong."""
    stride = _one_stride(levels)
    if stride:
        yield f"Maps of one stride, {stride}: {', '.join(_names(levels.levels))}. They are not judged as a pyramid."
    elif _one_size(levels):
        yield f"Maps of one size: {', '.join(_names(levels.levels))}. They are not judged as a pyramid."
    mixed = [name for head in _heads(levels.levels) if _are_mixed(head) for name in _names(head)]
    if mixed and not stride and not _one_size(levels):
        yield (f"Maps of repeated strides and unequal channels: {', '.join(mixed)}. They are not judged as a pyramid.")
    pooled = [level.name for level in levels.levels if level.is_pooled]
    if pooled:
        yield f"Level {', '.join(pooled)} is one cell at every size: an average of the whole image, without a stride."
    if levels.failed:
        sizes = ", ".join(map(str, levels.failed))
        yield f"Does not run at {sizes}: strides are judged from the sizes at which it does."


def _one_stride(levels: ObservedLevels) -> Fraction | None:
    """Return the stride that all maps have, as logits and auxiliary logits do; None where strides differ."""
    strides = {level.stride for level in levels.levels}
    return strides.pop() if len(strides) == 1 else None


def _one_size(levels: ObservedLevels) -> bool:
    """Return whether all maps have the same size for each input, as logits that are resized to a fixed one do."""
    first, *others = levels.levels
    return not first.is_pooled and all(level.sizes == first.sizes for level in others)


def _heads(levels: Sequence[Level]) -> list[Sequence[Level]]:
    """Return the levels of each head, as classes and boxes: sets of equal channels that all have the same strides.

    Return all levels as one set where they do not divide in this way.
    """
    by_channels: dict[int, list[Level]] = {}
    for level in levels:
        by_channels.setdefault(level.channels, []).append(level)
    strides = {tuple(level.stride for level in head) for head in by_channels.values()}
    has_heads = len(strides) == 1 and all(len(each) > 1 for each in strides)
    return list(by_channels.values()) if has_heads else [levels]


def _are_mixed(levels: Sequence[Level]) -> bool:
    """Return whether levels are no pyramid: strides repeat, and channels neither are equal nor grow with each level.

    So does a discriminator return its features and its scores, and an autoencoder its image and its code.
    """
    channels = [level.channels for level in levels]
    grow = all(finer < coarser for finer, coarser in pairwise(channels))
    return len({level.stride for level in levels}) < len(levels) and len(set(channels)) > 1 and not grow


def _names(levels: Sequence[Level]) -> tuple[str, ...]:
    return tuple(level.name for level in levels)


def _layout(levels: ObservedLevels) -> Iterator[Finding]:
    remedy = "return maps as (batch, channels, height, width)"
    if levels.channels_last:
        maps = ", ".join(f"{level.name} {level.sizes[levels.asked]}x{level.channels}" for level in levels.levels)
        what = f"channels come last: {maps}; convolutions take them before height and width"
        yield Finding.of("layout", _names(levels.levels), 0, what, remedy)
    for name, shape in levels.shapes.items():
        if shape[0] == BATCH:
            continue
        swapped = shape[1] == BATCH
        what = "batch and channels are swapped" if swapped else "the batch is not the first dimension"
        yield Finding.of("layout", (name,), 0, f"{what}: {'×'.join(map(str, shape))} for {BATCH} images", remedy)


def _no_stride(levels: Sequence[Level]) -> Iterator[Finding]:
    for level in levels:
        if level.is_pooled or (level.stride is not None and level.stride.denominator == 1):
            continue
        sizes = ", ".join(f"{size} for {image}" for image, size in sorted(level.sizes.items()))
        yield Finding.of(
            "no_stride",
            (level.name,),
            0,
            f"{level.name} has no whole stride: {sizes}",
            "halve the sides by layers of stride 2, and resize to the size of another map, not to a fixed one",
        )


def _same_stride(levels: Sequence[Level]) -> Iterator[Finding]:
    groups: dict[int, list[Level]] = {}
    for level in levels:
        groups.setdefault(int(level.stride or 0), []).append(level)
    for stride, group in groups.items():
        if len(group) > 1:
            size = next(iter(group[0].sizes.values()))
            yield Finding.of(
                "same_stride",
                _names(group),
                0,
                f"{len(group)} levels of stride {stride}, each {size}: {', '.join(_names(group))}",
                "tap each resolution once, at its last block: a second level of a stride costs time and adds no scale",
            )


def _gaps(levels: Sequence[Level]) -> Iterator[Finding]:
    for fine, coarse in pairwise(sorted(levels, key=lambda level: level.stride or 0)):
        if fine.stride and coarse.stride and coarse.stride > 2 * fine.stride:
            yield Finding.of(
                "stride_gap",
                _names([fine, coarse]),
                0,
                f"no level between {fine.name} of stride {fine.stride} and {coarse.name} of stride {coarse.stride}: "
                "no level is made for objects of the sizes in between",
                f"tap the stage of stride {2 * fine.stride}",
            )


def _order(levels: Sequence[Level]) -> Iterator[Finding]:
    strides = [level.stride for level in levels if level.stride is not None]
    if strides == sorted(strides):
        return
    order = "coarsest first" if strides == sorted(strides, reverse=True) else "in no order"
    yield Finding.of(
        "order",
        _names(levels),
        0,
        f"levels come {order}: strides {', '.join(map(str, strides))}",
        "return the finest first, as heads and anchors expect",
    )


def _sizes(levels: Sequence[Level], asked: Size) -> Iterator[Finding]:
    """Report levels whose size is not input / stride, at sizes that strides divide: images of others may be padded."""
    wrong: list[tuple[Level, Size, Size]] = []
    for level in levels:
        assert level.stride is not None
        sizes = {image: size for image, size in level.sizes.items() if image != asked} or level.sizes
        off = [(image, size) for image, size in sizes.items() if not follows(image, size, level.stride)]
        wrong += [(level, *off[0])] if off else []
    if not wrong:
        return
    level, image, size = wrong[0]
    right = f"{float(image.height / (level.stride or 1)):g}x{float(image.width / (level.stride or 1)):g}"
    yield Finding.of(
        "size",
        tuple(each.name for each, _, _ in wrong),
        0,
        f"{level.name} of stride {level.stride} is {size} for {image}, where it must be {right}: "
        "cells and anchors are not aligned with pixels",
        "pad by kernel // 2, and resize to the size of another map",
    )


def _channels(levels: Sequence[Level]) -> Iterator[Finding]:
    """Report levels of different channels, unless coarser maps have more channels, as those of a backbone do."""
    counts = Counter(level.channels for level in levels)
    channels = [level.channels for level in levels]
    usual, count = counts.most_common(1)[0]
    if len(counts) == 1 or (channels == sorted(channels) and count <= max(2, len(levels) / 2)):
        return
    odd = [level for level in levels if level.channels != usual] if count > len(levels) / 2 else list(levels)
    each = ", ".join(f"{level.name} {level.channels}" for level in levels)
    yield Finding.of(
        "unequal_channels",
        _names(odd),
        0,
        f"levels have different channels: {each}; heads that share weights cannot take them",
        "give each level a lateral convolution to the same channels",
    )


@dataclass(frozen=True, slots=True)
class OutputMap:
    """A tensor that a network returns; its name is its key or position, its stride None where it has none."""

    name: str
    stride: Fraction | None
    shape: TensorShape
    bytes: int


@dataclass(frozen=True, slots=True)
class Maps:
    """All that a network returns for its inputs, and what is wrong with it as a pyramid."""

    inputs: tuple[InputSpec, ...]
    outputs: tuple[OutputMap, ...]
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]


def observe_maps(network: nn.Module, specs: tuple[InputSpec, ...], inputs: tuple[Input, ...]) -> Maps:
    """Run a network on its inputs, and at other sizes where it returns several maps.

    Raises:
        MnfpnError: where the network fails, or returns no tensors.
    """
    trace = trace_network(network, inputs, gradients=False)
    pyramids = observe_levels(trace, ())
    strides = {level.name: level.stride for one in pyramids for level in one.levels}
    outputs = tuple(
        OutputMap(name, strides.get(name), shape, prod(shape) * item_bytes)
        for name, shape, item_bytes in trace.eval_pass.outputs
    )
    findings = tuple(finding for one in pyramids for finding in pyramid_findings(one))
    notes = (*pass_notes(trace.eval_pass), *(text for one in pyramids for text in pyramid_notes(one)))
    return Maps(specs, outputs, findings, tuple(dict.fromkeys(notes)))


def maps_document(origin: Origin, results: Sequence[Maps]) -> ShapesDocument:
    """Return the document of `mnfpn shapes` for an external network; shapes and bytes are of the whole batch."""
    return ShapesDocument(
        settings=origin.settings,
        model=origin.model,
        dtype=None,
        verified=False,
        weights=None,
        results=tuple(
            ObservedMaps(
                inputs=tuple(one.record() for one in maps.inputs),
                outputs=tuple(_output(one) for one in maps.outputs),
                findings=maps.findings,
                notes=maps.notes,
            )
            for maps in results
        ),
    )


def _output(one: OutputMap) -> OutputRecord:
    return OutputRecord(
        name=one.name,
        stride=None if one.stride is None else float(one.stride),
        shape=one.shape,
        elements=prod(one.shape),
        bytes=one.bytes,
    )
