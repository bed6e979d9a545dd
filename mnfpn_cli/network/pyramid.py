"""The feature pyramid (Lin et al. 2017, "Feature Pyramid Networks for Object Detection", section 3)."""

from collections import OrderedDict
from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812 - as torch's documentation names it
from torch import Tensor, nn

from mnfpn_cli.network.layers import ConvNormAct, conv_layer
from mnfpn_cli.plan.pyramid import ExtraPlan, LevelPlan, PyramidPlan
from mnfpn_cli.settings.network import Upsample


class Pyramid(nn.Module):
    """Laterals on the taps, the top-down path, smoothing, and extra levels."""

    def __init__(self, plan: PyramidPlan):
        super().__init__()
        self.lateral = nn.ModuleDict({level.name: lateral(level) for level in plan.levels})
        self.smoothing = {level.name: plan.smoothing(level) for level in plan.levels if level.smooth}
        layers = {self.smoothing[level.name]: level.smooth for level in plan.levels if level.smooth}
        self.smooth = nn.ModuleDict({name: conv_layer(layer) for name, layer in layers.items()})
        extra = {level.name: extra_level(level) for level in plan.extra}
        self.extra = nn.ModuleDict(extra) if extra else None
        self.channels, self.upsample, self.merge = plan.channels, plan.upsample, plan.merge
        self.last = ConvNormAct(plan.last) if plan.last else None
        self.extra_on_tap, self.extra_relu = plan.extra_stage is not None, plan.extra_relu
        self.smoothed_down = plan.smoothed_down

    def forward(self, taps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Map taps (n, c_k, h/2^k, w/2^k), finest first, to levels (n, channels, h/2^k, w/2^k), extra levels last."""
        if self.last:
            taps = (*taps[:-1], self.last(taps[-1]))  # (n, last, h/2^k, w/2^k)
        # (n, channels, h/2^k, w/2^k) each
        maps = [lateral(tap) for lateral, tap in zip(self.lateral.values(), taps, strict=True)]
        levels = self._smoothed_down(maps) if self.smoothed_down else self._merged_down(maps)
        x = taps[-1] if self.extra_on_tap else levels[-1]
        for index, layer in enumerate(self.extra.values() if self.extra else ()):
            x = layer(F.relu(x) if index and self.extra_relu else x)  # (n, channels, h/2^(k+1), w/2^(k+1))
            levels.append(x)
        return tuple(levels)

    def _merged_down(self, maps: list[Tensor]) -> list[Tensor]:
        """Merge coarser maps into finer ones, then smooth: (n, channels, h/2^k, w/2^k) to the same shapes."""
        for k in reversed(range(len(maps) - 1)):
            maps[k] = self._merge(maps[k], self._resize(maps[k + 1], maps[k]))  # (n, merged, h/2^k, w/2^k)
        return [self._smooth(name, x) for name, x in zip(self.lateral, maps, strict=True)]

    def _smoothed_down(self, maps: list[Tensor]) -> list[Tensor]:
        """Merge smoothed coarser maps into finer ones: (n, channels, h/2^k, w/2^k) to the same shapes."""
        levels: list[Tensor] = []  # torch's compiler cannot trace list[Tensor]()
        names = list(self.lateral)
        for k in reversed(range(len(maps))):
            if levels:
                maps[k] = self._merge(maps[k], self._resize(levels[0], maps[k]))  # (n, merged, h/2^k, w/2^k)
            levels.insert(0, self._smooth(names[k], maps[k]))  # (n, channels, h/2^k, w/2^k)
        return levels

    def _merge(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """Add or concatenate maps: (n, c, h, w) and (n, d, h, w) to (n, c, h, w) or (n, c + d, h, w)."""
        return fine + coarse if self.merge == "add" else torch.cat((fine, coarse), dim=1)

    def _smooth(self, name: str, x: Tensor) -> Tensor:
        """Map (n, merged, h, w) to (n, channels, h, w); return a level without smoothing unchanged."""
        smoothed: Tensor = self.smooth[self.smoothing[name]](x) if name in self.smoothing else x
        return smoothed

    def _resize(self, coarse: Tensor, like: Tensor) -> Tensor:
        """Resize (n, c, h/2, w/2) to the size of a finer map (n, c, h, w); h/2 and w/2 were rounded up."""
        return resize(coarse, like.shape[-2:], self.upsample)


def resize(x: Tensor, size: tuple[int, ...], upsample: Upsample) -> Tensor:
    """Resize a map (n, c, h, w) to a size (height, width)."""
    # Corners are not aligned: a pixel is an area, as in torchvision, detectron2 and OpenCV.
    align_corners = False if upsample == "bilinear" else None
    return F.interpolate(x, size=size, mode=upsample, align_corners=align_corners)


def lateral(plan: LevelPlan) -> nn.Module:
    """Build a lateral, on a tap or its average: (n, c, h, w) to (n, channels, h, w) or (n, channels, 1, 1)."""
    conv = conv_layer(plan.lateral)
    return nn.Sequential(OrderedDict(pool=nn.AdaptiveAvgPool2d(1), conv=conv)) if plan.pooled else conv


def extra_level(plan: ExtraPlan) -> nn.Module:
    """Build the layer that computes an extra level from the map before it: (n, c, h, w) to (n, channels, h/2, w/2)."""
    return conv_layer(plan.layer) if plan.layer else nn.MaxPool2d(kernel_size=1, stride=2)
