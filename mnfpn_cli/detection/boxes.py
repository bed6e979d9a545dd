"""Boxes (x1, y1, x2, y2) in pixels: decoded from a head's outputs, clipped to the image, and suppressed.

Decoding is that of torchvision's `BoxCoder` and `BoxLinearCoder`, to the last digit.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

MAX_LOG_RATIO = math.log(1000.0 / 16)
"""The largest logarithm of a box's side over its anchor's: a larger one would overflow its exponential."""

BLOCK = 256
"""Boxes that are compared with each other at a time: small enough for a processor's cache, large enough for torch."""


class CoderWeights(NamedTuple):
    """What offsets of middles and logarithms of sides were multiplied by for training."""

    middle: float
    side: float


PLAIN = CoderWeights(1.0, 1.0)
SSD = CoderWeights(10.0, 5.0)
"""Liu et al.'s code for SSD; the other detectors leave offsets as they are."""


def decode_offsets(offsets: Tensor, anchors: Tensor, weights: CoderWeights = PLAIN) -> Tensor:
    """Return boxes (…, 4) from offsets (…, 4) to anchors (…, 4): of the middle in sides, and logarithms of sides.

    Girshick et al. 2014, "Rich feature hierarchies", appendix C.
    """
    widths, heights = anchors[..., 2] - anchors[..., 0], anchors[..., 3] - anchors[..., 1]
    middle_x, middle_y = anchors[..., 0] + 0.5 * widths, anchors[..., 1] + 0.5 * heights
    x = offsets[..., 0] / weights.middle * widths + middle_x
    y = offsets[..., 1] / weights.middle * heights + middle_y
    half_width = 0.5 * (torch.exp((offsets[..., 2] / weights.side).clamp(max=MAX_LOG_RATIO)) * widths)
    half_height = 0.5 * (torch.exp((offsets[..., 3] / weights.side).clamp(max=MAX_LOG_RATIO)) * heights)
    return torch.stack((x - half_width, y - half_height, x + half_width, y + half_height), dim=-1)


def decode_distances(distances: Tensor, anchors: Tensor) -> Tensor:
    """Return boxes (…, 4) from the distances (…, 4) of their sides to the middle of square anchors, in anchors' sides.

    Tian et al. 2019, "FCOS", section 3.1.
    """
    x, y = 0.5 * (anchors[..., 0] + anchors[..., 2]), 0.5 * (anchors[..., 1] + anchors[..., 3])
    sides = anchors[..., 2:] - anchors[..., :2]
    left, top, right, bottom = (distances * torch.cat((sides, sides), dim=-1)).unbind(dim=-1)
    return torch.stack((x - left, y - top, x + right, y + bottom), dim=-1)


def clip(boxes: Tensor, height: int, width: int) -> Tensor:
    """Cut boxes (…, 4) off at the sides of an image."""
    return torch.minimum(boxes.clamp(min=0), boxes.new_tensor([width, height, width, height]))


def areas(boxes: Tensor) -> Tensor:
    """Return the area (…) of each box (…, 4)."""
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def overlaps(boxes: Tensor, others: Tensor) -> Tensor:
    """Return the overlap (n, m) of boxes (n, 4) with others (m, 4): their intersection over their union.

    It is not a number where both boxes have no area.
    """
    low = torch.maximum(boxes[:, None, :2], others[:, :2])
    high = torch.minimum(boxes[:, None, 2:], others[:, 2:])
    sides = (high - low).clamp(min=0)  # (n, m, 2)
    shared = sides[..., 0] * sides[..., 1]
    return shared / (areas(boxes)[:, None] + areas(others) - shared)


def suppress(boxes: Tensor, scores: Tensor, groups: Tensor | None, threshold: float, most: int | None = None) -> Tensor:
    """Return the indices of boxes that no better box of the same group overlaps by more than a threshold, best first.

    This is greedy non-maximum suppression: a box that is suppressed suppresses none. Of equal scores the first is the
    better. Boxes come in blocks, best first. Those that a chosen box overlaps leave the block, and the choice among the
    others is repeated until nothing changes: after n repetitions the first n are decided, but most chains of overlaps
    are short.

    Args:
        boxes: of shape (n, 4).
        scores: of shape (n,).
        groups: the class or level (n,) of each box; None for one group.
        threshold: the largest overlap of two boxes that both stay.
        most: how many boxes to choose at most, the best.
    """
    order = scores.argsort(descending=True, stable=True)
    most = len(order) if most is None else most
    chosen = order[:0]
    for block in torch.split(order, BLOCK):
        if len(chosen) >= most:
            break
        open_ = ~_suppresses(boxes, groups, chosen, block, threshold).any(dim=0)
        block = block[open_]
        better = _suppresses(boxes, groups, block, block, threshold).triu(diagonal=1)
        chosen = torch.cat((chosen, block[_undefeated(better)]))
    return chosen[:most]


def _suppresses(boxes: Tensor, groups: Tensor | None, first: Tensor, second: Tensor, threshold: float) -> Tensor:
    """Return whether (n, m) boxes of indices (n,) overlap those of indices (m,) by more than a threshold."""
    found = overlaps(boxes[first], boxes[second]) > threshold
    return found if groups is None else found & (groups[first][:, None] == groups[second])


def _undefeated(better: Tensor) -> Tensor:
    """Return which of n boxes, best first, no chosen one suppresses; ``better`` (n, n): whether one would suppress."""
    chosen = better.new_ones(len(better))
    while True:
        again = ~(better & chosen[:, None]).any(dim=0)
        if torch.equal(again, chosen):
            return chosen
        chosen = again
