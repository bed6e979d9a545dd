"""The feature pyramid (Lin et al. 2017, "Feature Pyramid Networks for Object Detection", section 3)."""

from collections import OrderedDict
from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor, nn

from mnfpn_cli.network.layers import bare
from mnfpn_cli.plan.pyramid import ExtraPlan, LevelPlan, PyramidPlan

SHARED = "shared"
"""The name of a smoothing that levels have in common: one module in one place, so that it is counted once."""


class Pyramid(nn.Module):
    """Laterals on the taps, the top-down path, smoothing, and extra levels."""

    def __init__(self, plan: PyramidPlan):
        super().__init__()
        self.lateral = nn.ModuleDict({level.name: lateral(level) for level in plan.levels})
        self.smoothing = {
            level.name: SHARED if plan.smooth_shared else level.name for level in plan.levels if level.smooth
        }
        layers = {self.smoothing[level.name]: level.smooth for level in plan.levels if level.smooth}
        self.smooth = nn.ModuleDict({name: bare(layer) for name, layer in layers.items()})
        extra = {extra.name: halving(extra) for extra in plan.extra}
        self.extra = nn.ModuleDict(extra) if extra else None
        self.channels, self.upsample, self.merge = plan.channels, plan.upsample, plan.merge
        self.extra_on_tap, self.extra_relu = plan.extra_stage is not None, plan.extra_relu

    def forward(self, taps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Turn taps (n, c_k, h/2^k, w/2^k), finest first, into maps (n, channels, h/2^k, w/2^k) in that order."""
        maps = [lateral(tap) for lateral, tap in zip(self.lateral.values(), taps, strict=True)]
        for k in reversed(range(len(maps) - 1)):
            maps[k] = self._merge(maps[k], self._resize(maps[k + 1], maps[k]))  # (n, merged, h/2^k, w/2^k)
        levels = [self._smooth(name, x) for name, x in zip(self.lateral, maps, strict=True)]
        x = taps[-1] if self.extra_on_tap else levels[-1]
        for index, halve in enumerate(self.extra.values() if self.extra else ()):
            x = halve(F.relu(x) if index and self.extra_relu else x)  # (n, channels, h/2^k, w/2^k), k one more
            levels.append(x)
        return tuple(levels)

    def _merge(self, fine: Tensor, coarse: Tensor) -> Tensor:
        return fine + coarse if self.merge == "add" else torch.cat((fine, coarse), dim=1)

    def _smooth(self, name: str, x: Tensor) -> Tensor:
        smoothed: Tensor = self.smooth[self.smoothing[name]](x) if name in self.smoothing else x
        return smoothed

    def _resize(self, coarse: Tensor, like: Tensor) -> Tensor:
        """Resize to the exact size of a finer map: twice the size, less one where that is odd."""
        # Corners are not aligned: pixels are areas, as in torchvision, detectron2 and OpenCV.
        align_corners = False if self.upsample == "bilinear" else None
        return F.interpolate(coarse, size=like.shape[-2:], mode=self.upsample, align_corners=align_corners)


def lateral(plan: LevelPlan) -> nn.Module:
    """The 1×1 convolution on a tap, or on its average: (n, c, h, w) to (n, channels, h, w) or (n, channels, 1, 1)."""
    conv = bare(plan.lateral)
    return nn.Sequential(OrderedDict(pool=nn.AdaptiveAvgPool2d(1), conv=conv)) if plan.pooled else conv


def halving(plan: ExtraPlan) -> nn.Module:
    """What makes an extra level of the one before: (n, c, h, w) to (n, channels, h/2, w/2)."""
    return bare(plan.layer) if plan.layer else nn.MaxPool2d(kernel_size=1, stride=2)
