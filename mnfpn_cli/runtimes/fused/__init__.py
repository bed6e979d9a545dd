"""PyTorch with batch norm folded, and activations and additions fused, into convolutions; the outputs stay the same."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from functools import partial
from typing import TypeVar

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor, nn

from mnfpn_cli.devices.choose import device_of
from mnfpn_cli.documents.records import WarningRecord
from mnfpn_cli.errors import MnfpnError
from mnfpn_cli.measure import module_times
from mnfpn_cli.measure.layer_times import LayerTimes
from mnfpn_cli.network.heads import Branch, LevelHead
from mnfpn_cli.network.layers import ConvNormAct, SeparableConv
from mnfpn_cli.network.network import Bottleneck, InvertedResidual
from mnfpn_cli.network.pyramid import Pyramid
from mnfpn_cli.plan.pyramid import SHARED
from mnfpn_cli.plan.roofline import LayerWork
from mnfpn_cli.quantization.quantization import Quantization
from mnfpn_cli.runtimes import eager
from mnfpn_cli.runtimes.fused import resized
from mnfpn_cli.runtimes.fused.blocks import KernelBlock
from mnfpn_cli.runtimes.fused.calibration import calibrate
from mnfpn_cli.runtimes.fused.folded import (
    FoldedConv,
    FusedBottleneck,
    FusedResidual,
    Optimizations,
    Parts,
    as_convolution,
    can_pack,
    fold,
    keep_float,
    keeps_float,
    parts,
)
from mnfpn_cli.runtimes.fused.kernels import kernels_for, missing_for, runs_on_processor
from mnfpn_cli.runtimes.fused.layers import called_modules, fused_calls
from mnfpn_cli.runtimes.fused.use import executed_with_kernels, named_layers, use_kernels
from mnfpn_cli.runtimes.runtime import Job, Prepared, ReportShare
from mnfpn_cli.settings.input import DType

M = TypeVar("M", bound=nn.Module)

ANY_NETWORK = False
"""Parts are replaced by class, and only those of our own networks are known."""


NO_KERNELS = WarningRecord(
    kind="no_kernels",
    cause="no C++ compiler could make its own kernels: torch's run instead, which takes longer",
    helps="g++, clang++, or the environment variable CXX with another",
)
"""Warns that it is slower than it could be."""


def unavailable_reason(device: torch.device, dtype: DType, train: bool) -> str | None:
    """Return why it cannot run here: it is for inference, wherever torch runs, and in int8 needs its own kernels."""
    if train:
        return "inference only: it folds batch norm into convolutions"
    if dtype != "int8":
        return None
    return missing_for(dtype) if device.type == "cpu" else "runs int8 on the CPU alone"


def prepare(job: Job) -> Prepared:
    """Fuse the network; move it and its inputs to the device, in the job's dtype and channels-last memory format.

    In int8, maps are in float32, and the kernels round what they multiply.

    Raises:
        MnfpnError: in int8, where the kernels cannot be made, or calibration has no finite numbers.
    """
    optimizations = available_optimizations(job.device, job.dtype)
    if job.quantization:
        if not optimizations.kernels:
            raise MnfpnError("its own kernels for int8 could not be compiled")
        job = replace(job, dtype="float32")  # of maps
    fuse(job.network, optimizations, job.quantization).requires_grad_(False)
    job.network.to(job.torch_dtype)  # folded weights are in float64
    network, inputs = eager.move(job, torch.channels_last)
    could_have = job.device.type == "cpu" and runs_on_processor(job.dtype) and not optimizations.kernels
    return Prepared(
        partial(network, *inputs),
        inputs,
        graph=partial(executed_with_kernels, network, inputs),
        warnings=(NO_KERNELS,) if could_have else (),
    )


def time_layers(job: Job, works: Sequence[LayerWork], passes: int, progress: ReportShare) -> LayerTimes:
    """Time each layer by hooks around the calls of the fused modules."""
    run, marks = prepare(job).run, device_of(job.device).marks()
    calls = fused_calls(job.network, works, called_modules(job.network, run))
    faults = job.device.type == "cpu"
    return module_times.time_modules(run, job.network, works, marks, passes, progress, calls, faults)


def available_optimizations(device: torch.device, dtype: DType) -> Optimizations:
    """Return the optimizations besides folding that a device and a dtype allow."""
    onednn = device.type == "cpu" and can_pack("float32" if dtype == "int8" else dtype)
    kernels = kernels_for(dtype) if device.type == "cpu" else None
    return Optimizations(packed=onednn, added=onednn, early=onednn, kernels=kernels)


def fuse(module: M, optimizations: Optimizations, quantization: Quantization | None = None) -> M:
    """Replace the parts of a module by fused ones, and return the module; parts of other classes stay as they are.

    Folded weights are in float64 until the module is moved to another dtype; they are in float32 with a quantisation.
    """
    for path in quantization.keep_float if quantization else ():
        keep_float(module.get_submodule(path))
    fuse_parts(module, optimizations)
    if quantization:
        calibrate(module.float(), quantization.passes)
    if optimizations.kernels:
        use_kernels(module, optimizations.kernels)
    return module


def fuse_parts(module: M, optimizations: Optimizations) -> M:
    """Replace the parts of a module by those that torch fuses, and return the module."""
    for name, child in list(module.named_children()):
        setattr(module, name, _replaced(child, optimizations))
    return module


def _replaced(module: nn.Module, optimizations: Optimizations) -> nn.Module:
    match module:
        case ConvNormAct() | nn.Conv2d() if (layer := parts(module)).foldable:
            return FoldedConv(fold(layer), optimizations)
        case nn.Linear() if optimizations.kernels:
            return FoldedConv(as_convolution(module), optimizations)
        case InvertedResidual():
            return FusedResidual(named_layers(fuse_parts(module, optimizations)), module.residual)
        case Bottleneck():
            return FusedBottleneck(module, optimizations)
        case Pyramid():
            return FusedPyramid(module, optimizations)
        case LevelHead():
            return FusedLevelHead(module, optimizations)
        case Branch():
            return FusedBranch(module, optimizations)
        case _:
            return fuse_parts(module, optimizations)


class FusedLevelHead(LevelHead):
    """The convolutions of a branch, for maps in channels-last order, where the values of a pixel lie side by side."""

    def __init__(self, head: LevelHead, optimizations: Optimizations):
        nn.Module.__init__(self)
        vars(self).update(vars(fuse_parts(head, optimizations)))  # the same parts, under their names

    def by_cell(self, x: Tensor, values: int) -> Tensor:
        """View (n, anchors × values, h, w) as (n, all, values): in that order nothing is copied."""
        return x.permute(0, 2, 3, 1).reshape(x.shape[0], -1, values)


class FusedBranch(Branch):
    """A branch whose kernels write the levels of one image next to each other, so that nothing is copied."""

    def __init__(self, branch: Branch, optimizations: Optimizations):
        nn.Module.__init__(self)
        vars(self).update(vars(fuse_parts(unshared(branch, optimizations), optimizations)))

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Map levels (n, c, h/2^k, w/2^k), finest first, to outputs (n, all anchors, values)."""
        heads = [head for name in self.levels if isinstance(head := self.get_submodule(name), LevelHead)]
        several = [[last for last in head.last_layers() if isinstance(last, KernelBlock)] for head in heads]
        if self.norms or len(maps[0]) > 1 or any(len(lasts) < len(self.values) for lasts in several):
            return super().forward(maps)
        tops = [head.climb(x) for head, x in zip(heads, maps, strict=True)]  # (1, channels, h/2^k, w/2^k) each
        outputs = list[Tensor]()
        for lasts, values in zip(zip(*several, strict=True), self.values, strict=True):
            anchors = [x[0, 0].numel() * last.channels // values for last, x in zip(lasts, tops, strict=True)]
            output = tops[0].new_empty(1, sum(anchors), values)
            for last, x, place in zip(lasts, tops, torch.split(output, anchors, dim=1), strict=True):
                last(x, output=place.view(1, *x.shape[-2:], -1).permute(0, 3, 1, 2))
            outputs.append(output)
        return outputs


class FusedPyramid(Pyramid):
    """A pyramid whose laterals add the resized map, and whose levels are smoothed early where that is less work."""

    def __init__(self, pyramid: Pyramid, optimizations: Optimizations):
        nn.Module.__init__(self)
        early_smoothing = nn.ModuleDict(early_levels(pyramid, optimizations))
        if pyramid.merge == "add":
            for name, lateral in list(pyramid.lateral.items())[:-1]:  # the coarsest is no sum
                assert isinstance(lateral, nn.Conv2d)
                folded = fold(parts(lateral))
                pyramid.lateral[name] = resized.ResizedSum(folded, pyramid.upsample, optimizations)
        vars(self).update(vars(fuse_parts(pyramid, optimizations)))  # the same parts, under their names
        self.early = early_smoothing

    def forward(self, taps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Map taps (n, c_k, h/2^k, w/2^k), finest first, to levels (n, channels, h/2^k, w/2^k), extra levels last."""
        if self.last:
            taps = (*taps[:-1], self.last(taps[-1]))  # (n, last, h/2^k, w/2^k)
        levels, down, names = list[Tensor](), None, list(self.lateral)
        for k in reversed(range(len(names))):
            name, tap, coarse = names[k], taps[k], down
            if name not in self.early:
                down = self._merge_tap(name, tap, coarse)  # (n, merged, h/2^k, w/2^k)
                level = self._smooth(name, down)
            else:
                level = self.early[name](tap, coarse)
                if k and not self.smoothed_down:  # nothing reads the merged map of the finest level
                    down = self._merge_tap(name, tap, coarse)
            levels.insert(0, level)  # (n, channels, h/2^k, w/2^k)
            down = level if self.smoothed_down else down
        x = taps[-1] if self.extra_on_tap else levels[-1]
        for index, halve in enumerate(self.extra.values() if self.extra else ()):
            x = halve(F.relu(x) if index and self.extra_relu else x)  # (n, channels, h/2^k, w/2^k), k one more
            levels.append(x)
        return tuple(levels)

    def _merge_tap(self, name: str, tap: Tensor, coarse: Tensor | None) -> Tensor:
        merged: Tensor
        if coarse is None:  # the coarsest level
            merged = self.lateral[name](tap)
        elif self.merge == "concat":
            merged = self._merge(self.lateral[name](tap), self._resize(coarse, tap))
        else:
            merged = self.lateral[name](tap, coarse)
        return merged


def early_levels(pyramid: Pyramid, optimizations: Optimizations) -> dict[str, nn.Module]:
    """Return the levels for which early smoothing is less work: sums that a 3×3 convolution smooths."""
    levels: dict[str, nn.Module] = {}
    if not optimizations.early or pyramid.merge != "add":
        return levels
    for name, lateral in list(pyramid.lateral.items())[:-1]:  # the coarsest is no sum
        smooth = pyramid.smooth[pyramid.smoothing[name]] if name in pyramid.smoothing else None
        if not isinstance(lateral, nn.Conv2d) or not isinstance(smooth, nn.Conv2d | ConvNormAct):
            continue
        layer = parts(smooth)
        if keeps_float(lateral) or keeps_float(layer.conv):  # it could not be told apart
            continue
        if layer.foldable and resized.is_cheaper(lateral, layer.conv):
            levels[name] = resized.smoothed_early(lateral, fold(layer), pyramid.upsample, optimizations)
    return levels


def unshared(branch: Branch, optimizations: Optimizations) -> Branch:
    """Give each level a tower of its own where it has batch norms of its own, and fold these into it."""
    norms = branch.norms
    if norms is None or any(isinstance(module, nn.GroupNorm) for module in norms.modules()):
        return branch
    for name, own in norms.items():
        level = deepcopy(branch.get_submodule(SHARED))
        assert isinstance(level, LevelHead)
        layers = zip(level.tower, own.children(), strict=True)
        level.tower = nn.ModuleList(folded_behind(layer, norm, optimizations) for layer, norm in layers)
        branch.add_module(name, level)
    branch.levels, branch.norms = list(norms), None
    delattr(branch, SHARED)
    return branch


def folded_behind(layer: nn.Module, own: nn.Module, optimizations: Optimizations) -> nn.Module:
    """Fold a batch norm and its activation into the last convolution of the layer before it."""
    *before, conv = layer if isinstance(layer, SeparableConv) else (layer,)
    assert isinstance(conv, nn.Conv2d)
    return nn.Sequential(*before, FoldedConv(fold(Parts(None, conv, *own.children())), optimizations))
