"""Outputs become the boxes that torchvision's detectors give for the same outputs."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mnfpn_cli.detection.postprocess import Detections, Postprocess
from mnfpn_cli.errors import UsageError
from mnfpn_cli.plan.rules import resolve
from mnfpn_cli.settings.input import Size
from mnfpn_cli.settings.network import NetworkSettings
from mnfpn_cli.settings.sources import Source

pytest.importorskip("torchvision")

from torchvision.models.detection import FCOS, RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.rpn import RegionProposalNetwork
from torchvision.models.detection.ssd import SSD

SIZE = Size(160, 224)
BATCH = 2
IMAGES = [(160, 224), (150, 201)]
"""The second image fills only a part of the input."""


def detector(kind: str, **postprocess: float) -> NetworkSettings:
    """A small detector on p3 to p7."""
    pyramid = {"channels": 8, "levels": "p3-p7", "extra": "conv"}
    head = {"kind": kind, "depth": 0, **({} if kind == "rpn" else {"classes": 5})}
    values = {"width_mult": 0.1, "pyramid": pyramid, "head": head, "postprocess": postprocess}
    return resolve([Source("test", values)])


def outputs_for(post: Postprocess, spread: float = 2.0, seed: int = 0) -> dict[str, Tensor]:
    """Random outputs in float64 by their names, with distances that are never negative."""
    generator, number = torch.Generator().manual_seed(seed), len(post.anchors)
    kind, classes = post.head.kind, getattr(post.head, "classes", 1)

    def normal(values: int) -> Tensor:
        return torch.randn(BATCH, number, values, generator=generator, dtype=torch.float64) * spread

    names = {"objectness" if kind == "rpn" else "cls_logits": normal(classes), "bbox_regression": normal(4) / 4}
    if kind == "fcos":
        names = {**names, "bbox_regression": names["bbox_regression"].abs() * 8, "bbox_ctrness": normal(1)}
    return names


class Backbone(nn.Module):
    """What torchvision's constructors ask of a backbone."""

    out_channels = 32


def limits(post: Postprocess) -> dict[str, Any]:
    """The limits of suppression by torchvision's names."""
    values = post.limits
    return {
        "score_thresh": values.score_threshold,
        "nms_thresh": values.nms_threshold,
        "detections_per_img": values.detections,
        "topk_candidates": values.topk,
    }


def by_level(post: Postprocess, outputs: dict[str, Tensor]) -> tuple[dict[str, list[Tensor]], list[list[Tensor]]]:
    """Outputs and anchors level by level, as torchvision's RetinaNet and FCOS take them."""
    levels = {name: list(torch.split(x, post.counts, dim=1)) for name, x in outputs.items()}
    return levels, [list(torch.split(post.anchors, post.counts))] * BATCH


def retinanet(post: Postprocess, outputs: dict[str, Tensor]) -> Any:
    """The boxes of torchvision's RetinaNet."""
    return RetinaNet(Backbone(), 5, **limits(post)).postprocess_detections(*by_level(post, outputs), IMAGES)


def fcos(post: Postprocess, outputs: dict[str, Tensor]) -> Any:
    """The boxes of torchvision's FCOS."""
    return FCOS(Backbone(), 5, **limits(post)).postprocess_detections(*by_level(post, outputs), IMAGES)


def ssd(post: Postprocess, outputs: dict[str, Tensor]) -> Any:
    """The boxes of torchvision's SSD."""
    model = SSD(Backbone(), None, (224, 160), 5, head=nn.Identity(), **limits(post))
    return model.postprocess_detections(outputs, [post.anchors] * BATCH, IMAGES)


def rpn(post: Postprocess, outputs: dict[str, Tensor]) -> Any:
    """The proposals of torchvision's region proposal network."""
    values, either = post.limits, ("training", "testing")
    model = RegionProposalNetwork(
        *(AnchorGenerator(), nn.Identity(), 0.7, 0.3, 256, 0.5),
        *(dict.fromkeys(either, values.topk), dict.fromkeys(either, values.detections)),
        *(values.nms_threshold, values.score_threshold),
    )
    boxes = model.box_coder.decode(outputs["bbox_regression"].reshape(-1, 4), [post.anchors] * BATCH)
    found = model.filter_proposals(boxes.view(BATCH, -1, 4), outputs["objectness"], IMAGES, post.counts)
    return [
        {"boxes": boxes, "scores": scores, "labels": torch.ones(len(scores), dtype=torch.int64)}
        for boxes, scores in zip(*found, strict=True)
    ]


THEIRS: dict[str, Callable[[Postprocess, dict[str, Tensor]], Any]] = {
    "retinanet": retinanet,
    "fcos": fcos,
    "ssd": ssd,
    "ssdlite": ssd,
    "rpn": rpn,
}


def rows(found: Detections) -> Tensor:
    """Score, label and box of each detection, in an order that does not depend on equal scores."""
    table = torch.cat([found["scores"][:, None], found["labels"][:, None], found["boxes"]], dim=1)
    return torch.stack(sorted(table, key=lambda row: [-value for value in row.tolist()])) if len(table) else table


@pytest.mark.parametrize(
    "limits",
    [{}, {"score_threshold": 0.6, "topk": 20, "nms_threshold": 0.2, "detections": 15}, {"topk": 7}],
    ids=["usual", "few", "seven"],
)
@pytest.mark.parametrize("kind", THEIRS)
def test_boxes_are_torchvisions(kind: str, limits: dict[str, float]) -> None:
    """The same boxes, labels and scores to 1e-12 for the same outputs, each image clipped at its own sides."""
    post = Postprocess(detector(kind, **limits), SIZE, torch.float64)
    outputs = outputs_for(post)
    ours, theirs = post(list(outputs.values()), IMAGES), THEIRS[kind](post, outputs)
    for mine, other in zip(ours, theirs, strict=True):
        assert len(mine["scores"]) == len(other["scores"]) > 0
        assert mine["labels"].dtype == torch.int64
        torch.testing.assert_close(rows(mine), rows(other), rtol=0, atol=1e-12)
        assert torch.equal(mine["scores"], mine["scores"].sort(descending=True).values)


@pytest.mark.parametrize("kind", THEIRS)
def test_an_image_without_a_good_box_has_none(kind: str) -> None:
    """The tensors are empty, with their shapes and types."""
    post = Postprocess(detector(kind, score_threshold=1.0), SIZE)
    (found, _) = post([x.float() for x in outputs_for(post).values()])
    assert (found["boxes"].shape, found["scores"].shape, found["labels"].shape) == ((0, 4), (0,), (0,))
    assert found["labels"].dtype == torch.int64


def test_half_precision_is_worked_out_in_float32() -> None:
    """Corners in whole bfloat16 numbers would be up to two pixels off."""
    post = Postprocess(detector("retinanet"), SIZE)
    half = [x.bfloat16() for x in outputs_for(post).values()]
    found, same = post(half), post([x.float() for x in half])
    assert found[0]["boxes"].dtype == torch.float32
    assert torch.equal(found[0]["boxes"], same[0]["boxes"])


def test_outputs_of_another_size_are_refused() -> None:
    """The message has both numbers of anchors, and the size that they are for."""
    post = Postprocess(detector("retinanet"), SIZE)
    with pytest.raises(UsageError, match=r"outputs: must be of 6759 anchors, those of images of 160x224, got 6758"):
        post([x[:, 1:] for x in outputs_for(post).values()])


def test_there_is_a_size_for_each_image() -> None:
    """Fewer would leave out images in silence."""
    post = Postprocess(detector("retinanet"), SIZE)
    outputs = list(outputs_for(post).values())
    with pytest.raises(UsageError, match=rf"image_sizes: must be one for each of {len(outputs[0])} images, got 0"):
        post(outputs, [])


def test_a_network_that_detects_nothing_has_no_boxes() -> None:
    """The message names the key, and the kinds that detect."""
    rule = r"head\.kind: must be one that detects: retinanet, fcos, ssd, ssdlite or rpn, got 'none'"
    with pytest.raises(UsageError, match=rule):
        Postprocess(NetworkSettings(), SIZE)


def test_anchors_move_with_the_module_but_are_no_weights() -> None:
    """A checkpoint of the network stays one."""
    post = Postprocess(detector("ssd"), SIZE)
    assert not post.state_dict()
    assert post.to("meta").anchors.is_meta
