"""Blocks that our own kernels compute in one call each.

Nothing between the convolutions of a block is ever in memory as a whole. What is left are the maps between the blocks.
Those of the backbone are in memory that is planned once: they take turns in two buffers, but for those that the pyramid
reads at the end of a pass, which have one each.
"""

import ctypes
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from mnfpn_cli.plan.layers import same_padding
from mnfpn_cli.runtimes.fused.folded import FoldedConv
from mnfpn_cli.runtimes.fused.kernels import KernelMap, KernelRequest, Kernels
from mnfpn_cli.runtimes.fused.weights import AS_IT_IS, KernelWeights, dense_weights, depthwise_weights
from mnfpn_cli.runtimes.runtime import Operator

ConvRole = Literal["dense", "depthwise", "project"]
ROLES: tuple[ConvRole, ...] = get_args(ConvRole)
"""The convolutions of a block: where it has fewer, the last of them. As in `blocks.cpp`."""


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
        request: the address of what they compute, with the weights.
        scratch: the address of their scratch space.
        output: where the output is, (n, out, h/s, w/s); None where each pass takes new memory.
        shape: the shape of the output in memory, (n, h/s, w/s, out).
        threads: the threads that they run on.
        keep: what the addresses point to.
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
        layers: Mapping[str, nn.Module],
        kernels: Kernels,
        memory: Memory,
        buffer: str | None = None,
        residual: bool = False,
    ):
        super().__init__(OrderedDict(layers))
        self.kernels, self.memory, self.buffer, self.residual = kernels, memory, buffer, residual
        self.roles = roles_of(layers.values())
        self.weights: dict[ConvRole, KernelWeights] = {}
        self.calls: dict[torch.Size, PlannedCall] = {}

    def forward(
        self, x: Tensor, added: Tensor | None = None, overwrite: bool = False, output: Tensor | None = None
    ) -> Tensor:
        """Map (n, in, h, w) to (n, out, h/s, w/s), in channels-last order, and add a map of that shape or none.

        A dense layer maps (n, in) to (n, out).

        The output goes to ``output``, a map in that order. Without one, ``overwrite`` has it take the place of what is
        added. With a buffer, the next block that has the same one overwrites it.
        """
        if x.dim() == 2:
            return self.forward(x[:, :, None, None]).flatten(1)
        assert x.dtype == self.kernels.maps  # what follows are addresses
        x = x.contiguous(memory_format=torch.channels_last)
        call = self.calls.get(x.shape)
        if call is None:
            call = self.calls[x.shape] = self._plan(x.shape)
        assert added is None or not self.residual  # it would be one map too many
        added = x if self.residual else added
        if added is not None:
            added = added.contiguous(memory_format=torch.channels_last)
        if output is None:
            output = added if overwrite else call.output
        if output is None:
            output = x.new_empty(call.shape).permute(0, 3, 1, 2)
        where = None if added is None else added.data_ptr()
        self.kernels.run(call.request, x.data_ptr(), where, output.data_ptr(), call.scratch, call.threads)
        return output

    @property
    def channels(self) -> int:
        """The channels of the output."""
        return len(self.roles["project"].weight)

    def operators(self, shape: torch.Size) -> Iterator[Operator]:
        """Yield what the kernels compute for an input of this shape (n, in, h, w)."""
        images, _, *sides = shape
        for role, conv in self.roles.items():
            _, sides = padded(conv, sides)
            dtype = "float32" if role == "depthwise" else self.kernels.products
            yield Operator(conv.path, dtype, images * prod(sides) * conv.weight.numel())

    def _plan(self, shape: torch.Size) -> PlannedCall:
        images, channels, *sides = shape
        given, convs = KernelMap(*sides, channels), self.roles
        block = KernelRequest(input=given, middle=given, images=images)
        for role, conv in convs.items():
            ((top, _), (left, _)), sides = padded(conv, sides)
            geometry = conv.weight.shape[-1], conv.stride, top, left
            setattr(block, role, self._weights(role).as_convolution(*geometry))
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
            place = self.memory.take(self.buffer, prod(made), self.kernels.maps)
            output = place.view(made).permute(0, 3, 1, 2)
        return PlannedCall(request, scratch.data_ptr(), output, made, threads, (block, scratch))

    def _weights(self, role: ConvRole) -> KernelWeights:
        """Return a convolution as kernels read it; that is made once for all shapes."""
        if role not in self.weights:
            convs = self.roles
            if role == "depthwise":
                made = depthwise_weights(convs[role], self.kernels, convs["project"].reads or AS_IT_IS)
            else:
                behind = len(convs) > 1 and role == "project"  # the other convolution leaves whole vectors
                made = dense_weights(convs[role], self.kernels, self.kernels.depth if behind else self.kernels.pair)
            self.weights[role] = made
        return self.weights[role]


def roles_of(layers: Iterable[nn.Module]) -> dict[ConvRole, FoldedConv]:
    """Return the convolutions of a block by what they are to the kernels, in the order in which they run."""
    convs = [layer for layer in layers if isinstance(layer, FoldedConv)]
    return dict(zip(ROLES[-len(convs) :], convs, strict=True))


def padded(conv: FoldedConv, sides: Sequence[int]) -> tuple[list[tuple[int, int]], list[int]]:
    """Return the rows and columns of zeros before and behind a map, and the sides of a convolution's output."""
    kernel = conv.weight.shape[-1]
    padding = [same_padding(kernel, side) if conv.pad else (conv.padding, conv.padding) for side in sides]
    outputs = [(side + sum(ends) - kernel) // conv.stride + 1 for side, ends in zip(sides, padding, strict=True)]
    return padding, outputs
