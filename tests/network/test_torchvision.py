"""Our networks compute what those of torchvision do, with the same random weights."""

from collections import OrderedDict
from itertools import chain

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from mnfpn_cli.api import plan, settings
from mnfpn_cli.network.network import Network, build_meta
from mnfpn_cli.settings.network import NetworkSettings
from tests.network.comparing import (
    SEEDS,
    SIDES,
    TOLERANCE,
    a_few,
    assert_equal,
    copy_state,
    outputs_of,
    randomised,
    relative_differences,
)

models = pytest.importorskip("torchvision.models")
pyramids = pytest.importorskip("torchvision.ops.feature_pyramid_network")

CLASSES = st.integers(1, 12)
RESNET50 = {"backbone": {"kind": "resnet", "blocks": [3, 4, 6, 3]}, "head": {"kind": "classifier"}}
EXTRA: dict[str, dict[str, object]] = {
    "none": {},
    "maxpool": {"extra": "maxpool"},
    "conv on the map": {"extra": "conv", "extra_relu": True},
    "conv on the tap": {"extra": "conv", "extra_relu": True, "extra_from": "tap"},
}


def image(height: int, width: int, seed: int) -> Tensor:
    """Two images in float64."""
    return torch.rand(2, 3, height, width, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def ours_as(theirs: nn.Module, settings: NetworkSettings) -> Network:
    """Our network with their state."""
    network = build_meta(plan(settings).layers)
    copy_state(theirs, network)
    return network


def blocks(network: Network) -> list[nn.Module]:
    """All blocks, whatever their stage."""
    return list(chain.from_iterable(stage.children() for stage in network.stages))


@pytest.mark.parametrize("width", [0.35, 0.5, 0.75, 1.0, 1.4])
@a_few
@given(CLASSES, SIDES, SIDES, SEEDS)
def test_mobilenet_v2(width: float, classes: int, h: int, w: int, seed: int) -> None:
    """The maps of the stem, of all blocks and of the last convolution, and the logits."""
    theirs = randomised(lambda: models.mobilenet_v2(num_classes=classes, width_mult=width), seed)
    overrides = {"width_mult": width, "head.classes": classes}
    ours = ours_as(theirs, settings("mobilenetv2-classifier", overrides=overrides))
    parts, x = [ours.stem, *blocks(ours), ours.get_submodule("head.last")], image(h, w, seed)
    with torch.inference_mode(), outputs_of(theirs.features) as expected, outputs_of(parts) as found:
        logits = (ours(x), theirs(x))
    assert len(found) == 19
    assert_equal([*found, logits[0]], [*expected, logits[1]])


@a_few
@given(CLASSES, SIDES, SIDES, SEEDS)
def test_resnet50(classes: int, h: int, w: int, seed: int) -> None:
    """The maps of its four stages, and the logits."""
    theirs = randomised(lambda: models.resnet50(num_classes=classes), seed)
    ours = ours_as(theirs, settings(config=RESNET50, overrides={"head.classes": classes}))
    layers, x = [theirs.layer1, theirs.layer2, theirs.layer3, theirs.layer4], image(h, w, seed)
    with torch.inference_mode(), outputs_of(layers) as expected, outputs_of(ours.stages) as found:
        logits = (ours(x), theirs(x))
    assert_equal([*found, logits[0]], [*expected, logits[1]])


@pytest.mark.parametrize("extra", EXTRA)
@a_few
@given(st.data())
def test_feature_pyramid(extra: str, data: st.DataObject) -> None:
    """Every level of FeaturePyramidNetwork on our taps, from any finest level, with and without extra levels."""
    finest, channels, seed = data.draw(st.integers(2, 5)), data.draw(st.integers(1, 64)), data.draw(SEEDS)
    coarsest = 5 + ("maxpool" in extra) + 2 * ("conv" in extra)
    pyramid = {"levels": f"p{finest}-p{coarsest}", "upsample": "nearest", "channels": channels, **EXTRA[extra]}
    ours = randomised(lambda: build_meta(plan(settings(config={"width_mult": 0.35, "pyramid": pyramid})).layers), seed)
    with torch.inference_mode(), outputs_of(ours.stages[index] for index in ours.tapped) as maps:
        x = image(data.draw(SIDES), data.draw(SIDES), seed)
        ours(x)
        widths = [tap.shape[1] for tap in maps]
        last = last_level(extra, widths[-1], channels)
        theirs = randomised(lambda: pyramids.FeaturePyramidNetwork(widths, channels, last), seed)
        assert ours.pyramid
        copy_state(theirs, ours.pyramid)
        assert_equal(ours.pyramid(maps), list(theirs(OrderedDict(enumerate(maps))).values()))


def last_level(extra: str, tapped: int, channels: int) -> nn.Module | None:
    """Return torchvision's extra levels. It builds P6 on P5 where the channels given for C5 equal those of P5."""
    if "conv" in extra:
        level: nn.Module = pyramids.LastLevelP6P7(tapped if "tap" in extra else channels, channels)
        return level
    return pyramids.LastLevelMaxPool() if "maxpool" in extra else None


@a_few
@given(SIDES, SEEDS, st.integers(1, 17))
def test_a_difference_in_one_weight_is_detected(side: int, seed: int, block: int) -> None:
    """A millionth in one block changes its map and all maps after it: the tests above can fail."""
    theirs = randomised(lambda: models.mobilenet_v2(width_mult=0.35), seed)
    changed = randomised(lambda: models.mobilenet_v2(width_mult=0.35), seed)
    x = image(side, side, seed)
    with torch.inference_mode(), outputs_of(theirs.features) as expected, outputs_of(changed.features) as found:
        norm = [part for part in changed.features[block].modules() if isinstance(part, nn.BatchNorm2d)][-1]
        norm.bias[0] += 1e-6
        theirs(x), changed(x)
    seen = relative_differences(found, expected)
    assert seen[:block] == [0.0] * block
    assert min(seen[block:]) > TOLERANCE
