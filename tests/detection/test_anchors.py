"""Anchors are those of torchvision's generators, to the last digit."""

from typing import Any

import pytest
import torch

from mnfpn_cli.detection.anchors import level_anchors, network_anchors
from mnfpn_cli.errors import UsageError
from mnfpn_cli.plan.rules import resolve
from mnfpn_cli.settings.detection import (
    AnchorSettings,
    DefaultBoxSettings,
    DetectionSettings,
    FCOSHead,
    RetinaNetHead,
    RPNHead,
    SSDHead,
)
from mnfpn_cli.settings.input import Size
from mnfpn_cli.settings.network import NetworkSettings
from mnfpn_cli.settings.sources import Source

pytest.importorskip("torchvision")

from torchvision.models.detection.anchor_utils import AnchorGenerator, DefaultBoxGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.retinanet import _default_anchorgen

SIZES = (Size(512, 512), Size(600, 900), Size(333, 517), Size(97, 64))
STRIDES = (8, 16, 32, 64, 128)


def maps_of(size: Size) -> list[Size]:
    """The maps of p3 to p7, their sides rounded up."""
    return [Size(-(-size.height // stride), -(-size.width // stride)) for stride in STRIDES]


def theirs(generator: Any, size: Size, dtype: torch.dtype) -> torch.Tensor:
    """The anchors of a generator of torchvision."""
    images = ImageList(torch.zeros(1, 3, *size), [size])
    found: torch.Tensor = generator(images, [torch.zeros(1, 1, *cells, dtype=dtype) for cells in maps_of(size)])[0]
    return found


def one_ratio(*sides: int) -> Any:
    """A generator of squares, one for each level."""
    return AnchorGenerator(tuple((side,) for side in sides), ((1.0,),) * len(sides))


RATIOS = ((2.0,), (2.0, 3.0), (2.0, 3.0), (2.0,), ())
SCALES = (0.07, 0.15, 0.33, 0.51, 0.69, 1.05)
CASES: list[tuple[DetectionSettings, Any]] = [
    (RetinaNetHead(kind="retinanet"), _default_anchorgen()),
    (
        RetinaNetHead(kind="retinanet", anchors=AnchorSettings(sizes=(10, 21, 33, 70, 99), scales=(0.9,), ratios=(3,))),
        AnchorGenerator(((9,), (18,), (29,), (63,), (89,)), ((3.0,),) * 5),
    ),
    (RPNHead(kind="rpn"), AnchorGenerator(((64,), (128,), (256,), (512,), (1024,)), ((0.5, 1.0, 2.0),) * 5)),
    (FCOSHead(kind="fcos"), one_ratio(*STRIDES)),
    (SSDHead(kind="ssd"), DefaultBoxGenerator([[2, 3]] * 5)),
    (
        SSDHead(kind="ssd", anchors=DefaultBoxSettings(ratios=RATIOS, scales=SCALES, steps=STRIDES, clip=False)),
        DefaultBoxGenerator([list(level) for level in RATIOS], scales=list(SCALES), steps=list(STRIDES), clip=False),
    ),
    (
        SSDHead(kind="ssd", anchors=DefaultBoxSettings(ratios=RATIOS, scales=SCALES)),
        DefaultBoxGenerator([list(level) for level in RATIOS], scales=list(SCALES)),
    ),
]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize(("head", "generator"), CASES)
def test_anchors_are_torchvisions(head: DetectionSettings, generator: Any, size: Size, dtype: torch.dtype) -> None:
    """Of all heads, at even and odd sizes: the same boxes in the same order, equal to the last digit."""
    levels = level_anchors(head, maps_of(size), STRIDES, size, dtype)
    assert [len(level) for level in levels] == [
        cells.cells * count for cells, count in zip(maps_of(size), generator.num_anchors_per_location(), strict=True)
    ]
    assert levels[0].dtype == dtype
    assert torch.equal(torch.cat(levels), theirs(generator, size, dtype))


def detector(kind: str, **anchors: object) -> NetworkSettings:
    """A small detector on p3 to p7."""
    pyramid = {"channels": 8, "levels": "p3-p7", "extra": "conv"}
    head = {"kind": kind, "depth": 0, **({"anchors": anchors} if anchors else {})}
    return resolve([Source("test", {"width_mult": 0.1, "pyramid": pyramid, "head": head})])


@pytest.mark.parametrize("kind", ["retinanet", "fcos", "ssd", "ssdlite", "rpn"])
def test_a_network_has_an_anchor_for_each_row_of_its_outputs(kind: str) -> None:
    """At an odd size too, where maps are rounded up."""
    from mnfpn_cli.network.network import build_network

    settings, size = detector(kind), Size(333, 517)
    assert settings.detection
    anchors = torch.cat(network_anchors(settings, settings.detection, size))
    outputs = build_network(settings)(torch.zeros(1, 3, *size))
    assert {output.shape[1] for output in outputs} == {len(anchors)}


def test_anchors_for_another_number_of_levels_are_refused_with_the_settings() -> None:
    """Before a network is built: the message has the key, the rule and the value."""
    with pytest.raises(UsageError, match=r"head\.anchors\.sizes: must have one for each level: 5, got 2"):
        detector("retinanet", sizes=[32, 64])
