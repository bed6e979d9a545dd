"""The sizes of a network's maps for a size of the input."""

from collections.abc import Sequence
from functools import lru_cache

from mnfpn_cli.plan.backbone import BackbonePlan
from mnfpn_cli.plan.layers import halved
from mnfpn_cli.plan.pyramid import PyramidPlan
from mnfpn_cli.settings.input import Size

ONE_CELL = Size(1, 1)


def stem_size(plan: BackbonePlan, size: Size) -> Size:
    """The size of the stem's output for an image of ``size``."""
    size = plan.stem.output(size)
    return halved(size) if plan.stem_pool else size


# Cost, memory and shapes of one network ask for the same.
@lru_cache(maxsize=256)
def stage_sizes(plan: BackbonePlan, size: Size) -> tuple[Size, ...]:
    """The size of each stage's output for an image of ``size``."""
    sizes = list[Size]()
    size = stem_size(plan, size)
    for stage in plan.stages:
        size = size if stage.stride == 1 else halved(size)
        sizes.append(size)
    return tuple(sizes)


def level_sizes(plan: PyramidPlan, sizes: Sequence[Size]) -> tuple[Size, ...]:
    """The size of each level's map, finest first and extra levels last, for stage outputs of ``sizes``."""
    levels = [ONE_CELL if level.pooled else sizes[level.stage] for level in plan.levels]
    for _ in plan.extra:
        levels.append(halved(levels[-1]))
    return tuple(levels)
