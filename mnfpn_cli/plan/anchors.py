"""What each level's anchors are, from settings: how many a cell has, their sides, ratios and scales."""

from collections.abc import Sequence

from mnfpn_cli.settings.detection import (
    AnchorSettings,
    DefaultBoxSettings,
    DetectionSettings,
    RetinaNetHead,
    RPNHead,
    SSDHead,
)
from mnfpn_cli.settings.problems import SettingsError

STRIDES_A_SIDE = 4
"""The side of a level's anchors, in strides of the level, where settings give no sizes (Lin et al. 2017, section 4)."""


def anchors_per_cell(head: DetectionSettings, levels: int) -> tuple[int, ...]:
    """Return the number of anchors at a cell of each level, finest first; of FCOS, one: the cell itself.

    Raises:
        SettingsError: where the settings give anchors to another number of levels, or levels that share their
            convolutions have different numbers.
    """
    if isinstance(head, SSDHead):
        check_default_boxes(head.anchors, levels)
        counts = tuple(2 + 2 * len(ratios) for ratios in box_ratios(head.anchors, levels))
        if head.shared and len(set(counts)) > 1:
            rule = "must be false where levels have different numbers of anchors (head.anchors.ratios)"
            raise SettingsError("head.shared", rule, "true")
        return counts
    if isinstance(head, RetinaNetHead | RPNHead):
        _check_count("sizes", head.anchors.sizes, levels)
        return (len(head.anchors.scales) * len(head.anchors.ratios),) * levels
    return (1,) * levels


def anchor_grid(
    head: DetectionSettings, strides: Sequence[int]
) -> tuple[tuple[tuple[int, ...], ...], tuple[float, ...]]:
    """Return the sides of the anchors of each level, and their ratios, of a head without default boxes.

    A cell of FCOS is its own anchor: a square as wide as the stride (Tian et al. 2019, "FCOS", section 3.1).

    Raises:
        SettingsError: where the settings give sizes to another number of levels.
    """
    if isinstance(head, RetinaNetHead | RPNHead):
        return anchor_sides(head.anchors, strides), head.anchors.ratios
    return tuple((stride,) for stride in strides), (1.0,)


def anchor_sides(anchors: AnchorSettings, strides: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    """Return the sides of the anchors of each level in pixels, one for each scale, cut off to whole pixels.

    Args:
        anchors: the settings.
        strides: the nominal stride of each level, finest first.

    Raises:
        SettingsError: where the settings give sizes to another number of levels, or a side is shorter than a pixel.
    """
    _check_count("sizes", anchors.sizes, len(strides))
    sizes = anchors.sizes or [STRIDES_A_SIDE * stride for stride in strides]
    if min(sizes) * min(anchors.scales) < 1:
        rule = f"must give a side of at least one pixel to anchors of size {min(sizes)}"
        raise SettingsError("head.anchors.scales", rule, f"{min(anchors.scales):g}")
    return tuple(tuple(int(size * scale) for scale in anchors.scales) for size in sizes)


def box_ratios(anchors: DefaultBoxSettings, levels: int) -> tuple[tuple[float, ...], ...]:
    """Return the ratios of the default boxes of each level; one list of settings is that of all levels."""
    return anchors.ratios * levels if len(anchors.ratios) == 1 else anchors.ratios


def box_scales(anchors: DefaultBoxSettings, levels: int) -> tuple[float, ...]:
    """Return the scale of each level's square, and one more, in shares of the image (Liu et al. 2016, equation 4)."""
    if anchors.scales is not None:
        return anchors.scales
    low, high = anchors.min_scale, anchors.max_scale
    if levels == 1:
        return (low, high)
    return (*(low + (high - low) * k / (levels - 1.0) for k in range(levels)), 1.0)


def check_default_boxes(anchors: DefaultBoxSettings, levels: int) -> None:
    """Check that settings of default boxes are for a number of levels, and that these grow from fine to coarse.

    Raises:
        SettingsError: where they are for another number, or the finest level has the largest scale.
    """
    if len(anchors.ratios) not in (1, levels):
        rule = f"must have one list, or one for each level: {levels}"
        raise SettingsError("head.anchors.ratios", rule, len(anchors.ratios))
    _check_count("scales", anchors.scales, levels + 1, f"one for each level ({levels}) and one more")
    _check_count("steps", anchors.steps, levels)
    if anchors.scales is None and anchors.min_scale > anchors.max_scale:
        rule = f"must be at most head.anchors.max_scale, {anchors.max_scale:g}"
        raise SettingsError("head.anchors.min_scale", rule, f"{anchors.min_scale:g}")


def _check_count(key: str, given: Sequence[float] | None, count: int, what: str = "one for each level") -> None:
    if given is not None and len(given) != count:
        raise SettingsError(f"head.anchors.{key}", f"must have {what}: {count}", len(given))
