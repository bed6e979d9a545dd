"""The preset mobilenetv2-fpnlite is TensorFlow's SSD MobileNetV2 FPNLite.

Nobody publishes its parameters and MACs, so what is held against what is said in each test:

* *published*: exported graphs, which list each kernel and each operation, and the sizes that Keras documents;
* *defined anew*: `tensorflow_fpnlite`, a torch definition after the configuration and the classes that it names. Once,
  by hand, it was given the trained weights of the exported graph at 320×320 (as int8) and an image: p3 to p7, class
  scores and boxes of all levels were the same to 5e-15 of the largest value.
"""

from collections import Counter

import pytest
import torch
from torch import nn

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


@pytest.mark.parametrize("size", EXPORTED_MACS)
def test_the_definition_of_the_tests_has_the_kernels_of_the_published_graphs(size: int) -> None:
    """Published: each kernel as often, at the same strides, the MACs, and as many anchors and scores."""
    module = defined_anew(EXPORTED_CLASSES)
    assert kernels_of(module, size) == (EXPORTED, EXPORTED_MACS[size])
    outputs = module(torch.empty(1, 3, size, size, device="meta"))
    assert outputs.classes.shape == (1, EXPORTED_ANCHORS[size], EXPORTED_CLASSES)
    assert outputs.boxes.shape == (1, EXPORTED_ANCHORS[size], 4)


@pytest.mark.parametrize("classes", EXPORTED_CONVOLUTIONS)
def test_the_definition_of_the_tests_has_the_parameters_of_the_published_graphs(classes: int) -> None:
    """Published: those of convolutions, of norms, and of Keras's backbone."""
    module = defined_anew(classes)
    norms = [part for part in module.modules() if isinstance(part, nn.BatchNorm2d)]
    offsets = sum(norm.num_features for norm in norms)
    assert offsets == EXPORTED_OFFSETS
    assert sum(parameter.numel() for parameter in module.parameters()) - 2 * offsets == EXPORTED_CONVOLUTIONS[classes]
    backbone = [*module.blocks.parameters(), *module.last.parameters()]
    assert sum(parameter.numel() for parameter in backbone) == KERAS_MOBILENET_V2 - 34_112
