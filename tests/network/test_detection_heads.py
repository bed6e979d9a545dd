"""The heads of detectors compute what those of torchvision do with the same weights, and begin with weights as theirs.

What torchvision does not have is held against a definition in a few lines.
"""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import product
from typing import Any, NamedTuple

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from mnfpn_cli.api import plan, settings
from mnfpn_cli.network.network import Network, build_meta, build_network
from tests.network.comparing import TOLERANCE, assert_equal, copy_state, outputs_of, randomised, relative_differences

detection = pytest.importorskip("torchvision.models.detection")
rpn = pytest.importorskip("torchvision.models.detection.rpn")
ssdlite = pytest.importorskip("torchvision.models.detection.ssdlite")

BACKBONES: dict[str, dict[str, Any]] = {
    "mobilenet_v2": {"width_mult": 0.35},
    "resnet": {"backbone": {"kind": "resnet", "blocks": [1, 1, 1, 1]}, "stem_channels": 8},
}
LEVELS, CHANNELS, SIDES = 5, 64, (131, 97)
PYRAMID = {"levels": "p3-p7", "channels": CHANNELS, "extra": "conv"}
GROUPS = partial(nn.GroupNorm, 32)
RATIOS = ((2.0,), (2.0, 3.0), (2.0, 3.0), (2.0, 3.0), (2.0,))
BOXES = [4, 6, 6, 6, 4]


class OfLevels(nn.Module):
    """torchvision's RPN head, with the outputs of all levels in one tensor as its `RPN` puts them together."""

    def __init__(self, anchors: int, depth: int) -> None:
        super().__init__()
        self.head = rpn.RPNHead(CHANNELS, anchors, conv_depth=depth)

    def forward(self, maps: list[Tensor]) -> dict[str, Tensor]:
        """Map levels to objectness (n, all anchors, 1) and boxes (n, all anchors, 4)."""
        scores, boxes = rpn.concat_box_prediction_layers(*self.head(maps))
        count = maps[0].shape[0]
        return {"objectness": scores.reshape(count, -1, 1), "bbox_regression": boxes.reshape(count, -1, 4)}


class Theirs(NamedTuple):
    """A head of torchvision, and the settings of ours that has its layers."""

    name: str
    make: Callable[[], nn.Module]
    head: dict[str, Any]
    outputs: tuple[str, ...]
    norm_eps: float = 1e-5


PAIR = ("cls_logits", "bbox_regression")
HEADS = (
    Theirs(
        "RetinaNet",
        lambda: detection.retinanet.RetinaNetHead(CHANNELS, 9, 7),
        {"kind": "retinanet", "classes": 7},
        PAIR,
    ),
    Theirs(
        "RetinaNet with group norm and two anchors",
        lambda: detection.retinanet.RetinaNetHead(CHANNELS, 2, 1, norm_layer=GROUPS),
        {"kind": "retinanet", "classes": 1, "norm": "group", "anchors": {"scales": [1.0, 2.0], "ratios": [1.0]}},
        PAIR,
    ),
    *(
        Theirs(
            f"FCOS of depth {depth}",
            lambda depth=depth: detection.fcos.FCOSHead(CHANNELS, 1, 7, num_convs=depth),  # type: ignore[misc]
            {"kind": "fcos", "classes": 7, "depth": depth},
            (*PAIR, "bbox_ctrness"),
        )
        for depth in (1, 4)
    ),
    Theirs(
        "SSD",
        lambda: detection.ssd.SSDHead([CHANNELS] * LEVELS, BOXES, 7),
        {"kind": "ssd", "classes": 7, "anchors": {"ratios": RATIOS}},
        PAIR,
    ),
    *(
        Theirs(
            f"SSDLite with epsilon {eps}",
            lambda eps=eps: ssdlite.SSDLiteHead(  # type: ignore[misc]
                [CHANNELS] * LEVELS, BOXES, 3, partial(nn.BatchNorm2d, eps=eps)
            ),
            {"kind": "ssdlite", "classes": 3, "anchors": {"ratios": RATIOS}},
            PAIR,
            eps,
        )
        for eps in (1e-3, 1e-5)
    ),
    *(
        Theirs(
            f"RPN of depth {depth}",
            lambda depth=depth: OfLevels(3, depth),  # type: ignore[misc]
            {"kind": "rpn", "depth": depth},
            ("objectness", "bbox_regression"),
        )
        for depth in (1, 2)
    ),
)


def ours_with(backbone: str, head: dict[str, Any], norm_eps: float = 1e-5) -> Network:
    """A network with a head, with random weights, in float64."""
    config = {**BACKBONES[backbone], "pyramid": PYRAMID, "head": head, "norm_eps": norm_eps}
    network = randomised(lambda: build_meta(plan(settings(config=config)).layers), 5)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d | nn.GroupNorm):
            assert module.eps == norm_eps
    return network


def levels_and_outputs(network: Network) -> tuple[list[Tensor], tuple[Tensor, ...]]:
    """The levels of a network for two images of odd sides, and what its head makes of them."""
    assert network.pyramid
    images = torch.rand(2, 3, *SIDES, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    with torch.inference_mode(), outputs_of([network.pyramid]) as maps:
        outputs = network(images)
    return list(maps[0]), outputs


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("theirs", HEADS, ids=lambda head: head.name)
def test_a_head_is_that_of_torchvision(theirs: Theirs, backbone: str) -> None:
    """The same parameters in the same order, and the same outputs on our levels."""
    network, head = ours_with(backbone, theirs.head, theirs.norm_eps), randomised(theirs.make, 11)
    assert network.head
    copy_state(head, network.head)
    maps, outputs = levels_and_outputs(network)
    with torch.inference_mode():
        expected = head(maps)
    assert network.outputs == theirs.outputs == tuple(name for name in network.outputs if name in expected)
    assert_equal(outputs, [expected[name] for name in network.outputs])


def test_a_difference_in_one_weight_of_a_head_is_detected() -> None:
    """A millionth in the bias of one anchor of one level: the test above can fail."""
    theirs = next(one for one in HEADS if one.name == "SSD")
    network, head = ours_with("resnet", theirs.head), randomised(theirs.make, 11)
    assert network.head
    copy_state(head, network.head)
    maps, outputs = levels_and_outputs(network)
    with torch.inference_mode():
        head.get_parameter("regression_head.module_list.4.bias")[3] += 1e-6 * outputs[1].abs().max()
        expected = head(maps)
    scores, boxes = relative_differences(outputs, [expected[name] for name in network.outputs])
    assert scores == 0 < TOLERANCE < boxes


class Read(dict[str, Tensor]):
    """A state dict that remembers which keys were read."""

    def __init__(self, state: dict[str, Tensor]) -> None:
        super().__init__(state)
        self.keys_read: set[str] = set()

    def __getitem__(self, key: str) -> Tensor:
        """Return a tensor."""
        self.keys_read.add(key)
        return super().__getitem__(key)

    def bias(self, layer: str) -> Tensor | None:
        """Return the bias of a layer that has one."""
        return self[key] if (key := f"{layer}.bias") in self else None


def defined(head: dict[str, Any], state: Read, maps: Sequence[Tensor], values: Sequence[int]) -> list[Tensor]:
    """What a head of depth 2 with batch norm and ReLU6 computes, by its definition."""

    def conv(x: Tensor, key: str) -> Tensor:
        if f"{key}.depthwise.weight" in state:
            weight = state[f"{key}.depthwise.weight"]
            assert weight.shape[1] == 1
            x, key = F.conv2d(x, weight, padding=1, groups=x.shape[1]), f"{key}.pointwise"
        key += ".conv" if f"{key}.conv.weight" in state else ""
        weight = state[f"{key}.weight"]
        return F.conv2d(x, weight, state.bias(key), padding=weight.shape[-1] // 2)

    def norm(x: Tensor, key: str) -> Tensor:
        mean, var, scale, shift = (
            state[f"{key}.norm.{leaf}"][:, None, None] for leaf in ("running_mean", "running_var", "weight", "bias")
        )
        return ((x - mean) / (var + 1e-5).sqrt() * scale + shift).clamp(0, 6)

    outputs: list[list[Tensor]] = [[], []]
    for level, x in zip(("p3", "p4", "p5", "p6", "p7"), maps, strict=True):
        for index, output in enumerate(PAIR):
            branch = "joint" if head["one_tower"] else ("cls", "box")[index]
            path, y = f"{branch}.{'shared' if head['shared'] else level}", x
            for place in range(2):
                layer = f"{path}.tower.{place}"
                y = conv(y, layer)
                within = f"{layer}.pointwise" if head["separable"] else layer
                y = norm(y, within if head["norm_shared"] else f"{branch}.norms.{level}.{place}")
            y = conv(y, f"{path}.{output}")
            count = values[index]
            cells = [y[:, :, i, j].reshape(y.shape[0], -1, count) for i, j in product(*map(range, y.shape[-2:]))]
            outputs[index] += cells
    return [torch.cat(cells, dim=1) for cells in outputs]


VARIANTS = [
    (separable, one_tower, *sharing)
    for separable in (False, True)
    for one_tower in (False, True)
    for sharing in ((True, True), (True, False), (False, True))
]


@pytest.mark.parametrize(("separable", "one_tower", "shared", "norm_shared"), VARIANTS)
def test_a_head_is_what_its_settings_say(separable: bool, one_tower: bool, shared: bool, norm_shared: bool) -> None:
    """Separable or not, one tower or two, and norms of each level behind convolutions that all share."""
    head = {"separable": separable, "one_tower": one_tower, "shared": shared, "norm_shared": norm_shared}
    layers = {"depth": 2, "norm": "batch", "activation": "relu6", "channels": 48}
    network = ours_with("mobilenet_v2", {"kind": "retinanet", "classes": 3, **layers, **head})
    assert network.head
    maps, outputs = levels_and_outputs(network)
    state = Read(dict(network.head.state_dict()))
    with torch.inference_mode():
        assert_equal(outputs, defined(head, state, maps, (3, 4)))
    assert state.keys_read == {key for key in state if not key.endswith("num_batches_tracked")}


LAST = (
    ("retinanet", "cls.shared.cls_logits", "classification_head.cls_logits"),
    ("retinanet", "box.shared.bbox_regression", "regression_head.bbox_reg"),
    ("fcos", "cls.shared.cls_logits", "classification_head.cls_logits"),
    ("fcos", "box.shared.bbox_regression.conv", "regression_head.bbox_reg"),
    ("fcos", "box.shared.bbox_ctrness", "regression_head.bbox_ctrness"),
    ("rpn", "joint.shared.objectness", "head.cls_logits"),
    ("rpn", "joint.shared.bbox_regression", "head.bbox_pred"),
)


@pytest.mark.parametrize(("kind", "path", "theirs"), LAST)
def test_last_convolutions_begin_as_those_of_torchvision(kind: str, path: str, theirs: str) -> None:
    """Biases to the last digit, at which RetinaNet's and FCOS's scores are 0.01; weights with their deviation."""
    made = next(head for head in HEADS if head.head["kind"] == kind)
    config = {**BACKBONES["mobilenet_v2"], "pyramid": PYRAMID, "head": made.head}
    head = build_network(settings(config=config)).head
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        expected = made.make().get_submodule(theirs)
    assert head
    found = head.get_submodule(path)
    assert isinstance(found, nn.Conv2d)
    assert isinstance(expected, nn.Conv2d)
    assert found.bias is not None
    torch.testing.assert_close(found.bias, expected.bias, rtol=0, atol=0)
    assert found.weight.std().item() == pytest.approx(0.01, rel=0.15)
    assert expected.weight.std().item() == pytest.approx(0.01, rel=0.15)
