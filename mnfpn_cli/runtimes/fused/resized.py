"""Convolutions that add a coarser map, resized: laterals, and whole levels that are smoothed early.

A level is ``smooth(lateral(tap) + resize(coarse))``. All of that is linear, a batch norm in eval mode included, so it
is the sum of two parts, to which an activation is applied at the end:

- ``smooth(lateral(tap))`` is one 3×3 convolution of the tap, which has fewer channels than the pyramid.
- ``smooth(resize(coarse))`` is a sum over the nine offsets of the 3×3. For each offset the channels are mixed, and the
  pixels are resized and moved. The two are independent, so their order is free. The channels are mixed at the coarse
  size, which has a quarter of the pixels; then each fine pixel is a weighted sum of a few mixed coarse pixels.

The order of summation changes; nothing is approximated.
"""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor, nn

from mnfpn_cli.network.pyramid import resize
from mnfpn_cli.runtimes.fused.folded import Folded, FoldedConv, Optimizations
from mnfpn_cli.settings.network import Upsample

OFFSETS = 3
"""Offsets of the 3×3 in each direction."""

SUM_COST = 5
"""The cost of adding a mixed pixel, in MACs of a matrix product: measured for torch's sum, as memory bounds it. Our own
kernels need less."""


@dataclass(frozen=True)
class SumTable:
    """For each position of a fine map, or along one side of it: the rows that it sums, by index, and their weights."""

    indices: Tensor
    weights: Tensor


def is_cheaper(lateral: nn.Conv2d, smooth: nn.Conv2d) -> bool:
    """Return whether early smoothing is less work for each fine pixel and output channel.

    The coarser level has a quarter of the pixels.
    """
    taps, merged, offsets = lateral.in_channels, smooth.in_channels, OFFSETS * OFFSETS
    return offsets * merged / 4 + offsets * taps + SUM_COST * 4 * offsets < offsets * merged


class ResizedSum(FoldedConv):
    """A convolution of a map (n, in, h, w) that adds a coarser one (n, c, h/2, w/2), resized: (n, out, h, w).

    With ``mix``, a 1×1 convolution to (3 × 3 × out) channels, the coarser map is smoothed by a 3×3 behind the resizing.
    """

    def __init__(self, folded: Folded, upsample: Upsample, optimizations: Optimizations, mix: Folded | None = None):
        super().__init__(folded, optimizations)
        self.mix, self.upsample = FoldedConv(mix, optimizations) if mix else None, upsample
        self.table: SumTable | None = None
        self.rows = self.sums = torch.empty(0)

    def forward(self, x: Tensor, coarse: Tensor) -> Tensor:  # type: ignore[override]
        """Convolve, add the coarser map and activate; where that is mixed, the next pass may overwrite the level."""
        fine = x.shape[-2:]
        if self.mix is not None:
            return super().forward(x, self._smoothed(self.mix, coarse, fine), overwrite=True)
        return super().forward(x, resize(coarse, fine, self.upsample), overwrite=True)

    def _smoothed(self, mix: FoldedConv, coarse: Tensor, fine: torch.Size) -> Tensor:
        (n, channels, height, width), out = coarse.shape, len(self.weight)
        if self.table is None:  # made in the first pass, for all: a runtime has one size
            self.table = resize_table(coarse, fine, self.upsample)
            self.rows = coarse.new_empty(height * width, len(mix.weight))
            self.sums = coarse.new_empty(n, *fine, out)
        pixels, mixing = coarse.permute(0, 2, 3, 1).reshape(n, height * width, channels), mix.weight[:, :, 0, 0].T
        for image, sums in zip(pixels, self.sums, strict=True):
            if mix.bias is None:
                torch.mm(image, mixing, out=self.rows)
            else:
                torch.addmm(mix.bias, image, mixing, out=self.rows)
            rows = self.rows.view(-1, out)  # (pixels × 3 × 3, out)
            added = F.embedding_bag(self.table.indices, rows, mode="sum", per_sample_weights=self.table.weights)
            sums.copy_(added.view_as(sums))
        return self.sums.permute(0, 3, 1, 2)


def smoothed_early(lateral: nn.Conv2d, smooth: Folded, upsample: Upsample, optimizations: Optimizations) -> ResizedSum:
    """Return a smoothed level of its tap and the coarser level's merged map."""
    across = lateral.weight.detach().double()[:, :, 0, 0]
    through = torch.einsum("omyx,mi->oiyx", smooth.weight, across)
    mixing = smooth.weight.permute(2, 3, 0, 1).flatten(0, 2)  # (3 × 3 × out, channels)
    # The smoothing pads the lateral's map with zeros, which have no bias; resizing keeps constants. So the bias is
    # mixed with the coarse map: there the padding of the resized map leaves it out likewise.
    bias = None if lateral.bias is None else mixing @ lateral.bias.detach().double()
    mix = Folded(mixing[:, :, None, None], bias, 1, 0, 1)
    return ResizedSum(replace(smooth, weight=through), upsample, optimizations, mix)


def resize_table(coarse: Tensor, fine: torch.Size, upsample: Upsample) -> SumTable:
    """Return what each fine pixel sums of (coarse pixels × 3 × 3) rows: indices and weights (h × w, up to 36 terms)."""
    height, width = coarse.shape[-2:]
    down, across = (resize_side(*sides, upsample, coarse.dtype) for sides in zip((height, width), fine, strict=True))
    y, dy = down.indices[:, None, :, None] % height, down.indices[:, None, :, None] // height
    x, dx = across.indices[None, :, None, :] % width, across.indices[None, :, None, :] // width
    indices = ((y * width + x) * OFFSETS + dy) * OFFSETS + dx
    weights = down.weights[:, None, :, None] * across.weights[None, :, None, :]
    return SumTable(*(terms.flatten(2).flatten(0, 1) for terms in (indices, weights)))


def resize_side(coarse: int, fine: int, upsample: Upsample, dtype: torch.dtype, offsets: int = OFFSETS) -> SumTable:
    """Return the table of one side, for each of some offsets around a fine pixel.

    Indices (fine, up to 2 × offsets) are offset × coarse + pixel; weights are 0 beyond the edges.
    """
    # Resizing unit vectors gives torch's own weights, to the rounding of the dtype: a column for each coarse pixel.
    pixels = torch.eye(coarse, dtype=dtype)[None, :, :, None]
    resized = resize(pixels, (fine, 1), upsample)[0, :, :, 0].T
    weights, sources = resized.topk(min(coarse, 1 if upsample == "nearest" else 2), dim=1)  # (fine, 1 or 2)
    moved = torch.arange(fine)[:, None] + torch.arange(offsets) - offsets // 2  # (fine, offsets)
    sources = sources.where(weights > 0, sources[:, :1])  # of those that count for nothing torch takes any
    inside, moved = (moved >= 0) & (moved < fine), moved.clamp(0, fine - 1)
    indices = sources[moved] + coarse * torch.arange(offsets)[:, None]  # (fine, offsets, 1 or 2)
    return SumTable(indices.flatten(1).int(), (weights[moved] * inside[:, :, None]).flatten(1))
