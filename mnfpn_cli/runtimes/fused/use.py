"""Which modules of a fused network our own kernels run, and what they executed."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from itertools import cycle

import torch
from torch import Tensor, nn

from mnfpn_cli.network.heads import Classifier
from mnfpn_cli.network.network import Network
from mnfpn_cli.runtimes import eager
from mnfpn_cli.runtimes.fused.blocks import KernelBlock, Memory, roles_of
from mnfpn_cli.runtimes.fused.folded import FoldedConv, FusedBottleneck, FusedResidual
from mnfpn_cli.runtimes.fused.kernels import Kernels
from mnfpn_cli.runtimes.fused.levels import KernelLevel
from mnfpn_cli.runtimes.fused.resized import ResizedSum
from mnfpn_cli.runtimes.runtime import ExecutedGraph


def use_kernels(network: nn.Module, kernels: Kernels) -> None:
    """Have our own kernels run a fused network's inverted residuals, levels, separable and 1×1 convolutions.

    By tiles they run all dense convolutions, and in int8 all whose input was calibrated.
    """
    memory = Memory()
    for path, module in network.named_modules():
        if isinstance(module, FoldedConv):
            module.path = path
    if isinstance(network, Network):
        _use_in_backbone(network, kernels, memory)
    _use_elsewhere(network, kernels, memory)


def _use_elsewhere(module: nn.Module, kernels: Kernels, memory: Memory) -> None:
    """Have the kernels run separable convolutions and single ones."""
    for name, child in list(module.named_children()):
        if isinstance(child, ResizedSum):
            if all(_multiplies(conv, kernels) for conv in (child, child.mix) if conv is not None):
                setattr(module, name, KernelLevel(child, kernels, memory))
            continue
        convs = named_layers(child) if isinstance(child, nn.Sequential) else OrderedDict({name: child})
        if isinstance(child, KernelBlock) or (isinstance(child, FusedBottleneck) and not _runs_wide(kernels)):
            continue
        if _is_one_call(list(convs.values()), kernels):
            setattr(module, name, KernelBlock(convs, kernels, memory))
        else:
            _use_elsewhere(child, kernels, memory)


def _is_one_call(modules: Sequence[nn.Module], kernels: Kernels) -> bool:
    """Return whether they are a dense convolution that kernels run, or a separable one: a depthwise 3×3 before it."""
    convs = [module for module in modules if isinstance(module, FoldedConv)]
    if not convs or len(convs) < len(modules) or not _multiplies(convs[-1], kernels):
        return False
    *before, last = convs
    pointwise = last.weight.shape[-1] == 1
    if not before:
        return pointwise or _runs_wide(kernels)
    return pointwise and [conv.groups == len(conv.weight) and conv.weight.shape[-1] == 3 for conv in before] == [True]


def _runs_wide(kernels: Kernels) -> bool:
    """Return whether kernels run bottlenecks, and single convolutions that are wider than one pixel.

    In floating point oneDNN is faster at these by vectors. By tiles it is as fast, but not always right: in bfloat16,
    torch 2.13 convolves 3×3 with stride 2 to maps that are one pixel wide with values that are not of its input.
    """
    return kernels.products == "int8" or kernels.amx


def _multiplies(conv: FoldedConv, kernels: Kernels) -> bool:
    """Return whether kernels can run a dense convolution."""
    return conv.groups == 1 and (kernels.products != "int8" or conv.reads is not None)


def _use_in_backbone(network: Network, kernels: Kernels, memory: Memory) -> None:
    """Give each block the buffer of its output: the next block alone reads it, or the pyramid does at the end."""
    if not all(isinstance(block, FusedResidual) for stage in network.stages for block in stage.children()):
        return
    turns = cycle(("one", "other"))
    stem = OrderedDict[str, nn.Module](stem=network.stem)
    if stem_fits := _fits(stem, kernels):
        network.add_module("stem", KernelBlock(stem, kernels, memory, next(turns)))
    for index, stage in enumerate(network.stages):
        blocks = [(name, block) for name, block in stage.named_children() if isinstance(block, FusedResidual)]
        for name, block in blocks:
            layers, tapped = named_layers(block), index in network.tapped and block is blocks[-1][1]
            if not _fits(layers, kernels):
                continue
            buffer = f"stage {index}" if tapped else next(turns)
            if stem_fits and index == 0 and block is blocks[0][1] and len(layers) == 2 and not block.residual:
                # Nothing is before its depthwise convolution: the stem is.
                network.add_module("stem", KernelBlock(stem | layers, kernels, memory, buffer))
                setattr(stage, name, nn.Identity())
            else:
                setattr(stage, name, KernelBlock(layers, kernels, memory, buffer, block.residual))
    if isinstance(network.head, Classifier):
        last = named_layers(network.head).get("last")
        if isinstance(last, FoldedConv) and _multiplies(last, kernels):
            network.head.add_module("last", KernelBlock(OrderedDict(last=last), kernels, memory, next(turns)))


def _fits(layers: Mapping[str, nn.Module], kernels: Kernels) -> bool:
    """Return whether kernels can run the convolutions of a block of the backbone."""
    return all(role == "depthwise" or _multiplies(conv, kernels) for role, conv in roles_of(layers.values()).items())


def named_layers(module: nn.Module) -> "OrderedDict[str, nn.Module]":
    """Return the layers of a module by their names."""
    return OrderedDict(module.named_children())


def executed_with_kernels(network: nn.Module, inputs: tuple[Tensor, ...]) -> ExecutedGraph:
    """Run a pass of a fused network; return what torch executed in it, and the kernels, which torch does not see."""
    with torch.inference_mode():
        network(*inputs)  # the first pass puts weights in order, and converts some
    observer = eager.OperatorObserver(network)

    def record(module: nn.Module, given: tuple[Tensor, ...], _output: Tensor) -> None:
        assert isinstance(module, KernelBlock | KernelLevel)
        observer.operators += module.operators(*(one.shape for one in given[: 1 + isinstance(module, KernelLevel)]))

    with ExitStack() as hooks:
        for module in network.modules():
            if isinstance(module, KernelBlock | KernelLevel):
                hooks.callback(module.register_forward_hook(record).remove)
        return eager.executed(network, inputs, observer)
