"""PyTorch with batch norm folded and activations and additions fused into convolutions; the result is the same."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TypeVar

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor, nn

from mnfpn_cli.network.network import Bottleneck, ConvNormAct, InvertedResidual, Pyramid
from mnfpn_cli.runtimes import eager
from mnfpn_cli.runtimes.fused import early
from mnfpn_cli.runtimes.fused.folded import FoldedConv, Savings, activation_of, can_pack, fold
from mnfpn_cli.runtimes.runtime import Job, Prepared
from mnfpn_cli.settings.input import DType

M = TypeVar("M", bound=nn.Module)


ANY_NETWORK = False
"""It knows the parts of our networks by their classes."""


def impossible(_device: torch.device, _dtype: DType, train: bool) -> str | None:
    """It runs wherever torch does, in inference."""
    return "it folds batch norm into convolutions, and training needs batch norm as it is" if train else None


def prepare(job: Job) -> Prepared:
    """Fold the network, and move it and its inputs to the device, in the dtype and in channels-last order."""
    fuse(job.network, possible_savings(job.device, job.dtype)).requires_grad_(False)
    network, inputs = eager.move(job, torch.channels_last)
    return Prepared(partial(network, *inputs))


def possible_savings(device: torch.device, dtype: DType) -> Savings:
    """What can be saved besides folding."""
    onednn = device.type == "cpu" and dtype == "float32" and can_pack()
    return Savings(packed=onednn, added=onednn, early=onednn)


def fuse(module: M, savings: Savings) -> M:
    """Replace the parts of a module by ones that do more at once; whatever is not known stays as it is.

    What folds is in float64 until the module is moved to another dtype.
    """
    for name, child in list(module.named_children()):
        setattr(module, name, _replaced(child, savings))
    return module


def _replaced(module: nn.Module, savings: Savings) -> nn.Module:
    match module:
        case ConvNormAct() | nn.Conv2d():
            return FoldedConv(fold(module), savings)
        case InvertedResidual():
            return FusedResidual(module, savings)
        case Bottleneck():
            return FusedBottleneck(module, savings)
        case Pyramid():
            return FusedPyramid(module, savings)
        case _:
            return fuse(module, savings)


class FusedResidual(nn.Sequential):
    """An inverted residual; the input is added by the last of its convolutions."""

    def __init__(self, block: InvertedResidual, savings: Savings):
        super().__init__(OrderedDict(fuse(block, savings).named_children()))
        self.residual = block.residual

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, in, h, w) to (n, out, h/s, w/s)."""
        *before, last = self
        y = x
        for conv in before:
            y = conv(y)  # (n, hidden, h, w), or behind the depthwise convolution (n, hidden, h/s, w/s)
        z: Tensor = last(y, x if self.residual else None)
        return z


class FusedBottleneck(nn.Module):
    """A bottleneck; the input or its shortcut is added by the last of its convolutions, which has the activation."""

    def __init__(self, block: Bottleneck, savings: Savings):
        super().__init__()
        self.reduce, self.spatial = (FoldedConv(fold(conv), savings) for conv in (block.reduce, block.spatial))
        self.restore = FoldedConv(replace(fold(block.restore), activation=activation_of(block.act)), savings)
        self.shortcut = FoldedConv(fold(block.shortcut), savings) if block.shortcut else None

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, in, h, w) to (n, out, h/s, w/s)."""
        y = self.spatial(self.reduce(x))  # (n, out / 4, h/s, w/s)
        z: Tensor = self.restore(y, self.shortcut(x), overwrite=True) if self.shortcut else self.restore(y, x)
        return z


class FusedPyramid(Pyramid):
    """A pyramid; laterals add the resized map themselves, and levels are smoothed early where that is less work."""

    def __init__(self, pyramid: Pyramid, savings: Savings):
        nn.Module.__init__(self)
        smoothed_early = nn.ModuleDict(early_levels(pyramid, savings))
        vars(self).update(vars(fuse(pyramid, savings)))  # the same parts, under their names
        self.early = smoothed_early

    def forward(self, taps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Turn taps (n, c_k, h/2^k, w/2^k), finest first, into maps (n, channels, h/2^k, w/2^k) in that order."""
        names, maps = list(self.lateral), list(taps)
        maps[-1] = self.lateral[names[-1]](taps[-1])
        for k in reversed(range(len(maps) - 1)):
            if k or names[k] not in self.early:  # the finest merged map is for its own smoothing only
                maps[k] = self._merge_tap(names[k], taps[k], maps[k + 1])  # (n, merged, h/2^k, w/2^k)
        levels = [
            self.early[name](taps[k], maps[k + 1]) if name in self.early else self._smooth(name, maps[k])
            for k, name in enumerate(names)
        ]
        x = taps[-1] if self.extra_on_tap else levels[-1]
        for index, halve in enumerate(self.extra.values() if self.extra else ()):
            x = halve(F.relu(x) if index and self.extra_relu else x)  # (n, channels, h/2^k, w/2^k), k one more
            levels.append(x)
        return tuple(levels)

    def _merge_tap(self, name: str, tap: Tensor, coarse: Tensor) -> Tensor:
        resized = self._resize(coarse, tap)
        if self.merge == "concat":
            return self._merge(self.lateral[name](tap), resized)
        merged: Tensor = self.lateral[name](tap, resized, overwrite=True)
        return merged


def early_levels(pyramid: Pyramid, savings: Savings) -> dict[str, nn.Module]:
    """The levels that are less work smoothed early: of sums, by a 3×3 convolution; the coarsest is no sum."""
    levels: dict[str, nn.Module] = {}
    if not savings.early or pyramid.merge != "add":
        return levels
    for name, lateral in list(pyramid.lateral.items())[:-1]:
        smooth = pyramid.smooth[pyramid.smoothing[name]] if name in pyramid.smoothing else None
        if isinstance(lateral, nn.Conv2d) and isinstance(smooth, nn.Conv2d) and early.pays(lateral, smooth):
            levels[name] = early.EarlySmoothing(lateral, smooth, pyramid.upsample, savings)
    return levels
