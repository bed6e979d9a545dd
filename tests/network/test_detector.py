"""A network is a backbone for the detectors of torchvision."""

import pytest
import torch
from hypothesis import given
from torch import Tensor, nn

from mnfpn_cli.api import build_network, detector_backbone, settings
from mnfpn_cli.errors import UsageError
from mnfpn_cli.network.network import DetectorBackbone, build_meta
from mnfpn_cli.plan.network import plan_network
from mnfpn_cli.plan.rules import network_input
from mnfpn_cli.settings.input import Size
from mnfpn_cli.settings.network import NetworkSettings
from tests.strategies import settings_and_size

detection = pytest.importorskip("torchvision.models.detection")
ops = pytest.importorskip("torchvision.ops")

FPNLITE = settings("mobilenetv2-fpnlite", overrides={"head.kind": "none"})
LEVELS = ["p3", "p4", "p5", "p6", "p7"]
TARGETS = [
    {"boxes": torch.tensor([[10.0, 12.0, 74.0, 70.0], [80.0, 30.0, 112.0, 62.0]]), "labels": torch.tensor([1, 2])},
    {"boxes": torch.tensor([[20.0, 8.0, 148.0, 120.0]]), "labels": torch.tensor([1])},
]


@pytest.fixture
def images() -> list[Tensor]:
    """Two images of 128×160; and torch's own generator, which the detectors initialise their heads from, seeded."""
    torch.manual_seed(0)
    return list(torch.rand(2, 3, 128, 160))


def anchors(levels: int) -> nn.Module:
    """One size for each level, in three shapes; the coarsest levels' fit the targets, so that these learn too."""
    scales = tuple((8 << k,) for k in range(levels))
    made: nn.Module = detection.anchor_utils.AnchorGenerator(scales, ((0.5, 1.0, 2.0),) * levels)
    return made


def test_retinanet_trains_on_a_network(images: list[Tensor]) -> None:
    """In one step, each parameter has a gradient, each convolution changes, and the loss decreases."""
    backbone = detector_backbone(build_network(FPNLITE))
    model = detection.RetinaNet(
        backbone, num_classes=3, anchor_generator=anchors(5), min_size=128, max_size=160
    ).train()
    before = {name: parameter.detach().clone() for name, parameter in backbone.named_parameters()}
    losses = model(images, TARGETS)
    loss = losses["classification"] + losses["bbox_regression"]
    loss.backward()
    assert loss.isfinite()
    for name, parameter in backbone.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
    torch.optim.SGD(model.parameters(), lr=0.01).step()
    moved = {name for name, parameter in backbone.named_parameters() if not torch.equal(parameter, before[name])}
    assert {name for name in before if name.endswith("conv.weight")} <= moved
    assert sum(model(images, TARGETS).values()) < loss


def test_faster_rcnn_proposes_on_its_levels(images: list[Tensor]) -> None:
    """There are as many scores as anchors on all levels, and boxes are pooled from levels by name."""
    pool = ops.MultiScaleRoIAlign(["p3", "p4", "p5"], output_size=7, sampling_ratio=2)
    backbone = detector_backbone(build_network(FPNLITE))
    sizes = {"min_size": 128, "max_size": 160}
    model = detection.FasterRCNN(backbone, 3, rpn_anchor_generator=anchors(5), box_roi_pool=pool, **sizes)
    transformed, _ = model.transform(images)
    maps = model.backbone(transformed.tensors)
    scores, _ = model.rpn.head(list(maps.values()))
    assert list(maps) == LEVELS
    assert set(pool.featmap_names) < set(maps)
    anchors_of_each = model.rpn.anchor_generator(transformed, list(maps.values()))
    assert [len(boxes) for boxes in anchors_of_each] == [sum(score[0].numel() for score in scores)] * 2


@given(settings_and_size())
def test_each_level_is_returned_by_name_with_out_channels(case: tuple[NetworkSettings, Size]) -> None:
    """For any pyramid; a network with a head is refused."""
    network_settings, size = case
    plan = plan_network(network_settings)
    if plan.head or not plan.pyramid:
        with pytest.raises(
            UsageError, match=r"^head\.kind: must be 'none' for a detector, .*, got a network that returns .*$"
        ):
            DetectorBackbone(build_meta(plan))
        return
    backbone = DetectorBackbone(build_meta(plan))
    maps = backbone(torch.empty(network_input(network_settings, size, batch=2).shape, device="meta"))
    assert tuple(maps) == plan.pyramid.names
    assert {x.shape[1] for x in maps.values()} == {backbone.out_channels} == {plan.pyramid.channels}


def test_the_levels_are_those_of_the_network() -> None:
    """In order and bit for bit; the keys of the state dict have a prefix."""
    network = build_network(FPNLITE, seed=1)
    backbone, x = DetectorBackbone(network), torch.rand(1, 3, 64, 96)
    with torch.inference_mode():
        assert all(torch.equal(a, b) for a, b in zip(backbone(x).values(), network(x), strict=True))
    assert list(backbone.state_dict()) == [f"network.{key}" for key in network.state_dict()]
