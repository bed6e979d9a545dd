"""Levels of a pyramid that our own kernels compute in one call each: a convolution, and a coarser map, resized."""

import ctypes
from collections.abc import Iterator
from math import prod

import torch
from torch import Tensor, nn

from mnfpn_cli.runtimes.fused.blocks import Memory, PlannedCall, padded
from mnfpn_cli.runtimes.fused.kernels import KernelConvolution, KernelLevelRequest, KernelMap, Kernels, KernelSide
from mnfpn_cli.runtimes.fused.resized import OFFSETS, ResizedSum, SumTable, resize_side
from mnfpn_cli.runtimes.fused.weights import KernelWeights, dense_weights, mixing_weights
from mnfpn_cli.runtimes.runtime import Operator


class KernelLevel(nn.Module):
    """A map (n, in, h, w) convolved, plus a coarser map (n, c, h/2, w/2), mixed or not, resized: (n, out, h, w).

    The next pass overwrites the level.
    """

    def __init__(self, level: ResizedSum, kernels: Kernels, memory: Memory):
        super().__init__()
        self.level, self.kernels, self.memory = level, kernels, memory
        self.weights: tuple[KernelWeights, KernelWeights | None] | None = None
        self.calls: dict[tuple[torch.Size, torch.Size], PlannedCall] = {}

    def forward(self, x: Tensor, coarse: Tensor) -> Tensor:
        """Compute the level of a map and the coarser one."""
        assert x.dtype == coarse.dtype == self.kernels.maps  # what follows are addresses
        x, coarse = (one.contiguous(memory_format=torch.channels_last) for one in (x, coarse))
        call = self.calls.get((x.shape, coarse.shape))
        if call is None:
            call = self.calls[x.shape, coarse.shape] = self._plan(x.shape, coarse.shape)
        assert call.output is not None
        y = call.output
        self.kernels.run_level(call.request, x.data_ptr(), coarse.data_ptr(), y.data_ptr(), call.scratch, call.threads)
        return y

    def operators(self, shape: torch.Size, coarse: torch.Size) -> Iterator[Operator]:
        """Yield what the kernels compute for a map and a coarser one of these shapes."""
        level, products = self.level, self.kernels.products
        yield Operator(level.path, products, shape[0] * prod(shape[-2:]) * level.weight.numel())
        if level.mix is not None:
            yield Operator(level.mix.path, products, coarse[0] * prod(coarse[-2:]) * level.mix.weight.numel())

    def _plan(self, shape: torch.Size, coarse: torch.Size) -> PlannedCall:
        level, (images, channels, *sides) = self.level, shape
        self.weights = self.weights or self._made_weights()
        weights, mixing = self.weights
        offsets = OFFSETS if level.mix else 1
        down, across = (
            resize_side(*one, level.upsample, torch.float32, offsets) for one in zip(coarse[-2:], sides, strict=True)
        )
        ((top, _), (left, _)), _ = padded(level, sides)
        request = KernelLevelRequest(
            input=KernelMap(*sides, channels),
            coarse=KernelMap(*coarse[-2:], coarse[1]),
            output=KernelMap(*sides, len(level.weight)),
            conv=weights.as_convolution(level.weight.shape[-1], 1, top, left),
            mix=mixing.as_convolution(1, 1, 0, 0) if mixing else KernelConvolution(),
            down=_side(down),
            across=_side(across),
            images=images,
        )
        threads, address = torch.get_num_threads(), ctypes.addressof(request)
        scratch = self.memory.take("scratch", self.kernels.level_scratch_floats(address, threads), torch.float32)
        made = (images, *sides, len(level.weight))
        output = torch.empty(made, dtype=self.kernels.maps).permute(0, 3, 1, 2)
        return PlannedCall(address, scratch.data_ptr(), output, made, threads, (request, scratch, down, across))

    def _made_weights(self) -> tuple[KernelWeights, KernelWeights | None]:
        mix = self.level.mix
        mixing = mixing_weights(mix, self.kernels, OFFSETS * OFFSETS) if mix is not None else None
        return dense_weights(self.level, self.kernels, self.kernels.pair), mixing


def _side(table: SumTable) -> KernelSide:
    """Return a table as kernels read it, which must be kept."""
    return KernelSide(table.indices.data_ptr(), table.weights.data_ptr(), table.indices.shape[1])
