"""Early smoothing: smooth the coarser level before it is resized, which gives the same map for less work.

A level is ``smooth(lateral(tap) + resize(coarse))``. All of that is linear, a batch norm in eval mode included, so it
is the sum of two parts, to which an activation is applied at the end:

- ``smooth(lateral(tap))`` is one 3×3 convolution of the tap, which has fewer channels than the pyramid.
- ``smooth(resize(coarse))`` is a sum over the nine offsets of the 3×3. For each offset the channels are mixed, and the
  pixels are resized and moved. The two are independent, so their order is free. The channels are mixed at the coarse
  size, which has a quarter of the pixels; then each fine pixel is a weighted sum of a few mixed coarse pixels, which
  are rows of a table.

The order of summation changes; nothing is approximated.
"""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor, nn

from mnfpn_cli.runtimes.fused.folded import Folded, FoldedConv, Optimizations
from mnfpn_cli.settings.network import Upsample

OFFSETS = 3
"""Offsets of the 3×3 in each direction."""

SUM_COST = 5
"""The cost of adding a row of the table, in MACs of a matrix product: measured, as memory bounds it. That is torch's
sum; the kernel's takes 1.3 to 3.7 where rows are resized bilinearly. Where the two figures decide differently, both
ways took the same time within 2 %."""


BAND_BYTES = 2**21
"""What a band of mixed rows takes, so that two of them stay in a cache: of 1 to 64 MiB the fastest at 600×900."""


@dataclass(frozen=True)
class SumTable:
    """For each position of a fine map, or along one side of it: the rows that it sums, by index, and their weights."""

    indices: Tensor
    weights: Tensor


@dataclass(frozen=True)
class Band:
    """Rows of the coarser map that are mixed, and those of the fine map that are summed then.

    Attributes:
        coarse: which of the coarser map's pixels, as a slice of them all.
        rows: where the mixed pixels go.
        fine: the rows of the fine map.
        table: what these sum.
    """

    coarse: slice
    rows: slice
    fine: slice
    table: SumTable


def is_cheaper(lateral: nn.Conv2d, smooth: nn.Conv2d) -> bool:
    """Return whether early smoothing is less work for each fine pixel and output channel.

    The coarser level has a quarter of the pixels.
    """
    taps, merged, offsets = lateral.in_channels, smooth.in_channels, OFFSETS * OFFSETS
    return offsets * merged / 4 + offsets * taps + SUM_COST * 4 * offsets < offsets * merged


class EarlySmoothing(nn.Module):
    """A smoothed level (n, channels, h, w), from its tap (n, c_k, h, w) and the coarser map (n, channels, h/2, w/2)."""

    def __init__(self, lateral: nn.Conv2d, smooth: Folded, upsample: Upsample, optimizations: Optimizations):
        super().__init__()
        across = lateral.weight.detach().double()[:, :, 0, 0]
        through = torch.einsum("omyx,mi->oiyx", smooth.weight, across)
        self.tap = FoldedConv(replace(smooth, weight=through), optimizations)
        mixing = smooth.weight.permute(2, 3, 0, 1).flatten(0, 2)  # (3 × 3 × out, channels)
        # The smoothing pads the lateral's map with zeros, which have no bias; resizing keeps constants. So the bias is
        # mixed with the coarse map: there the padding of the resized map leaves it out likewise.
        bias = None if lateral.bias is None else mixing @ lateral.bias.detach().double()
        self.mix: nn.Module = FoldedConv(Folded(mixing[:, :, None, None], bias, 1, 0, 1), optimizations)
        self.channels, self.upsample = smooth.weight.shape[0], upsample
        self.kernels = optimizations.kernels
        self.bands: tuple[Band, ...] = ()
        self.rows = self.sums = torch.empty(0)

    def forward(self, tap: Tensor, coarse: Tensor) -> Tensor:
        """Smooth both parts, and add them; the next pass may overwrite the level."""
        (n, channels, height, width), fine = coarse.shape, tap.shape[-2:]
        if not self.bands:  # made in the first pass, for all: a runtime has one size
            table = resize_table(coarse, fine, self.upsample, self.kernels.terms if self.kernels else 1)
            row_bytes = width * OFFSETS * OFFSETS * self.channels * coarse.element_size()
            several = BAND_BYTES // row_bytes if self.kernels else height  # torch's sum is slower by bands
            self.bands = bands_of(table, (height, width), fine, several)
            mixed = max(band.rows.stop for band in self.bands)
            self.rows = coarse.new_empty(mixed, OFFSETS * OFFSETS * self.channels)
            self.sums = coarse.new_empty(n, *fine, self.channels)
        pixels = coarse.permute(0, 2, 3, 1).reshape(n, height * width, channels)
        for image, sums in zip(pixels, self.sums, strict=True):
            for band in self.bands:
                self._mix(image[band.coarse], self.rows[band.rows])
                self._sum(band.table, sums[band.fine])
        y: Tensor = self.tap(tap, self.sums.permute(0, 3, 1, 2), overwrite=True)
        return y

    def _mix(self, pixels: Tensor, rows: Tensor) -> None:
        """Write rows (pixels, 3 × 3 × out) of the coarser map's pixels (pixels, channels)."""
        if isinstance(self.mix, FoldedConv):
            mixing = self.mix.weight[:, :, 0, 0].T
            if self.mix.bias is None:
                torch.mm(pixels, mixing, out=rows)
            else:
                torch.addmm(self.mix.bias, pixels, mixing, out=rows)
        else:
            self.mix(pixels.T[None, :, None], output=rows.T[None, :, None])

    def _sum(self, table: SumTable, sums: Tensor) -> None:
        """Write sums (some of h, w, out) of the rows that were mixed last."""
        rows = self.rows.view(-1, self.channels)  # (pixels × 3 × 3, out)
        if self.kernels:
            self.kernels.add_rows(table.indices, table.weights, rows, sums)
        else:
            added = F.embedding_bag(table.indices, rows, mode="sum", per_sample_weights=table.weights)
            sums.copy_(added.view_as(sums))


def bands_of(table: SumTable, coarse: tuple[int, int], fine: torch.Size, several: int) -> tuple[Band, ...]:
    """Cut a map into bands: each mixes some rows of the coarser map, and sums the fine rows that were waiting for them.

    Bands take turns in two places, so indices are modulo these. A fine row sums the rows of two bands at most.
    """
    (height, width), bands, done = coarse, list[Band](), 0
    needed = table.indices.view(fine[0], -1) // (OFFSETS * OFFSETS * width)
    first, last = needed.amin(1), needed.amax(1)  # rows of the coarser map, for each fine row
    several = max(min(several, height), int((last - first).max()), 1)
    for begin in range(0, height, several):
        end, place = min(begin + several, height), begin % (2 * several)
        ready = int((last < end).sum())
        pixels = slice(done * fine[1], ready * fine[1])
        part = SumTable(table.indices[pixels] % (2 * several * width * OFFSETS * OFFSETS), table.weights[pixels])
        rows = slice(place * width, (place + end - begin) * width)
        bands.append(Band(slice(begin * width, end * width), rows, slice(done, ready), part))
        done = ready
    return tuple(bands)


def resize_table(coarse: Tensor, fine: torch.Size, upsample: Upsample, multiple: int = 1) -> SumTable:
    """Return what each fine pixel sums of (coarse pixels × 3 × 3) rows: indices and weights (h × w, terms).

    There are up to 36 terms, filled with zeros times the last row to a multiple of some number.
    """
    down, across = (resize_side(*sides, upsample, coarse.dtype) for sides in zip(coarse.shape[-2:], fine, strict=True))
    y, dy = down.indices[:, None, :, None] // OFFSETS, down.indices[:, None, :, None] % OFFSETS
    x, dx = across.indices[None, :, None, :] // OFFSETS, across.indices[None, :, None, :] % OFFSETS
    indices = ((y * coarse.shape[-1] + x) * OFFSETS + dy) * OFFSETS + dx
    weights = down.weights[:, None, :, None] * across.weights[None, :, None, :]
    indices, weights = (terms.flatten(2).flatten(0, 1) for terms in (indices, weights))
    more = -indices.shape[1] % multiple
    filled = torch.cat([indices, indices[:, -1:].expand(-1, more)], dim=1)
    return SumTable(filled.int(), F.pad(weights, (0, more)))


def resize_side(coarse: int, fine: int, upsample: Upsample, dtype: torch.dtype) -> SumTable:
    """Return the table of one side: indices (fine, up to 6) are pixel × 3 + offset; weights are 0 beyond the edges."""
    # Resizing unit vectors gives torch's own weights, to the rounding of the dtype: a column for each coarse pixel.
    align_corners = False if upsample == "bilinear" else None
    pixels = torch.eye(coarse, dtype=dtype)[None, :, :, None]
    resized = F.interpolate(pixels, size=(fine, 1), mode=upsample, align_corners=align_corners)[0, :, :, 0].T
    weights, sources = resized.topk(min(coarse, 1 if upsample == "nearest" else 2), dim=1)  # (fine, 1 or 2)
    moved = torch.arange(fine)[:, None] + torch.arange(OFFSETS) - OFFSETS // 2  # (fine, 3)
    sources = sources.where(weights > 0, sources[:, :1])  # of those that count for nothing torch takes any
    inside, moved = (moved >= 0) & (moved < fine), moved.clamp(0, fine - 1)
    indices = sources[moved] * OFFSETS + torch.arange(OFFSETS)[:, None]  # (fine, 3, 1 or 2)
    return SumTable(indices.flatten(1), (weights[moved] * inside[:, :, None]).flatten(1))
