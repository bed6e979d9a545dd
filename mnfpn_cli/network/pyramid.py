"""The feature pyramid (Lin et al. 2017, "Feature Pyramid Networks for Object Detection", section 3)."""

from collections import OrderedDict
from collections.abc import Sequence

import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor, nn

from mnfpn_cli.network.layers import conv2d
from mnfpn_cli.plan.layers import ConvPlan
from mnfpn_cli.plan.pyramid import PyramidPlan, SeparablePlan


class SeparableConv(nn.Sequential):
    """A depthwise 3×3 convolution and a 1×1: (n, c, h, w) to the same shape."""

    def __init__(self, plan: SeparablePlan):
        super().__init__(OrderedDict(depthwise=conv2d(plan.depthwise), pointwise=conv2d(plan.pointwise)))


class Pyramid(nn.Module):
    """Laterals on the taps, the top-down path, and smoothing."""

    def __init__(self, plan: PyramidPlan):
        super().__init__()
        self.lateral = nn.ModuleDict({level.name: conv2d(level.lateral) for level in plan.levels})
        self.smooth = nn.ModuleDict({level.name: smooth(level.smooth) for level in plan.levels if level.smooth})
        self.upsample = plan.upsample

    def forward(self, taps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Turn taps (n, c_k, h/2^k, w/2^k), finest first, into maps (n, channels, h/2^k, w/2^k) in that order."""
        maps = [lateral(tap) for lateral, tap in zip(self.lateral.values(), taps, strict=True)]
        for k in reversed(range(len(maps) - 1)):
            maps[k] = maps[k] + self._resize(maps[k + 1], maps[k])  # (n, channels, h/2^k, w/2^k)
        return tuple(self._smooth(name, x) for name, x in zip(self.lateral, maps, strict=True))

    def _smooth(self, name: str, x: Tensor) -> Tensor:
        smoothed: Tensor = self.smooth[name](x) if name in self.smooth else x
        return smoothed

    def _resize(self, coarse: Tensor, like: Tensor) -> Tensor:
        """Resize to the exact size of a finer map: twice the size, less one where that is odd."""
        # Corners are not aligned: pixels are areas, as in torchvision, detectron2 and OpenCV.
        align_corners = False if self.upsample == "bilinear" else None
        return F.interpolate(coarse, size=like.shape[-2:], mode=self.upsample, align_corners=align_corners)


def smooth(plan: ConvPlan | SeparablePlan) -> nn.Module:
    """The smoothing of one level."""
    return SeparableConv(plan) if isinstance(plan, SeparablePlan) else conv2d(plan)
