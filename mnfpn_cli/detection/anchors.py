"""The anchors of a detector for images of a size: boxes (x1, y1, x2, y2) in pixels of the image, level by level.

They are those of torchvision's `AnchorGenerator` and `DefaultBoxGenerator`, to the last digit: the order of operations
and their element types are the same.
"""

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from mnfpn_cli.plan.anchors import anchor_grid, box_ratios, box_scales, check_default_boxes
from mnfpn_cli.plan.levels import level_stride
from mnfpn_cli.plan.network import plan_network
from mnfpn_cli.plan.pyramid import level_sizes, stage_sizes
from mnfpn_cli.settings.detection import DefaultBoxSettings, DetectionSettings, SSDHead
from mnfpn_cli.settings.input import Size
from mnfpn_cli.settings.network import NetworkSettings


def network_anchors(
    settings: NetworkSettings, head: DetectionSettings, size: Size, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, ...]:
    """Return the anchors (cells × anchors, 4) of each level of a network, for images of a size.

    Raises:
        SettingsError: where the settings break a rule together.
    """
    plan = plan_network(settings)
    assert plan.pyramid  # as rules say of every detection head
    maps = level_sizes(plan.pyramid, stage_sizes(plan.backbone, size))
    strides = [level_stride(name) for name in plan.pyramid.names]
    return level_anchors(head, maps, strides, size, dtype)


def level_anchors(
    head: DetectionSettings,
    maps: Sequence[Size],
    strides: Sequence[int],
    size: Size,
    dtype: torch.dtype = torch.float32,
) -> tuple[Tensor, ...]:
    """Return the anchors (cells × anchors, 4) of each level: cell by cell, row by row.

    Args:
        head: the settings of the head.
        maps: the size of each level's map, finest first.
        strides: the nominal stride of each level, which decides the side of anchors that have no size of their own.
        size: of the image.
        dtype: the element type of the anchors.

    Raises:
        SettingsError: where the settings are for another number of levels.
    """
    if isinstance(head, SSDHead):
        return tuple(_default_boxes(head.anchors, maps, size, dtype))
    sides, ratios = anchor_grid(head, strides)
    return tuple(
        _on_grid(_around_zero(level, ratios).to(dtype), cells, size) for level, cells in zip(sides, maps, strict=True)
    )


def _around_zero(sides: Sequence[int], ratios: Sequence[float]) -> Tensor:
    """Return the anchors (ratios × sides, 4) of a cell at zero, in whole pixels; a ratio is height over width."""
    side, ratio = torch.tensor(sides, dtype=torch.float32), torch.tensor(ratios, dtype=torch.float32)
    high = torch.sqrt(ratio)
    wide = 1 / high
    widths, heights = (wide[:, None] * side).flatten(), (high[:, None] * side).flatten()
    return (torch.stack([-widths, -heights, widths, heights], dim=1) / 2).round()


def _on_grid(anchors: Tensor, cells: Size, size: Size) -> Tensor:
    """Move anchors (anchors, 4) at zero to every cell of a map: (cells × anchors, 4)."""
    xs = torch.arange(cells.width) * (size.width // cells.width)
    ys = torch.arange(cells.height) * (size.height // cells.height)
    y, x = torch.meshgrid(ys, xs, indexing="ij")
    shifts = torch.stack((x, y, x, y), dim=2).view(-1, 1, 4)
    return (shifts + anchors).view(-1, 4)


def _default_boxes(
    anchors: DefaultBoxSettings, maps: Sequence[Size], size: Size, dtype: torch.dtype
) -> Iterator[Tensor]:
    check_default_boxes(anchors, len(maps))
    scales = box_scales(anchors, len(maps))
    image = torch.tensor([size.width, size.height])
    for level, (cells, ratios) in enumerate(zip(maps, box_ratios(anchors, len(maps)), strict=True)):
        shapes = _box_shapes(scales[level], scales[level + 1], ratios)
        if anchors.clip:
            shapes = shapes.clamp(min=0, max=1)
        steps: tuple[float, float] = (cells.width, cells.height)
        if anchors.steps is not None:
            steps = (size.width / anchors.steps[level], size.height / anchors.steps[level])
        xs, ys = (
            ((torch.arange(count) + 0.5) / step).to(dtype)
            for count, step in zip((cells.width, cells.height), steps, strict=True)
        )
        y, x = torch.meshgrid(ys, xs, indexing="ij")
        middles = torch.stack((x, y), dim=2).view(-1, 1, 2).expand(-1, len(shapes), 2).reshape(-1, 2)
        shapes = shapes.repeat(cells.cells, 1)
        yield torch.cat([(middles - 0.5 * shapes) * image, (middles + 0.5 * shapes) * image], dim=1)


def _box_shapes(scale: float, next_scale: float, ratios: Sequence[float]) -> Tensor:
    """Return width and height (2 + 2 × ratios, 2) of a cell's default boxes, in shares of the image."""
    between = math.sqrt(scale * next_scale)
    shapes = [(scale, scale), (between, between)]
    for ratio in ratios:
        root = math.sqrt(ratio)
        shapes += [(scale * root, scale / root), (scale / root, scale * root)]
    return torch.tensor(shapes, dtype=torch.float32)
