"""Checkpoints of torchvision's detectors, heads included: the same outputs, and nothing loaded in half."""

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from mnfpn_cli.api import settings
from mnfpn_cli.documents.records import WeightsRecord
from mnfpn_cli.errors import UsageError
from mnfpn_cli.network.network import Network, build_network
from mnfpn_cli.weights.checkpoint import Checkpoint
from mnfpn_cli.weights.load import load_weights
from tests.network.comparing import assert_equal, randomised

models = pytest.importorskip("torchvision.models")
detection = pytest.importorskip("torchvision.models.detection")
anchors = pytest.importorskip("torchvision.models.detection.anchor_utils")
fpn = pytest.importorskip("torchvision.models.detection.backbone_utils")
pyramids = pytest.importorskip("torchvision.ops.feature_pyramid_network")
ssdlite = pytest.importorskip("torchvision.models.detection.ssdlite")

CHANNELS = 64
RESNET = {"backbone": {"kind": "resnet", "blocks": [1, 1, 1, 1]}}
ON_P5 = {"extra": "conv", "extra_relu": True}
PAIR = ("cls_logits", "bbox_regression")


def pyramid(levels: str, **extra: Any) -> dict[str, Any]:
    """Settings of torchvision's pyramid."""
    return {"pyramid": {"levels": levels, "channels": CHANNELS, "upsample": "nearest", **extra}}


def resnet(first: int, extra: nn.Module) -> nn.Module:
    """A ResNet of four bottlenecks with a pyramid, as torchvision's detectors have it."""
    body = models.resnet.ResNet(models.resnet.Bottleneck, [1, 1, 1, 1])
    layers = {f"layer{k}": str(k) for k in range(first, 5)}
    backbone: nn.Module = fpn.BackboneWithFPN(body, layers, [2 ** (7 + k) for k in range(first, 5)], CHANNELS, extra)
    return backbone


def mobilenet(*blocks: int) -> nn.Module:
    """A MobileNetV2 with a pyramid on these of its features."""
    features = models.mobilenet_v2().features
    widths = {6: 32, 13: 96, 17: 320, 18: 1280}
    extra = pyramids.LastLevelP6P7(CHANNELS, CHANNELS)
    layers = {str(block): str(block) for block in blocks}
    backbone: nn.Module = fpn.BackboneWithFPN(features, layers, [widths[block] for block in blocks], CHANNELS, extra)
    return backbone


def ssd(backbone: nn.Module, head: nn.Module) -> nn.Module:
    """SSD with a head of its own."""
    boxes = anchors.DefaultBoxGenerator([[2.0]] * 5)
    detector: nn.Module = detection.ssd.SSD(backbone, boxes, (320, 320), 4, head=head)
    return detector


class Theirs(NamedTuple):
    """A detector of torchvision, and the settings of ours that has its layers."""

    name: str
    make: Callable[[], nn.Module]
    config: dict[str, Any]
    outputs: tuple[str, ...] = PAIR


GROUPS = partial(nn.GroupNorm, 32)
LITE = partial(nn.BatchNorm2d, eps=1e-3)
WIDTHS = [CHANNELS] * 5
THEIRS = (
    Theirs(
        "RetinaNet",
        lambda: detection.RetinaNet(resnet(2, pyramids.LastLevelP6P7(CHANNELS, CHANNELS)), 4),
        {**RESNET, **pyramid("p3-p7", **ON_P5), "head": {"kind": "retinanet", "classes": 4}},
    ),
    Theirs(
        "RetinaNet of version 2",
        lambda: detection.RetinaNet(
            resnet(2, pyramids.LastLevelP6P7(2048, CHANNELS)),
            4,
            head=detection.retinanet.RetinaNetHead(CHANNELS, 9, 4, norm_layer=GROUPS),
        ),
        {
            **RESNET,
            **pyramid("p3-p7", **ON_P5, extra_from="tap"),
            "head": {"kind": "retinanet", "classes": 4, "norm": "group"},
        },
    ),
    Theirs(
        "FCOS",
        lambda: detection.FCOS(resnet(2, pyramids.LastLevelP6P7(CHANNELS, CHANNELS)), 4),
        {**RESNET, **pyramid("p3-p7", **ON_P5), "head": {"kind": "fcos", "classes": 4}},
        (*PAIR, "bbox_ctrness"),
    ),
    Theirs(
        "SSD",
        lambda: ssd(mobilenet(6, 13, 17), detection.ssd.SSDHead(WIDTHS, [4] * 5, 4)),
        {**pyramid("p3-p7", **ON_P5), "head": {"kind": "ssd", "classes": 4, "anchors": {"ratios": [[2.0]]}}},
    ),
    Theirs(
        "SSDLite on the last convolution",
        lambda: ssd(mobilenet(6, 13, 18), ssdlite.SSDLiteHead(WIDTHS, [6] * 5, 4, LITE)),
        {
            **pyramid("p3-p7", **ON_P5, last_channels=1280),
            "head": {"kind": "ssdlite", "classes": 4},
        },
    ),
)
BY_NAME = {one.name: one for one in THEIRS}


def made(theirs: Theirs) -> nn.Module:
    """A detector with random weights, all of its batch norms with our epsilon."""
    detector = randomised(theirs.make, 13)
    for module in detector.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 1e-5
    return detector


def load(config: dict[str, Any], state: dict[str, Tensor]) -> tuple[Network, WeightsRecord]:
    """Our network of some settings with a checkpoint."""
    made_of = settings(config=config)
    network = build_network(made_of).double()
    return network, load_weights(network, made_of, Checkpoint("a.pth", state))


def images() -> Tensor:
    """Two images of odd sides."""
    return torch.rand(2, 3, 97, 131, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def in_order(outputs: dict[str, Tensor], names: Sequence[str]) -> list[Tensor]:
    """Outputs in the order of their names; there are no others."""
    assert set(outputs) == set(names)
    return [outputs[name] for name in names]


@pytest.mark.parametrize("theirs", THEIRS, ids=lambda one: one.name)
def test_a_detector_loads_with_its_head(theirs: Theirs) -> None:
    """Every tensor has its place, and the outputs are those of torchvision in float64 to 1e-9."""
    detector = made(theirs)
    network, record = load(theirs.config, detector.state_dict())
    assert (record.matched, record.ignored, record.missing) == (len(network.state_dict()), (), ())
    with torch.inference_mode():
        maps = list(detector.get_submodule("backbone")(images()).values())
        expected = in_order(detector.get_submodule("head")(maps), network.outputs)
        assert network.outputs == theirs.outputs
        assert_equal(network(images()), expected)


def test_a_region_proposal_network_loads_without_the_second_stage() -> None:
    """Faster R-CNN's: the layers behind the proposals are ignored, and named."""
    detector = randomised(lambda: detection.FasterRCNN(resnet(1, pyramids.LastLevelMaxPool()), 4), 13)
    config = {**RESNET, **pyramid("p2-p6", extra="maxpool"), "head": {"kind": "rpn"}}
    network, record = load(config, detector.state_dict())
    assert (record.matched, record.missing) == (len(network.state_dict()), ())
    assert {key.split(".")[0] for key in record.ignored} == {"roi_heads"}
    with torch.inference_mode():
        maps = list(detector.get_submodule("backbone")(images()).values())
        scores, boxes = detector.get_submodule("rpn.head")(maps)
        found = network(images())
    flat = [[x.permute(0, 2, 3, 1).reshape(2, -1, n) for x in one] for one, n in ((scores, 1), (boxes, 4))]
    assert_equal(found, [torch.cat(one, dim=1) for one in flat])


def test_names_of_before_torchvision_0_13_are_read() -> None:
    """The weights that torchvision publishes for its RetinaNet have them; so has an older Faster R-CNN."""
    state = made(BY_NAME["RetinaNet"]).state_dict()

    def older(key: str) -> str:
        key = re.sub(r"(_head\.conv)\.(\d)\.0\.", lambda found: f"{found[1]}.{2 * int(found[2])}.", key)
        return re.sub(r"(_blocks\.\d)\.0\.", r"\1.", key)

    renamed = {older(key): tensor for key, tensor in state.items()}
    assert "head.regression_head.conv.6.bias" in renamed
    network, record = load(BY_NAME["RetinaNet"].config, renamed)
    assert (record.ignored, record.missing) == ((), ())
    assert record.layout == "torchvision ResNet before 0.13"
    last = network.get_parameter("head.box.shared.tower.3.conv.weight")
    assert torch.equal(last, state["head.regression_head.conv.3.0.weight"])


def test_a_head_goes_nowhere_where_the_network_has_none() -> None:
    """It is ignored, and named."""
    state, config = made(BY_NAME["FCOS"]).state_dict(), BY_NAME["FCOS"].config
    _, record = load({**config, "head": {"kind": "none"}}, state)
    assert set(record.ignored) == {key for key in state if key.startswith("head.")}
    assert record.missing == ()


REFUSED = (
    ("RetinaNet", {"depth": 3}, r"no place for head\.classification_head\.conv\.3\.0\.weight"),
    ("RetinaNet", {"depth": 5}, r"lacks head\.classification_head\.conv\.4\.0\.weight"),
    ("RetinaNet", {"norm": "group"}, r"lacks head\.classification_head\.conv\.0\.1\.weight"),
    ("RetinaNet", {"shared": False}, r"lacks head\.cls\.p3\.tower\.0\.conv\.weight"),
    ("RetinaNet", {"classes": 5}, r"head\.classification_head\.cls_logits\.weight is 36×64×3×3, not 45×64×3×3"),
    ("RetinaNet", {"kind": "fcos", "norm": "none"}, r"lacks head\.classification_head\.conv\.0\.weight"),
    ("FCOS", {"kind": "retinanet", "norm": "group", "conv_bias": True}, r"lacks head\.classification_head\.conv\.0\.1"),
    ("SSD", {"kind": "ssdlite"}, r"lacks head\.classification_head\.module_list\.0\.0\.0\.weight"),
    ("SSD", {"anchors": {"ratios": [[2.0, 3.0]]}}, r"module_list\.0\.weight is 16×64×3×3, not 24×64×3×3"),
)


@pytest.mark.parametrize(("name", "changed", "message"), REFUSED)
def test_another_head_is_refused(name: str, changed: dict[str, Any], message: str) -> None:
    """With what it lacks or has too many of: no part of a head is loaded."""
    theirs = BY_NAME[name]
    head = changed if "kind" in changed else {**theirs.config["head"], **changed}
    with pytest.raises(UsageError, match=message):
        load({**theirs.config, "head": {"classes": 4, **head}}, made(theirs).state_dict())


def test_levels_of_ssd_that_the_network_lacks_are_refused() -> None:
    """Its layers are counted from the finest level: another pyramid's would fit by their shapes."""
    config = {**BY_NAME["SSD"].config, **pyramid("p3-p6", **ON_P5)}
    with pytest.raises(UsageError, match=r"no place for head\.classification_head\.module_list\.4\.weight"):
        load(config, made(BY_NAME["SSD"]).state_dict())
