"""What is wrong with the maps that a network returns, each fault with its levels."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor, nn

from mnfpn_cli.audit.audit import Inspection
from mnfpn_cli.documents.audit import Audit
from tests.audit.traced import inspected

Maps = Callable[[Tensor], Any]


class Returns(nn.Module):
    """A network without parameters that returns what a function makes of the image."""

    def __init__(self, maps: Maps) -> None:
        super().__init__()
        self.maps = maps

    def forward(self, x: Tensor) -> Any:
        """Return it."""
        return self.maps(x)


def level(x: Tensor, stride: int, channels: int = 8) -> Tensor:
    """A map of that stride, its sides rounded up."""
    return F.avg_pool2d(x, stride, ceil_mode=True)[:, :1].expand(-1, channels, -1, -1)


def levels(*strides: int, channels: Sequence[int] = ()) -> Maps:
    """Levels of these strides."""
    each = channels or [8] * len(strides)
    return lambda x: tuple(level(x, s, c) for s, c in zip(strides, each, strict=True))


def inspection(maps: Maps, size: tuple[int, int] = (200, 300)) -> Inspection:
    """An inspection of a network that returns these maps."""
    return inspected(Returns(maps), (1, 3, *size))


def reported(maps: Maps, size: tuple[int, int] = (200, 300)) -> list[tuple[str, tuple[str, ...]]]:
    """The findings, in short."""
    found = inspection(maps, size).audit
    assert isinstance(found, Audit)
    return [(finding.kind, finding.paths) for finding in found.findings]


def off_by_one(x: Tensor) -> tuple[Tensor, ...]:
    """A level whose convolution lacks its padding."""
    return level(x, 4), F.avg_pool2d(level(x, 8), 2, stride=1), level(x, 16)


GOOD: dict[str, Maps] = {
    "a pyramid": levels(4, 8, 16, 32),
    "of large strides": levels(8, 16, 32, 64, 128, 256, 512),
    "a dictionary": lambda x: {"p3": level(x, 8), "p4": level(x, 16)},
    "the maps of a backbone": levels(2, 4, 8, 16, 32, channels=(16, 24, 40, 112, 112)),
    "the last maps of a backbone": levels(8, 16, 32, channels=(256, 512, 512)),
    "rounded down": lambda x: (F.max_pool2d(x, 4), F.max_pool2d(x, 8)),
    "the features and scores of a discriminator": levels(2, 4, 8, 8, 8, channels=(16, 32, 64, 128, 2)),
    "the image and the code of an autoencoder": levels(1, 4, 4, channels=(2, 3, 3)),
    "with a pooled top": lambda x: (level(x, 8), level(x, 16), F.adaptive_avg_pool2d(level(x, 16), 1)),
}


@pytest.mark.parametrize("name", GOOD)
def test_a_pyramid_is_not_accused(name: str) -> None:
    """At a size that its strides do not divide."""
    assert reported(GOOD[name]) == []


BAD: dict[str, tuple[Maps, list[tuple[str, tuple[str, ...]]]]] = {
    "two of one stride": (levels(4, 8, 8, 16), [("same_stride", ("1", "2"))]),
    "two taps of one stride": (levels(4, 8, 8, channels=(8, 16, 24)), [("same_stride", ("1", "2"))]),
    "a gap": (levels(4, 16, 32), [("stride_gap", ("0", "1"))]),
    "coarsest first": (levels(16, 8, 4), [("order", ("0", "1", "2"))]),
    "in no order": (levels(8, 4, 16), [("order", ("0", "1", "2"))]),
    "one of other channels": (levels(4, 8, 16, channels=(8, 8, 4)), [("unequal_channels", ("2",))]),
    "one of other channels, the first": (levels(4, 8, 16, 32, channels=(4, 8, 8, 8)), [("unequal_channels", ("0",))]),
    "channels that grow smaller": (levels(4, 8, channels=(8, 4)), [("unequal_channels", ("0", "1"))]),
    "a fixed size": (lambda x: (level(x, 4), F.adaptive_avg_pool2d(level(x, 4), 7)), [("no_stride", ("1",))]),
    "no whole stride": (lambda x: (level(x, 4), F.interpolate(level(x, 4), scale_factor=0.6)), [("no_stride", ("1",))]),
    "sides of two strides": (lambda x: (level(x, 4), level(x, 4)[..., ::2]), [("no_stride", ("1",))]),
    "off by one": (off_by_one, [("size", ("1",))]),
    "batch and channels": (lambda x: (level(x, 4), level(x, 8).transpose(0, 1)), [("layout", ("1",))]),
    "the batch within": (lambda x: (level(x, 4), level(x, 8).flatten(0, 1)[None]), [("layout", ("1",))]),
    "channels last": (lambda x: tuple(level(x, s).permute(0, 2, 3, 1) for s in (4, 8)), [("layout", ("0", "1"))]),
}


@pytest.mark.parametrize("name", BAD)
def test_a_fault_is_told_with_its_levels(name: str) -> None:
    """And nothing else is."""
    maps, expected = BAD[name]
    assert [one for one in reported(maps) if one[0] != "unequal_channels" or "channels" in name] == expected


def test_levels_have_the_strides_that_they_grow_by() -> None:
    """Whatever the size that was asked for."""
    for size in ((200, 300), (33, 65), (2100, 3000)):
        (found,) = inspection(levels(4, 8, 16), size).pyramids
        assert [one.stride for one in found.levels] == [4, 8, 16]


def test_a_network_for_one_size_is_judged_at_that() -> None:
    """And it is said that it runs at no other."""

    def fixed(x: Tensor) -> tuple[Tensor, ...]:
        return tuple(y.reshape(-1, 8, 200 // s, 304 // s) for s in (4, 8) for y in [level(x, s)])

    found = inspection(fixed, (200, 304))
    assert found.audit is not None
    assert found.audit.findings == ()
    assert found.audit.notes == (
        "Does not run at 1024x1536, 2048x3072: strides are judged from the sizes at which it does.",
    )
    assert [one.stride for one in found.pyramids[0].levels] == [4, 8]


def test_what_returns_one_map_or_no_maps_is_no_pyramid() -> None:
    """Nothing is said of its strides."""
    for maps in (lambda x: level(x, 4), lambda x: (level(x, 4), x.sum()), lambda x: {"logits": x.mean((2, 3))}):
        assert inspection(maps).pyramids == ()


def test_strides_are_told_from_real_passes_too() -> None:
    """Of a network that looks at numbers, at sizes that are affordable."""

    def looks(x: Tensor) -> tuple[Tensor, ...]:
        return (level(x, 4), level(x, 4 if x.sum().item() < 0 else 8))

    found = inspection(looks, (100, 150))
    assert found.audit is not None
    assert (found.audit.mode, found.audit.findings) == ("real", ())
    assert found.audit.notes == ("The pass ran on real tensors: the network does not run on the meta device.",)


def test_torchvisions_own_mobile_pyramid_has_two_levels_of_one_stride() -> None:
    """By default, as its issue 5838 says; and by name."""
    utils = pytest.importorskip("torchvision.models.detection.backbone_utils")
    network = utils.mobilenet_backbone(backbone_name="mobilenet_v2", weights=None, fpn=True, trainable_layers=6)
    audit = inspected(network, (1, 3, 600, 900)).audit
    assert audit is not None
    (finding,) = audit.findings
    assert (finding.kind, finding.paths) == ("same_stride", ("0", "1"))
    assert finding.message == "2 levels of stride 32, each 19x29: 0, 1"


def test_maps_that_are_no_pyramid_are_a_note() -> None:
    """Scores that have the stride of a feature beside them, and fewer channels."""
    audit = inspection(levels(4, 8, 8, channels=(8, 16, 2))).audit
    assert audit is not None
    assert audit.notes == ("Maps of repeated strides and unequal channels: 0, 1, 2. They are not judged as a pyramid.",)


HEADS: dict[str, Maps] = {
    "logits and auxiliary ones": lambda x: {"out": level(x, 8, 21), "aux": level(x, 8, 21)},
    "classes and boxes": lambda x: {"classes": level(x, 8, 20), "boxes": level(x, 8, 4)},
    "logits of a fixed size": lambda x: tuple(F.adaptive_avg_pool2d(level(x, 8, 21), 48) for _ in range(2)),
    "classes and boxes of each level": lambda x: {"classes": levels(8, 16)(x), "boxes": levels(8, 16)(x)},
    "the same in a row": levels(8, 16, 8, 16, channels=(20, 20, 4, 4)),
    "levels beside logits": lambda x: (levels(8, 16)(x), x.mean((1, 2, 3))),
}


@pytest.mark.parametrize("name", HEADS)
def test_heads_are_not_taken_for_levels(name: str) -> None:
    """Maps of one stride are no pyramid, and each tuple, list or dictionary is judged by itself."""
    assert reported(HEADS[name]) == []
    notes = inspection(HEADS[name]).audit
    assert notes is not None
    assert bool(notes.notes) == (name in ("logits and auxiliary ones", "classes and boxes", "logits of a fixed size"))


def test_a_fault_in_a_list_within_is_told_by_its_place() -> None:
    """As keys and positions lead to it."""
    assert reported(lambda x: {"maps": levels(4, 8, 8)(x), "logits": x.mean((2, 3))}) == [
        ("same_stride", ("maps.1", "maps.2"))
    ]
