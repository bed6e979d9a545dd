"""torchvision's detectors on our networks: the same boxes as ours, losses in training, checkpoints of the network."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mnfpn_cli.api import build_network, detector, load_weights, settings
from mnfpn_cli.detection.postprocess import Postprocess
from mnfpn_cli.errors import MnfpnError, UsageError
from mnfpn_cli.settings.input import Size
from mnfpn_cli.settings.network import NetworkSettings

pytest.importorskip("torchvision")

SIZE = Size(96, 128)
KINDS = ("retinanet", "fcos", "ssd", "ssdlite")
TARGETS = [
    {"boxes": torch.tensor([[10.0, 12.0, 74.0, 70.0], [80.0, 30.0, 112.0, 62.0]]), "labels": torch.tensor([1, 2])},
    {"boxes": torch.tensor([[20.0, 8.0, 108.0, 90.0]]), "labels": torch.tensor([1])},
]


def small(kind: str, **more: object) -> NetworkSettings:
    """A small detector on p3 to p7, with three classes."""
    pyramid = {"channels": 32, "levels": "p3-p7", "extra": "conv"}
    head = {"kind": kind, "classes": 3, "norm_groups": 8}
    return settings(config={"width_mult": 0.1, "pyramid": pyramid, "head": head, **more})


@pytest.fixture
def images() -> list[Tensor]:
    """Two images of the detectors' size."""
    return list(torch.rand(2, 3, *SIZE, generator=torch.Generator().manual_seed(0)))


@pytest.mark.parametrize("kind", KINDS)
def test_its_boxes_are_those_of_our_own_postprocessing(kind: str, images: list[Tensor]) -> None:
    """The network of the same seed, images prepared alike, and the same anchors and thresholds: the same boxes."""
    few = {"score_threshold": 0.0, "topk": 50, "detections": 40}
    chosen = small(kind, postprocess=few, preprocess={"mean": [0.1, 0.5, 0.7], "std": [0.5]})
    post, network = Postprocess(chosen, SIZE), build_network(chosen, seed=3)
    with torch.inference_mode():
        theirs = detector(chosen, seed=3, size=SIZE)(images)
        x = (torch.stack(images) - torch.tensor([0.1, 0.5, 0.7]).view(3, 1, 1)) / 0.5
        ours = post(network(x))
    for mine, other in zip(ours, theirs, strict=True):
        assert len(mine["scores"]) == 40
        torch.testing.assert_close(mine["scores"], other["scores"], rtol=1e-5, atol=1e-6)
        order = [sorted(found["boxes"].round(decimals=2).tolist()) for found in (mine, other)]
        torch.testing.assert_close(*map(torch.tensor, order), rtol=0, atol=0.02)


@pytest.mark.parametrize("kind", KINDS)
def test_it_trains(kind: str, images: list[Tensor]) -> None:
    """The losses are finite, every parameter has a gradient, and after a few steps the losses are smaller."""
    model = detector(small(kind), size=SIZE).train()
    first = model(images, TARGETS)
    sum(first.values()).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
    assert set(first) == {"classification", "bbox_regression"} | ({"bbox_ctrness"} if kind == "fcos" else set())
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
    for _ in range(6):
        optimizer.step()
        optimizer.zero_grad()
        losses = model(images, TARGETS)
        sum(losses.values()).backward()
    assert sum(losses.values()) < sum(first.values())


@pytest.mark.parametrize("kind", KINDS)
def test_images_of_other_sizes_come_back_with_boxes_in_their_own_pixels(kind: str) -> None:
    """Upright, on its side, and larger than the network's: no box leaves its image."""
    model = detector(small(kind, postprocess={"score_threshold": 0.0, "detections": 9}), size=SIZE)
    shapes = ((3, 90, 40), (3, 50, 77), (3, 200, 300))
    with torch.inference_mode():
        found = model([torch.rand(shape) for shape in shapes])
    for (_, height, width), one in zip(shapes, found, strict=True):
        limit = torch.tensor([width, height, width, height]) + 0.01
        assert len(one["boxes"]) == 9
        assert (one["boxes"] >= 0).all()
        assert (one["boxes"] <= limit).all()


def test_what_was_trained_is_a_checkpoint_of_the_network(tmp_path: Path) -> None:
    """A state dict of the detector loads into the network and into another detector, with every tensor matched."""
    chosen, file = small("ssdlite"), tmp_path / "trained.pth"
    torch.save(detector(chosen, seed=5).state_dict(), file)
    network = build_network(chosen)
    loaded = load_weights(network, chosen, file)
    assert (loaded.layout, loaded.ignored, loaded.missing) == ("mnfpn", (), ())
    expected = build_network(chosen, seed=5).state_dict()
    assert all(torch.equal(tensor, expected[key]) for key, tensor in network.state_dict().items())
    again = detector(chosen, weights=file).state_dict()
    assert all(torch.equal(tensor, again[key]) for key, tensor in detector(chosen, seed=5).state_dict().items())


def test_backbone_and_head_can_be_frozen_apart() -> None:
    """As in torchvision: the head's parameters are not among the backbone's."""
    model: Any = detector(small("retinanet"))
    backbone, head = (dict(part.named_parameters()) for part in (model.backbone, model.head))
    assert len(backbone) + len(head) == len(dict(model.named_parameters()))
    assert all(name.split(".")[0] in ("cls", "box") for name in head)


def test_what_torchvision_does_not_train_is_refused() -> None:
    """Proposals are a part of Faster R-CNN, which takes a network without a head; and no head detects nothing."""
    rule = r"^head\.kind: must be retinanet, fcos, ssd or ssdlite, the heads of .* SSD, got "
    with pytest.raises(UsageError, match=rule + r"'rpn'; for Faster R-CNN, detector_backbone\(\) takes"):
        detector(settings(overrides={"head.kind": "rpn"}))
    with pytest.raises(UsageError, match=rule + "'none'$"):
        detector(settings())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: detector("retinanet"), r"settings: must be what settings\(\) returns, got an object of type str"),  # type: ignore[arg-type]
        (lambda: detector(small("ssd"), size=16), r"size: each side must be at least 32 pixels"),
        (lambda: detector(small("ssd"), seed=-1), r"seed: must be a whole number"),
        (lambda: detector(small("ssd"), weights="none.pth"), r"none\.pth"),
    ],
)
def test_a_wrong_argument_is_refused(call: Callable[[], nn.Module], message: str) -> None:
    """With its name, the rule and the value."""
    with pytest.raises(MnfpnError, match=message):
        call()


def test_without_torchvision_the_message_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """No traceback of an import."""
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(MnfpnError, match=r"^detector\(\): needs torchvision, .* pip install torchvision$"):
        detector(small("ssd"))
