"""PyTorch with batch norm folded, and activations and additions fused, into convolutions; the outputs stay the same."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TypeVar

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor, nn

from mnfpn_cli.network.layers import ConvNormAct
from mnfpn_cli.network.network import Bottleneck, InvertedResidual
from mnfpn_cli.network.pyramid import Pyramid
from mnfpn_cli.runtimes import eager
from mnfpn_cli.runtimes.fused import early
from mnfpn_cli.runtimes.fused.folded import FoldedConv, Optimizations, activation_of, can_pack, fold
from mnfpn_cli.runtimes.runtime import Job, Prepared
from mnfpn_cli.settings.input import DType

M = TypeVar("M", bound=nn.Module)

ANY_NETWORK = False
"""Parts are replaced by class, and only those of our own networks are known."""


def unavailable_reason(_device: torch.device, _dtype: DType, train: bool) -> str | None:
    """Return why it cannot run here: it is for inference, wherever torch runs."""
    return "inference only: it folds batch norm into convolutions" if train else None


def prepare(job: Job) -> Prepared:
    """Fuse the network; move it and its inputs to the device, in the job's dtype and channels-last memory format."""
    fuse(job.network, available_optimizations(job.device, job.dtype)).requires_grad_(False)
    network, inputs = eager.move(job, torch.channels_last)
    return Prepared(partial(network, *inputs))


def available_optimizations(device: torch.device, dtype: DType) -> Optimizations:
    """Return the optimizations besides folding that a device and a dtype allow."""
    onednn = device.type == "cpu" and dtype == "float32" and can_pack()
    return Optimizations(packed=onednn, added=onednn, early=onednn)


def fuse(module: M, optimizations: Optimizations) -> M:
    """Replace the parts of a module by fused ones, and return the module; parts of other classes stay as they are.

    Folded weights are in float64 until the module is moved to another dtype.
    """
    for name, child in list(module.named_children()):
        setattr(module, name, _replaced(child, optimizations))
    return module


def _replaced(module: nn.Module, optimizations: Optimizations) -> nn.Module:
    match module:
        case ConvNormAct() | nn.Conv2d():
            return FoldedConv(fold(module), optimizations)
        case InvertedResidual():
            return FusedResidual(module, optimizations)
        case Bottleneck():
            return FusedBottleneck(module, optimizations)
        case Pyramid():
            return FusedPyramid(module, optimizations)
        case _:
            return fuse(module, optimizations)


class FusedResidual(nn.Sequential):
    """An inverted residual whose last convolution adds the input."""

    def __init__(self, block: InvertedResidual, optimizations: Optimizations):
        super().__init__(OrderedDict(fuse(block, optimizations).named_children()))
        self.residual = block.residual

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, in, h, w) to (n, out, h/s, w/s)."""
        *before, last = self
        y = x
        for conv in before:
            y = conv(y)  # (n, hidden, h, w), after the depthwise convolution (n, hidden, h/s, w/s)
        z: Tensor = last(y, x if self.residual else None)
        return z


class FusedBottleneck(nn.Module):
    """A bottleneck whose last convolution adds the input or its shortcut, and applies the activation."""

    def __init__(self, block: Bottleneck, optimizations: Optimizations):
        super().__init__()
        self.reduce, self.spatial = (FoldedConv(fold(conv), optimizations) for conv in (block.reduce, block.spatial))
        self.restore = FoldedConv(replace(fold(block.restore), activation=activation_of(block.act)), optimizations)
        self.shortcut = FoldedConv(fold(block.shortcut), optimizations) if block.shortcut else None

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, in, h, w) to (n, out, h/s, w/s)."""
        y = self.spatial(self.reduce(x))  # (n, out / 4, h/s, w/s)
        z: Tensor = self.restore(y, self.shortcut(x), overwrite=True) if self.shortcut else self.restore(y, x)
        return z


class FusedPyramid(Pyramid):
    """A pyramid whose laterals add the resized map, and whose levels are smoothed early where that is less work."""

    def __init__(self, pyramid: Pyramid, optimizations: Optimizations):
        nn.Module.__init__(self)
        early_smoothing = nn.ModuleDict(early_levels(pyramid, optimizations))
        vars(self).update(vars(fuse(pyramid, optimizations)))  # the same parts, under their names
        self.early = early_smoothing

    def forward(self, taps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Turn taps (n, c_k, h/2^k, w/2^k), finest first, into maps (n, channels, h/2^k, w/2^k) in that order."""
        names, maps = list(self.lateral), list(taps)
        maps[-1] = self.lateral[names[-1]](taps[-1])
        for k in reversed(range(len(maps) - 1)):
            if k or names[k] not in self.early:  # only its own smoothing uses the finest merged map
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


def early_levels(pyramid: Pyramid, optimizations: Optimizations) -> dict[str, nn.Module]:
    """Return the levels for which early smoothing is less work: sums that a 3×3 convolution smooths."""
    levels: dict[str, nn.Module] = {}
    if not optimizations.early or pyramid.merge != "add":
        return levels
    for name, lateral in list(pyramid.lateral.items())[:-1]:  # the coarsest is no sum
        smooth = pyramid.smooth[pyramid.smoothing[name]] if name in pyramid.smoothing else None
        if isinstance(lateral, nn.Conv2d) and isinstance(smooth, nn.Conv2d) and early.is_cheaper(lateral, smooth):
            levels[name] = early.EarlySmoothing(lateral, smooth, pyramid.upsample, optimizations)
    return levels
