"""torchvision's own detectors on our networks: images in, boxes out, and losses in training.

`RetinaNet`, `FCOS` and `SSD` of torchvision resize and batch images, match anchors with targets and compute losses.
Backbone, pyramid and head are ours. torchvision must be importable where a detector is built.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from mnfpn_cli.errors import Problem, UsageError
from mnfpn_cli.network import heads
from mnfpn_cli.network.network import DetectorBackbone, Network
from mnfpn_cli.plan.anchors import anchor_grid, box_ratios, box_scales
from mnfpn_cli.plan.levels import level_stride
from mnfpn_cli.settings.detection import FCOSHead, RetinaNetHead, SSDHead
from mnfpn_cli.settings.input import Size
from mnfpn_cli.settings.network import NetworkSettings

Loss = Callable[..., dict[str, Tensor]]
"""torchvision's loss of a head, from targets, outputs, anchors, and the target that each anchor matches."""


class DetectorHead(nn.Module):
    """The layers of a dense head, as torchvision's detectors take a head: a list of levels in, outputs by name out.

    Attributes:
        compute_loss: the loss that RetinaNet and FCOS ask their head for; None with SSD, which has its own.
    """

    def __init__(self, head: heads.DenseHead, compute_loss: Loss | None):
        super().__init__()
        self.compute_loss, self.outputs, self.branches = compute_loss, head.outputs, head.branches
        for name in head.branches:  # by the same names, so that the keys of a state dict stay
            self.add_module(name, head.get_submodule(name))

    def forward(self, maps: Sequence[Tensor]) -> dict[str, Tensor]:
        """Map levels (n, c, h/2^k, w/2^k), finest first, to outputs (n, all anchors, values) by name."""
        outputs = [output for name in self.branches for output in self.get_submodule(name)(maps)]
        return dict(zip(self.outputs, outputs, strict=True))


def trainable_head(settings: NetworkSettings) -> RetinaNetHead | FCOSHead | SSDHead:
    """Return the settings of the head, if torchvision has a detector with such a head.

    Raises:
        UsageError: where it has none.
    """
    head = settings.head
    if isinstance(head, RetinaNetHead | FCOSHead | SSDHead):
        return head
    rule = "must be retinanet, fcos, ssd or ssdlite, the heads of torchvision's RetinaNet, FCOS and SSD"
    hint = "; for Faster R-CNN, detector_backbone() takes a network without a head" if head.kind == "rpn" else ""
    raise UsageError(Problem("head.kind", rule, f"'{head.kind}'", hint))


def torchvision_detector(network: Network, settings: NetworkSettings, size: Size) -> nn.Module:
    """Build torchvision's detector of the layers of a network, in eval mode.

    Its state dict has the keys of the network's, those of backbone and pyramid below ``backbone.network``.

    Args:
        network: built from the settings; its layers become the detector's, and its head leaves it.
        settings: of the network.
        size: what images are resized to. SSD stretches them; the others keep their shape, and fit them into the size,
            upright or on their side.

    Raises:
        UsageError: where torchvision has no detector with such a head.
    """
    from torchvision.models.detection.fcos import FCOS
    from torchvision.models.detection.retinanet import RetinaNet
    from torchvision.models.detection.ssd import SSD

    head = trainable_head(settings)
    dense, pyramid = network.head, network.plan.pyramid
    assert isinstance(dense, heads.DenseHead)
    assert pyramid
    network.head, network.plan, network.outputs = None, replace(network.plan, head=None), pyramid.names
    with torch.random.fork_rng(devices=[]):  # torchvision initialises layers of which only the loss is used
        parts: dict[str, Any] = {
            "backbone": DetectorBackbone(network),
            "head": DetectorHead(dense, _loss(head)),
            "anchor_generator": _anchor_generator(head, [level_stride(name) for name in pyramid.names]),
            "num_classes": head.classes,
            **_preparation(settings, size),
        }
        builder: Any = SSD if isinstance(head, SSDHead) else FCOS if isinstance(head, FCOSHead) else RetinaNet
        model: nn.Module = builder(**parts)
    return model.eval()


def _preparation(settings: NetworkSettings, size: Size) -> dict[str, Any]:
    """Return how images are prepared and boxes are chosen, by torchvision's names."""
    images, limits = settings.preprocess, settings.postprocess
    assert images
    assert limits
    chosen: dict[str, Any] = {
        "image_mean": list(images.mean),
        "image_std": list(images.std),
        "score_thresh": limits.score_threshold,
        "nms_thresh": limits.nms_threshold,
        "detections_per_img": limits.detections,
        "topk_candidates": limits.topk,
    }
    if isinstance(settings.head, SSDHead):
        return {**chosen, "size": (size.width, size.height)}
    return {**chosen, "min_size": min(size), "max_size": max(size), "size_divisible": 1}


def _anchor_generator(head: RetinaNetHead | FCOSHead | SSDHead, strides: Sequence[int]) -> nn.Module:
    from torchvision.models.detection.anchor_utils import AnchorGenerator, DefaultBoxGenerator

    made: Any
    if isinstance(head, SSDHead):
        anchors, levels = head.anchors, len(strides)
        made = DefaultBoxGenerator(
            [list(ratios) for ratios in box_ratios(anchors, levels)],
            scales=list(box_scales(anchors, levels)),
            steps=anchors.steps and list(anchors.steps),
            clip=anchors.clip,
        )
    else:
        sides, ratios = anchor_grid(head, strides)
        made = AnchorGenerator(sides, (ratios,) * len(strides))
    generator: nn.Module = made
    return generator


def _loss(head: RetinaNetHead | FCOSHead | SSDHead) -> Loss | None:
    """Return the loss of torchvision's head; it takes outputs, so the layers of that head are not used."""
    from torchvision.models.detection import fcos, retinanet

    if isinstance(head, SSDHead):
        return None
    theirs = fcos.FCOSHead(1, 1, 1, num_convs=0) if isinstance(head, FCOSHead) else retinanet.RetinaNetHead(1, 1, 1)
    loss: Loss = theirs.compute_loss
    return loss
