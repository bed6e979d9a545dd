"""The preset mobilenetv2-fpnlite is TensorFlow's SSD MobileNetV2 FPNLite.

Nobody publishes its parameters and MACs, so what is held against what is said in each test:

* *published*: exported graphs, which list each kernel and each operation, and the sizes that Keras documents;
* *defined anew*: `tensorflow_fpnlite`, a torch definition after the configuration and the classes that it names. Once,
  by hand, it was given the trained weights of the exported graph at 320×320 (as int8) and an image: p3 to p7, class
  scores and boxes of all levels were the same to 5e-15 of the largest value.
"""

from collections import Counter
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from mnfpn_cli.api import plan, settings
from mnfpn_cli.network.network import Network, build_meta
from tests.network.comparing import SEEDS, a_few, assert_equal, copy_state, outputs_of, randomised
from tests.network.tensorflow_fpnlite import FPNLite

Kernel = tuple[int, int, int, int]
"""Height, width, inputs and outputs, as TensorFlow has it; of a depthwise convolution its channels, and 1."""

BACKBONE: dict[tuple[Kernel, int], int] = {
    ((3, 3, 3, 32), 2): 1,
    ((3, 3, 32, 1), 1): 1,
    ((1, 1, 32, 16), 1): 1,
    ((1, 1, 16, 96), 1): 1,
    ((3, 3, 96, 1), 2): 1,
    ((1, 1, 96, 24), 1): 1,
    ((1, 1, 24, 144), 1): 2,
    ((3, 3, 144, 1), 1): 1,
    ((1, 1, 144, 24), 1): 1,
    ((3, 3, 144, 1), 2): 1,
    ((1, 1, 144, 32), 1): 1,
    ((1, 1, 32, 192), 1): 3,
    ((3, 3, 192, 1), 1): 2,
    ((1, 1, 192, 32), 1): 2,
    ((3, 3, 192, 1), 2): 1,
    ((1, 1, 192, 64), 1): 1,
    ((1, 1, 64, 384), 1): 4,
    ((3, 3, 384, 1), 1): 4,
    ((1, 1, 384, 64), 1): 3,
    ((1, 1, 384, 96), 1): 1,
    ((1, 1, 96, 576), 1): 3,
    ((3, 3, 576, 1), 1): 2,
    ((1, 1, 576, 96), 1): 2,
    ((3, 3, 576, 1), 2): 1,
    ((1, 1, 576, 160), 1): 1,
    ((1, 1, 160, 960), 1): 3,
    ((3, 3, 960, 1), 1): 3,
    ((1, 1, 960, 160), 1): 2,
    ((1, 1, 960, 320), 1): 1,
    ((1, 1, 320, 1280), 1): 1,
}
PYRAMID_AND_PREDICTOR: dict[tuple[Kernel, int], int] = {
    ((1, 1, 32, 128), 1): 1,
    ((1, 1, 96, 128), 1): 1,
    ((1, 1, 1280, 128), 1): 1,
    ((3, 3, 128, 1), 1): 32,
    ((3, 3, 128, 1), 2): 2,
    ((1, 1, 128, 128), 1): 24,
    ((1, 1, 128, 48), 1): 5,
    ((1, 1, 128, 24), 1): 5,
}
EXPORTED = Counter(BACKBONE | PYRAMID_AND_PREDICTOR)
"""Published: how often each kernel runs, at which stride, in the two graphs that handtrack.js ships.

They are exported from the Object Detection API with the configurations for 320×320 and 640×640, for 7 classes and the
background: github.com/victordibia/handtrack.js, commit 69d350a, models/webmodel/{ssd320fpnlite,ssd640fpnlite}.
"""

EXPORTED_CLASSES = 8
EXPORTED_ANCHORS = {320: 12_804, 640: 51_150}
"""Published: the first dimension of the graphs' raw outputs."""

EXPORTED_CONVOLUTIONS = {8: 2_522_248, 25: 2_535_406}
"""Published: weights and biases of all convolutions, each counted once; 25 is of yappeizhen/AlphaSign's graph."""

EXPORTED_OFFSETS = 20_128
"""Published: batch norms' offsets in all of these graphs; their scales are folded away."""

EXPORTED_MACS = {320: 849_004_800, 640: 3_394_928_000}
"""Published graphs, each convolution's MACs from its kernel and the map that it makes."""

KERAS_MOBILENET_V2 = 2_257_984
"""Published: Keras's MobileNetV2 of width 1 without its top, with 34,112 moving means and variances."""


def kernels_of(module: nn.Module, size: int) -> tuple[Counter[tuple[Kernel, int]], int]:
    """Run a module on the meta device; return how often each kernel runs, and the MACs of all."""
    calls, macs = Counter[tuple[Kernel, int]](), 0

    def count(conv: nn.Module, _: object, output: torch.Tensor) -> None:
        nonlocal macs
        assert isinstance(conv, nn.Conv2d)
        assert conv.groups in (1, conv.in_channels)
        outputs, inputs, height, width = conv.weight.shape
        channels = (inputs, outputs) if conv.groups == 1 else (outputs, inputs)
        calls[(height, width, *channels), conv.stride[0]] += 1
        macs += conv.weight[0].numel() * output[0].numel()

    hooks = [part.register_forward_hook(count) for part in module.modules() if isinstance(part, nn.Conv2d)]
    with torch.inference_mode():
        module(torch.empty(1, 3, size, size, device="meta"))
    for hook in hooks:
        hook.remove()
    return calls, macs


def defined_anew(classes: int, width: float = 1.0) -> FPNLite:
    """The definition of the tests, without values."""
    with torch.device("meta"):
        return FPNLite(width, classes).eval()


def ours(classes: int, width: float = 1.0) -> Network:
    """The preset's network, without values."""
    return build_meta(plan(settings("mobilenetv2-fpnlite", overrides=overrides(classes, width))).layers)


def overrides(classes: int, width: float) -> dict[str, object]:
    """What differs from the preset."""
    return {"head.classes": classes, "width_mult": width}


@pytest.mark.parametrize("make", [defined_anew, ours])
@pytest.mark.parametrize("size", EXPORTED_MACS)
def test_kernels_and_outputs_are_those_of_the_published_graphs(size: int, make: Callable[[int], nn.Module]) -> None:
    """Published: each kernel as often, at the same strides, the MACs, and as many anchors and scores."""
    module = make(EXPORTED_CLASSES)
    assert kernels_of(module, size) == (EXPORTED, EXPORTED_MACS[size])
    classes, boxes = module(torch.empty(1, 3, size, size, device="meta"))[:2]
    assert classes.shape == (1, EXPORTED_ANCHORS[size], EXPORTED_CLASSES)
    assert boxes.shape == (1, EXPORTED_ANCHORS[size], 4)


@pytest.mark.parametrize("make", [defined_anew, ours])
@pytest.mark.parametrize("classes", EXPORTED_CONVOLUTIONS)
def test_parameters_are_those_of_the_published_graphs(classes: int, make: Callable[[int], nn.Module]) -> None:
    """Published: those of all convolutions, and of norms, of which the graphs have the offsets alone."""
    module = make(classes)
    offsets = sum(part.num_features for part in module.modules() if isinstance(part, nn.BatchNorm2d))
    assert offsets == EXPORTED_OFFSETS
    assert sum(parameter.numel() for parameter in module.parameters()) - 2 * offsets == EXPORTED_CONVOLUTIONS[classes]


def test_the_backbone_with_its_last_convolution_has_the_parameters_of_keras() -> None:
    """Published: MobileNetV2 of width 1 without its top."""
    network = ours(91)
    assert network.pyramid
    parts = [network.stem, network.stages, network.pyramid.get_submodule("last")]
    assert sum(parameter.numel() for part in parts for parameter in part.parameters()) == KERAS_MOBILENET_V2 - 34_112


@pytest.mark.parametrize(("size", "macs"), [("320", 985_034_496), ("640", 3_938_345_600)])
def test_cost_at_91_scores_is_that_of_the_definition(size: str, macs: int) -> None:
    """Defined anew: parameters and MACs of the plan, with the configuration's 90 classes and the background."""
    module, cost = defined_anew(91), plan(settings("mobilenetv2-fpnlite")).cost(size)
    assert cost.macs == macs == kernels_of(module, int(size))[1]
    assert cost.parameters == 2_626_746 == sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("width", [0.75, 1.0, 1.4])
@a_few
@given(st.integers(1, 12), st.integers(1, 4), st.integers(1, 4), SEEDS)
def test_outputs_are_those_of_the_definition(width: float, classes: int, rows: int, columns: int, seed: int) -> None:
    """Defined anew: p3 to p7, class scores and boxes for the same weights, where 32 divides both sides.

    Below 0.75 the configuration's `min_depth` widens the backbone, which we have no word for.
    """
    theirs = randomised(lambda: FPNLite(width, classes), seed)
    network = ours(classes, width)
    copy_state(theirs, network)
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(2, 3, 32 * rows, 32 * columns, dtype=torch.float64, generator=generator) * 2 - 1
    assert network.pyramid
    with torch.inference_mode(), outputs_of([network.pyramid]) as levels:
        found, expected = network(x), theirs(x)
    assert_equal([*levels[0], *found], [*expected.levels, expected.classes, expected.boxes])
