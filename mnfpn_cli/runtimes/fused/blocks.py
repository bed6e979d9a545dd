"""Blocks that our own kernels compute in one call each.

Nothing between the convolutions of a block is ever in memory as a whole. What is left are the maps between the blocks.
Those of the backbone are in memory that is planned once: they take turns in two buffers, but for those that the pyramid
reads at the end of a pass, which have one each.
"""

import ctypes
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import cycle
from math import prod
from typing import Literal, get_args

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor, nn

from mnfpn_cli.network.heads import Classifier
from mnfpn_cli.network.network import Network
from mnfpn_cli.plan.layers import Activation, same_padding
from mnfpn_cli.runtimes import eager
from mnfpn_cli.runtimes.fused.folded import Folded, FoldedConv, FusedBottleneck, FusedResidual, Optimizations
from mnfpn_cli.runtimes.fused.kernels import KernelConvolution, KernelMap, KernelRequest, Kernels
from mnfpn_cli.runtimes.runtime import ExecutedGraph, Operator

ConvRole = Literal["dense", "depthwise", "project"]
ROLES: tuple[ConvRole, ...] = get_args(ConvRole)
"""The convolutions of a block: where it has fewer, the last of them. As in `blocks.cpp`."""

INFINITY = float("inf")
RANGES: dict[Activation | None, tuple[float, float]] = {
    None: (-INFINITY, INFINITY),
    "relu": (0.0, INFINITY),
    "relu6": (0.0, 6.0),
}


class Memory:
    """Buffers by name, each as large as its largest use so far."""

    def __init__(self) -> None:
        """Start with none."""
        self._buffers: dict[str, Tensor] = {}

    def take(self, name: str, count: int, dtype: torch.dtype) -> Tensor:
        """Return so many values of a buffer, which has one dtype; what was taken of it before may share them."""
        buffer = self._buffers.get(name)
        if buffer is None or buffer.numel() < count:
            buffer = self._buffers[name] = torch.empty(count, dtype=dtype)
        return buffer[:count]


@dataclass(frozen=True, slots=True)
class PlannedCall:
    """A call of the kernels for one shape of the input.

    Attributes:
        request: the address of what they compute.
        scratch: the address of their scratch space.
        output: where the output is, (n, out, h/s, w/s); None where each pass takes new memory.
        shape: the shape of the output in memory, (n, h/s, w/s, out).
        threads: the threads that they run on.
        keep: what the addresses, and those in the request, point to.
    """

    request: int
    scratch: int
    output: Tensor | None
    shape: tuple[int, ...]
    threads: int
    keep: tuple[object, ...]


class KernelBlock(nn.Sequential):
    """Up to three convolutions that run as one: dense or none, depthwise 3×3 or none, and a 1×1, which may add a map.

    Where there is no depthwise one, there is one convolution alone, of any kernel.
    """

    def __init__(
        self,
        layers: "OrderedDict[str, nn.Module]",
        kernels: Kernels,
        memory: Memory,
        buffer: str | None = None,
        residual: bool = False,
    ):
        super().__init__(layers)
        self.kernels, self.memory, self.buffer, self.residual = kernels, memory, buffer, residual
        self.calls: dict[torch.Size, PlannedCall] = {}

    def forward(self, x: Tensor, added: Tensor | None = None, overwrite: bool = False) -> Tensor:
        """Map (n, in, h, w) to (n, out, h/s, w/s), in channels-last order, and add a map of that shape or none.

        With ``overwrite`` the output takes the place of what is added. With a buffer, the next block that has the same
        one overwrites it.
        """
        assert x.dtype == self.kernels.dtype  # what follows are addresses
        x = x.contiguous(memory_format=torch.channels_last)
        call = self.calls.get(x.shape)
        if call is None:
            call = self.calls[x.shape] = self._plan(x.shape)
        assert added is None or not self.residual  # it would be one map too many
        added = x if self.residual else added
        if added is not None:
            added = added.contiguous(memory_format=torch.channels_last)
        output = added if overwrite else call.output
        if output is None:
            output = x.new_empty(call.shape).permute(0, 3, 1, 2)
        where = None if added is None else added.data_ptr()
        self.kernels.run(call.request, x.data_ptr(), where, output.data_ptr(), call.scratch, call.threads)
        return output

    def operators(self, shape: torch.Size) -> Iterator[Operator]:
        """Yield what the kernels compute for an input of this shape (n, in, h, w)."""
        images, _, *sides = shape
        for role, conv in self.roles().items():
            _, sides = _padded(conv, sides)
            dtype = torch.float32 if role == "depthwise" else self.kernels.dtype
            yield Operator(conv.path, str(dtype).removeprefix("torch."), images * prod(sides) * conv.weight.numel())

    def roles(self) -> dict[ConvRole, FoldedConv]:
        """Return the convolutions by what they are to the kernels, in the order in which they run."""
        convs = [conv for conv in self if isinstance(conv, FoldedConv)]
        return dict(zip(ROLES[-len(convs) :], convs, strict=True))

    def _plan(self, shape: torch.Size) -> PlannedCall:
        images, channels, *sides = shape
        given, convs = KernelMap(*sides, channels), self.roles()
        block = KernelRequest(input=given, middle=given, images=images)
        keep: list[Tensor] = []
        for role, conv in convs.items():
            used, sides = self._used(role, conv, sides, keep, behind=len(convs) > 1 and role == "project")
            setattr(block, role, used)
            setattr(block, "middle" if role == "dense" else "output", KernelMap(*sides, len(conv.weight)))
        project = convs["project"]
        whole = channels % self.kernels.pair == 0
        if whole and len(convs) == project.weight.shape[-1] == project.stride == 1:  # all pixels are as good as one row
            block.input, block.output = (
                KernelMap(1, images * one.rows * one.columns, one.channels) for one in (block.input, block.output)
            )
            block.images = 1
        threads = torch.get_num_threads()
        request = ctypes.addressof(block)
        scratch = self.memory.take("scratch", self.kernels.scratch_floats(request, threads), torch.float32)
        made, output = (images, *sides, len(project.weight)), None
        if self.buffer:
            place = self.memory.take(self.buffer, prod(made), self.kernels.dtype)
            output = place.view(made).permute(0, 3, 1, 2)
        return PlannedCall(request, scratch.data_ptr(), output, made, threads, (block, scratch, *keep))

    def _used(
        self, role: ConvRole, conv: FoldedConv, sides: Sequence[int], keep: list[Tensor], behind: bool
    ) -> tuple[KernelConvolution, list[int]]:
        """Return a convolution for the kernels, and the sides of its output; ``keep`` gets what it points to.

        Args:
            role: what it is to the kernels.
            conv: the convolution.
            sides: of its input.
            keep: what must not be freed.
            behind: whether it reads whole vectors, which another convolution has left in scratch space.
        """
        kernel, stride = conv.weight.shape[-1], conv.stride
        ((top, _), (left, _)), outputs = _padded(conv, sides)
        if role == "depthwise":
            weight = vectors(conv.weight.float(), self.kernels.width)
        else:
            weight = vectors(conv.weight, self.kernels.width, self.kernels.pair, behind)
        bias = conv.weight.new_zeros(len(conv.weight)) if conv.bias is None else conv.bias
        bias = F.pad(bias.float(), (0, -len(bias) % self.kernels.width))
        keep += weight, bias
        low, high = RANGES[conv.activation]
        addresses = weight.data_ptr(), bias.data_ptr()
        return KernelConvolution(*addresses, low, high, len(weight), kernel, stride, top, left), outputs


def _padded(conv: FoldedConv, sides: Sequence[int]) -> tuple[list[tuple[int, int]], list[int]]:
    """Return the rows and columns of zeros before and behind a map, and the sides of a convolution's output."""
    kernel = conv.weight.shape[-1]
    padding = [same_padding(kernel, side) if conv.pad else (conv.padding, conv.padding) for side in sides]
    outputs = [(side + sum(ends) - kernel) // conv.stride + 1 for side, ends in zip(sides, padding, strict=True)]
    return padding, outputs


def vectors(weight: Tensor, width: int, pair: int = 1, whole_inputs: bool = False) -> Tensor:
    """Return a weight (out, in, rows, columns) as kernels read it: (vectors, inputs / pair, width, pair).

    Inputs are in the order of memory: rows, columns, channels. Zeros fill outputs to whole vectors, and the inputs of a
    row to whole pairs, or with ``whole_inputs`` to as many pairs as a vector has outputs.
    """
    rows = weight.permute(0, 2, 3, 1).flatten(2)  # (out, rows, columns × in)
    filled = F.pad(rows, (0, -rows.shape[-1] % (width * pair if whole_inputs else pair), 0, 0, 0, -len(rows) % width))
    steps = filled.flatten(1).view(-1, width, filled[0].numel() // pair, pair)
    return steps.transpose(1, 2).contiguous()


def use_kernels(network: nn.Module, kernels: Kernels) -> None:
    """Have our own kernels run a fused network's inverted residuals, separable and 1×1 convolutions."""
    memory = Memory()
    for path, module in network.named_modules():
        if isinstance(module, FoldedConv):
            module.path = path
    if isinstance(network, Network):
        _use_in_backbone(network, kernels, memory)
    _use_outside_backbone(network, kernels, memory)


def _use_outside_backbone(module: nn.Module, kernels: Kernels, memory: Memory) -> None:
    """Have the kernels run separable and 1×1 convolutions; oneDNN is faster at a bottleneck's, which are wide."""
    for name, child in list(module.named_children()):
        convs = named_layers(child) if isinstance(child, nn.Sequential) else OrderedDict({name: child})
        if isinstance(child, KernelBlock | FusedBottleneck | FusedResidual):
            continue
        if _is_one_call(list(convs.values())):
            setattr(module, name, KernelBlock(convs, kernels, memory))
        else:
            _use_outside_backbone(child, kernels, memory)


def _is_one_call(modules: Sequence[nn.Module]) -> bool:
    """Return whether they are a 1×1 convolution, or a separable one: a depthwise 3×3 before it."""
    convs = [module for module in modules if isinstance(module, FoldedConv)]
    if not convs or len(convs) < len(modules):
        return False
    *before, last = convs
    pointwise = last.weight.shape[-1] == last.groups == 1
    separable = [conv.groups == len(conv.weight) and conv.weight.shape[-1] == 3 for conv in before] == [True]
    return pointwise and (separable or not before)


def _use_in_backbone(network: Network, kernels: Kernels, memory: Memory) -> None:
    """Give each block the buffer of its output: the next block alone reads it, or the pyramid does at the end."""
    if not all(isinstance(block, FusedResidual) for stage in network.stages for block in stage.children()):
        return
    turns = cycle(("one", "other"))
    stem = OrderedDict[str, nn.Module](stem=network.stem)
    network.add_module("stem", KernelBlock(stem, kernels, memory, next(turns)))
    for index, stage in enumerate(network.stages):
        blocks = [(name, block) for name, block in stage.named_children() if isinstance(block, FusedResidual)]
        for name, block in blocks:
            layers, tapped = named_layers(block), index in network.tapped and block is blocks[-1][1]
            buffer = f"stage {index}" if tapped else next(turns)
            if index == 0 and block is blocks[0][1] and len(layers) == 2 and not block.residual:
                # Nothing is before its depthwise convolution: the stem is.
                network.add_module("stem", KernelBlock(stem | layers, kernels, memory, buffer))
                setattr(stage, name, nn.Identity())
            else:
                setattr(stage, name, KernelBlock(layers, kernels, memory, buffer, block.residual))
    if isinstance(network.head, Classifier):
        _use_in_classifier(network.head, kernels, memory, next(turns))


def _use_in_classifier(head: Classifier, kernels: Kernels, memory: Memory, buffer: str) -> None:
    """Have the kernels run the last convolution, and the dense layer as a 1×1; the logits are new in each pass."""
    layers = named_layers(head)
    last, dense = layers.get("last"), layers["dense"]
    if isinstance(last, FoldedConv):
        head.add_module("last", KernelBlock(OrderedDict(last=last), kernels, memory, buffer))
    if isinstance(dense, nn.Linear):
        weight, bias = (tensor.detach().double() for tensor in (dense.weight, dense.bias))
        conv = FoldedConv(Folded(weight[:, :, None, None], bias, 1, 0, 1), Optimizations())
        conv.path = "head.dense"
        block = KernelBlock(OrderedDict(dense=conv), kernels, memory)
        head.add_module("dense", nn.Sequential(nn.Unflatten(1, (-1, 1, 1)), block, nn.Flatten()))


def named_layers(module: nn.Module) -> "OrderedDict[str, nn.Module]":
    """Return the layers of a module by their names."""
    return OrderedDict(module.named_children())


def executed_with_kernels(network: nn.Module, inputs: tuple[Tensor, ...]) -> ExecutedGraph:
    """Run a pass of a fused network; return what torch executed in it, and the kernels, which torch does not see."""
    with torch.inference_mode():
        network(*inputs)  # the first pass puts weights in order, and converts some
    observer = eager.OperatorObserver(network)

    def record(block: nn.Module, given: tuple[Tensor, ...], _output: Tensor) -> None:
        assert isinstance(block, KernelBlock)
        observer.operators += block.operators(given[0].shape)

    with ExitStack() as hooks:
        for module in network.modules():
            if isinstance(module, KernelBlock):
                hooks.callback(module.register_forward_hook(record).remove)
        return eager.executed(network, inputs, observer)
