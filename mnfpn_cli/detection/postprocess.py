"""From a head's outputs to boxes: a score for each anchor, the best of each level or class, decoded and suppressed.

The steps are those of torchvision's `RetinaNet`, `FCOS`, `SSD` and `RegionProposalNetwork`, in their order.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mnfpn_cli.detection.anchors import network_anchors
from mnfpn_cli.detection.boxes import SSD, clip, decode_distances, decode_offsets, suppress
from mnfpn_cli.errors import Problem, UsageError
from mnfpn_cli.settings.detection import FCOSHead, RPNHead, SSDHead
from mnfpn_cli.settings.input import Size
from mnfpn_cli.settings.network import NetworkSettings

LEAST_SIDE = 1e-3
"""Proposals with a shorter side, in pixels, are left out."""

Detections = dict[str, Tensor]
"""The boxes of an image as torchvision returns them: ``boxes`` (n, 4), ``scores`` (n,), ``labels`` (n,), best first."""


class Unsuppressed(NamedTuple):
    """Boxes of an image before suppression.

    Attributes:
        boxes: of shape (n, 4).
        scores: of shape (n,).
        groups: what suppresses each other: the class (n,), or the level of a proposal.
    """

    boxes: Tensor
    scores: Tensor
    groups: Tensor


class Best(NamedTuple):
    """The best values of all levels: their index among all values, the values, and their levels, (n,) each."""

    indices: Tensor
    values: Tensor
    level: Tensor


class Postprocess(nn.Module):
    """Turns the outputs of a detector for images of one size into boxes.

    Attributes:
        anchors: of all levels (all, 4), finest first; a buffer that is not in the state dict.
        counts: the anchors of each level.

    Args:
        settings: of the network.
        size: of the images that the network takes.
        dtype: the element type of the anchors.

    Raises:
        UsageError: where the settings have no detection head, or its anchors do not match the levels.
    """

    anchors: Tensor

    def __init__(self, settings: NetworkSettings, size: Size, dtype: torch.dtype = torch.float32):
        super().__init__()
        if settings.detection is None or settings.postprocess is None:
            rule = "must be one that detects: retinanet, fcos, ssd, ssdlite or rpn"
            raise UsageError(Problem("head.kind", rule, f"'{settings.head.kind}'"))
        self.head, self.limits, self.size = settings.detection, settings.postprocess, size
        levels = network_anchors(settings, self.head, size, dtype)
        self.counts = [len(level) for level in levels]
        self.register_buffer("anchors", torch.cat(levels), persistent=False)

    def forward(
        self, outputs: Sequence[Tensor], image_sizes: Sequence[tuple[int, int]] | None = None
    ) -> list[Detections]:
        """Return the boxes of each image from outputs (n, all anchors, values), in the order of the network's.

        Args:
            outputs: of the network; those of half precision are worked out in float32.
            image_sizes: height and width of each image, where it fills only a part of the input: boxes end there.

        Raises:
            UsageError: where the outputs are of another size of images.
        """
        if outputs[0].shape[1] != len(self.anchors):
            rule = f"must be of {len(self.anchors)} anchors, those of images of {self.size}"
            raise UsageError(Problem("outputs", rule, str(outputs[0].shape[1])))
        outputs = [x.float() if x.dtype in (torch.float16, torch.bfloat16) else x for x in outputs]
        sizes = [self.size] * len(outputs[0]) if image_sizes is None else image_sizes
        if len(sizes) != len(outputs[0]):
            raise UsageError(
                Problem("image_sizes", f"must be one for each of {len(outputs[0])} images", str(len(sizes)))
            )
        return [
            self._image([output[index] for output in outputs], height, width)
            for index, (height, width) in enumerate(sizes)
        ]

    def _image(self, outputs: Sequence[Tensor], height: int, width: int) -> Detections:
        """Return the boxes of one image from outputs (all anchors, values)."""
        if isinstance(self.head, SSDHead):
            found = self._of_classes(*outputs)
        elif isinstance(self.head, RPNHead):
            found = self._proposals(*outputs)
        else:
            found = self._of_levels(*outputs)
        found = found._replace(boxes=clip(found.boxes, height, width))
        if isinstance(self.head, RPNHead):
            sides = found.boxes[:, 2:] - found.boxes[:, :2]
            found = _those(found, (sides >= LEAST_SIDE).all(dim=1) & (found.scores >= self.limits.score_threshold))
        chosen = suppress(*found, self.limits.nms_threshold, self.limits.detections)
        boxes, scores, groups = _those(found, chosen)
        labels = torch.ones_like(groups) if isinstance(self.head, RPNHead) else groups
        return {"boxes": boxes, "scores": scores, "labels": labels}

    def _of_levels(self, logits: Tensor, regression: Tensor, centreness: Tensor | None = None) -> Unsuppressed:
        """Return the best classes and anchors of each level.

        Args:
            logits: of classes (all anchors, classes).
            regression: offsets or distances (all anchors, 4).
            centreness: logits (all anchors, 1), with FCOS.
        """
        classes = logits.shape[1]
        scores = logits.sigmoid()
        if centreness is not None:
            scores = torch.sqrt(scores * centreness.sigmoid())
        best = self._best_of_levels(scores, self.limits.score_threshold)
        anchor = best.indices // classes
        decode = decode_distances if isinstance(self.head, FCOSHead) else decode_offsets
        return Unsuppressed(decode(regression[anchor], self.anchors[anchor]), best.values, best.indices % classes)

    def _of_classes(self, logits: Tensor, offsets: Tensor) -> Unsuppressed:
        """Return the best anchors of each class but the background, from logits (all, classes) and offsets (all, 4)."""
        scores = logits.softmax(dim=1)[:, 1:].T  # (classes - 1, all)
        best, anchor = scores.topk(min(self.limits.topk, scores.shape[1]), dim=1)  # (classes - 1, topk) both
        label, rank = torch.where(best > self.limits.score_threshold)
        anchor = anchor[label, rank]
        return Unsuppressed(decode_offsets(offsets[anchor], self.anchors[anchor], SSD), best[label, rank], label + 1)

    def _proposals(self, logits: Tensor, offsets: Tensor) -> Unsuppressed:
        """Return the best anchors of each level, from logits (all, 1) and offsets (all, 4)."""
        best = self._best_of_levels(logits, -math.inf)
        boxes = decode_offsets(offsets[best.indices], self.anchors[best.indices])
        return Unsuppressed(boxes, best.values.sigmoid(), best.level)

    def _best_of_levels(self, values: Tensor, threshold: float) -> Best:
        """Return the best values (all anchors, k) of each level, those above a threshold alone."""
        found, first = list[Best](), 0
        for number, level in enumerate(torch.split(values, self.counts)):
            level = level.flatten()
            above = torch.where(level > threshold)[0]
            best, order = level[above].topk(min(self.limits.topk, len(above)))
            found.append(Best(above[order] + first, best, torch.full_like(order, number)))
            first += len(level)
        return Best(*map(torch.cat, zip(*found, strict=True)))


def _those(found: Unsuppressed, chosen: Tensor) -> Unsuppressed:
    """Return some of the boxes, by a mask or by indices."""
    return Unsuppressed(*(values[chosen] for values in found))
