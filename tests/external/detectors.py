"""Detectors on a backbone of ours, small enough for tests; imported by path, as users do."""

from torch import nn
from torchvision.models.detection import FasterRCNN, RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.ops import MultiScaleRoIAlign

from mnfpn_cli.api import build_network, detector_backbone, settings

OVERRIDES = {"head.kind": "none", "width_mult": 0.1, "pyramid.channels": 8, "pyramid.scaled": False}
SIZES = {"min_size": 64, "max_size": 64}


def backbone() -> nn.Module:
    """Five levels of a small network."""
    return detector_backbone(build_network(settings("mobilenetv2-fpnlite", overrides=OVERRIDES)))


def anchors() -> AnchorGenerator:
    """One size for each level, in three shapes."""
    return AnchorGenerator(tuple((8 << k,) for k in range(2, 7)), ((0.5, 1.0, 2.0),) * 5)


def retinanet() -> nn.Module:
    """As the README has it."""
    detector: nn.Module = RetinaNet(backbone(), num_classes=3, anchor_generator=anchors(), **SIZES)
    return detector


def faster_rcnn() -> nn.Module:
    """One that proposes regions, and pools them."""
    pool = MultiScaleRoIAlign(["p3", "p4", "p5"], output_size=3, sampling_ratio=2)
    made: nn.Module = FasterRCNN(backbone(), 3, rpn_anchor_generator=anchors(), box_roi_pool=pool, **SIZES)
    return made
