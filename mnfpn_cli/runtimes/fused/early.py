"""Smoothing the coarser level before it is resized, which gives the same map for less work.

A level is ``smooth(lateral(tap) + resize(coarse))``. All of that is linear, so it is the sum of two parts:

- ``smooth(lateral(tap))`` is one 3×3 convolution of the tap, which has fewer channels than the pyramid.
- ``smooth(resize(coarse))`` is a sum over the nine offsets of the 3×3. At each of them the channels are mixed, and
  pixels are resized and moved: neither asks about the other, so their order is free. The channels are mixed at the
  coarse size, where there are a quarter of the pixels; what is left is a weighted sum of a few coarse pixels for each
  fine one, as of rows of a table.

The sums come out in another order; nothing is approximated.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor, nn

from mnfpn_cli.runtimes.fused.folded import Folded, FoldedConv, Savings
from mnfpn_cli.settings.network import Upsample

OFFSETS = 3
"""Of the 3×3, on each side."""

SUM_COST = 5
"""What adding a row of the table takes, in MACs of a matrix product: measured, as memory decides about it."""


@dataclass(frozen=True)
class Weights:
    """For each place of a fine map, or of one side of it, the coarse places that it sums, and their weights."""

    places: Tensor
    weights: Tensor


def pays(lateral: nn.Conv2d, smooth: nn.Conv2d) -> bool:
    """Whether it is less work, for a pixel and an output channel; the coarser level has a quarter of the pixels."""
    taps, merged, offsets = lateral.in_channels, smooth.in_channels, OFFSETS * OFFSETS
    return offsets * merged / 4 + offsets * taps + SUM_COST * 4 * offsets < offsets * merged


class EarlySmoothing(nn.Module):
    """A level from its tap and the coarser level: (n, c_k, h, w), (n, channels, h/2, w/2) to (n, channels, h, w)."""

    def __init__(self, lateral: nn.Conv2d, smooth: nn.Conv2d, upsample: Upsample, savings: Savings):
        super().__init__()
        weight, across = smooth.weight.detach().double(), lateral.weight.detach().double()[:, :, 0, 0]
        bias = None if smooth.bias is None else smooth.bias.detach().double()
        through = torch.einsum("omyx,mi->oiyx", weight, across)
        self.tap = FoldedConv(Folded(through, bias, stride=1, groups=1), savings)
        # The smoothing sees zeros around the lateral's map, with no bias there; resizing keeps constants. So the bias
        # joins the coarse map, where the zeros around what is resized leave it out likewise.
        self.bias: Tensor | None
        self.register_buffer("bias", None if lateral.bias is None else lateral.bias.detach().double())
        self.mixing = nn.Buffer(weight.permute(1, 2, 3, 0).flatten(1))  # (channels, 3 × 3 × out)
        self.channels, self.upsample = smooth.out_channels, upsample
        self.table: Weights | None = None
        self.rows = torch.empty(0)

    def forward(self, tap: Tensor, coarse: Tensor) -> Tensor:
        """Smooth both and add them."""
        (n, channels, height, width), fine = coarse.shape, tap.shape[-2:]
        if self.table is None:  # for the first pass, and for all of them: a runtime has one size
            self.table = resizing(coarse, fine, self.upsample)
            self.rows = coarse.new_empty(height * width, self.mixing.shape[1])
        pixels = coarse.permute(0, 2, 3, 1).reshape(n, height * width, channels)
        biased = pixels if self.bias is None else pixels + self.bias
        sums = [self._resize(image, self.table) for image in biased]  # n of (h × w, out)
        added = sums[0][None] if n == 1 else torch.stack(sums)
        y: Tensor = self.tap(tap, added.view(n, *fine, self.channels).permute(0, 3, 1, 2), overwrite=True)
        return y

    def _resize(self, pixels: Tensor, table: Weights) -> Tensor:
        torch.mm(pixels, self.mixing, out=self.rows)  # memory that is kept: new pages take a third of the time again
        rows = self.rows.view(-1, self.channels)  # (h/2 × w/2 × 3 × 3, out)
        return F.embedding_bag(table.places, rows, mode="sum", per_sample_weights=table.weights)


def resizing(coarse: Tensor, fine: torch.Size, upsample: Upsample) -> Weights:
    """What each pixel of the fine map sums, of (coarse pixels × 3 × 3) rows: places and weights (h × w, up to 36)."""
    down, across = (side(*sides, upsample, coarse.dtype) for sides in zip(coarse.shape[-2:], fine, strict=True))
    y, dy = down.places[:, None, :, None] // OFFSETS, down.places[:, None, :, None] % OFFSETS
    x, dx = across.places[None, :, None, :] // OFFSETS, across.places[None, :, None, :] % OFFSETS
    places = ((y * coarse.shape[-1] + x) * OFFSETS + dy) * OFFSETS + dx
    weights = down.weights[:, None, :, None] * across.weights[None, :, None, :]
    return Weights(places.flatten(2).flatten(0, 1).int(), weights.flatten(2).flatten(0, 1))


def side(coarse: int, fine: int, upsample: Upsample, dtype: torch.dtype) -> Weights:
    """The same for one side: places (fine, up to 6) are pixel × 3 + offset; beyond the edges, weights are zero."""
    # torch itself says how it resizes, to the rounding of the dtype: each column is what becomes of one coarse pixel.
    align_corners = False if upsample == "bilinear" else None
    pixels = torch.eye(coarse, dtype=dtype)[None, :, :, None]
    resized = F.interpolate(pixels, size=(fine, 1), mode=upsample, align_corners=align_corners)[0, :, :, 0].T
    weights, sources = resized.topk(min(coarse, 1 if upsample == "nearest" else 2), dim=1)  # (fine, 1 or 2)
    moved = torch.arange(fine)[:, None] + torch.arange(OFFSETS) - OFFSETS // 2  # (fine, 3)
    inside, moved = (moved >= 0) & (moved < fine), moved.clamp(0, fine - 1)
    places = sources[moved] * OFFSETS + torch.arange(OFFSETS)[:, None]  # (fine, 3, 1 or 2)
    return Weights(places.flatten(1), (weights[moved] * inside[:, :, None]).flatten(1))
