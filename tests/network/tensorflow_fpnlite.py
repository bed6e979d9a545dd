"""SSD MobileNetV2 FPNLite as TensorFlow's Object Detection API builds it, defined anew in torch, apart from our code.

What is built follows the configurations `ssd_mobilenet_v2_fpnlite_320x320_coco17_tpu-8` and `…_640x640_…` and the
classes that these name: `SSDMobileNetV2FpnKerasFeatureExtractor`, `KerasFpnTopDownFeatureMaps` and
`WeightSharedConvolutionalBoxPredictor`.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - as torch's documentation names it

STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
"""Expansion, channels, blocks and stride (Sandler et al. 2018, "MobileNetV2", table 2)."""

LEVELS = 5
"""p3 to p7: `min_level` and `max_level`."""

DEPTH = 128
"""`additional_layer_depth` of the pyramid, which the width scales, and `depth` of the predictor, which it does not."""

LAYERS = 4
"""`num_layers_before_predictor`."""

ANCHORS = 6
"""Two scales and three ratios a place: `scales_per_octave` and `aspect_ratios`."""

LEAST = 16
"""`min_depth`: channels of the stem, of a stage and of a level."""

EPSILON = 1e-3
"""`batch_norm.epsilon`, in the backbone too."""


class Conv(nn.Conv2d):
    """A convolution with TensorFlow's padding `SAME`: the odd pixel goes to the bottom and the right."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, c, h, w) to (n, d, h / stride, w / stride), rounded up."""
        (kernel, _), (stride, _) = self.kernel_size, self.stride
        missing = [max((-(-side // stride) - 1) * stride + kernel - side, 0) for side in (x.shape[3], x.shape[2])]
        around = [pixels for total in missing for pixels in (total // 2, total - total // 2)]
        return F.conv2d(F.pad(x, around), self.weight, self.bias, stride, 0, 1, self.groups)


def depthwise(channels: int, stride: int = 1) -> Conv:
    """Build a depthwise 3×3, without a bias."""
    return Conv(channels, channels, 3, stride, groups=channels, bias=False)


def norm(channels: int) -> nn.BatchNorm2d:
    """Build a batch norm."""
    return nn.BatchNorm2d(channels, eps=EPSILON)


def separable(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """Build a separable 3×3 with norm and ReLU6 behind it, but nothing between its two convolutions."""
    return nn.Sequential(depthwise(inputs, stride), Conv(inputs, outputs, 1, bias=False), norm(outputs), nn.ReLU6())


def divisible(channels: float) -> int:
    """Round to a multiple of 8, at least 8, and never more than a tenth below."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


class Block(nn.Module):
    """An inverted residual; whether it has one is decided before `min_depth` widens it, as Keras does."""

    def __init__(self, inputs: int, wanted: int, expansion: int, stride: int):
        super().__init__()
        hidden, outputs = inputs * expansion, max(wanted, LEAST)
        expand = [Conv(inputs, hidden, 1, bias=False), norm(hidden), nn.ReLU6()] if expansion > 1 else []
        self.layers = nn.Sequential(
            *expand,
            *(depthwise(hidden, stride), norm(hidden), nn.ReLU6()),
            *(Conv(hidden, outputs, 1, bias=False), norm(outputs)),
        )
        self.residual = stride == 1 and inputs == wanted
        self.out_channels = outputs

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, inputs, h, w) to (n, outputs, h / stride, w / stride)."""
        y: Tensor = self.layers(x)
        return x + y if self.residual else y


class Outputs(NamedTuple):
    """Of all levels, finest first: class scores (n, anchors, classes), boxes (n, anchors, 4), and the maps p3 to p7."""

    classes: Tensor
    boxes: Tensor
    levels: Sequence[Tensor]


class FPNLite(nn.Module):
    """The detector: the backbone up to `Conv_1`, the pyramid, and the predictor that all levels share."""

    def __init__(self, width: float = 1.0, classes: int = 91):
        super().__init__()
        stem, depth = max(divisible(32 * width), LEAST), max(int(DEPTH * width), LEAST)
        last = divisible(1280 * min(width, 1))
        blocks: list[nn.Module] = [nn.Sequential(Conv(3, stem, 3, 2, bias=False), norm(stem), nn.ReLU6())]
        widths = [stem]
        for expansion, outputs, repeats, stride in STAGES:
            for repeat in range(repeats):
                block = Block(widths[-1], divisible(int(outputs * width)), expansion, 1 if repeat else stride)
                blocks.append(block)
                widths.append(block.out_channels)
        self.blocks = nn.ModuleList(blocks)
        self.projections = nn.ModuleList(Conv(tap, depth, 1) for tap in (widths[6], widths[13], last))
        self.smoothing = nn.ModuleList(separable(depth, depth) for _ in range(2))
        self.coarser = nn.ModuleList(separable(depth, depth, stride=2) for _ in range(2))
        self.last = nn.Sequential(Conv(widths[-1], last, 1, bias=False), norm(last), nn.ReLU6())
        self.tower = nn.ModuleList(
            nn.Sequential(depthwise(channels), Conv(channels, DEPTH, 1, bias=False))
            for channels in (depth, *[DEPTH] * (LAYERS - 1))
        )
        self.classes = nn.Sequential(depthwise(DEPTH), Conv(DEPTH, ANCHORS * classes, 1))
        self.boxes = nn.Sequential(depthwise(DEPTH), Conv(DEPTH, ANCHORS * 4, 1))
        self.norms = nn.ModuleList(nn.ModuleList(norm(DEPTH) for _ in range(LAYERS)) for _ in range(LEVELS))

    def forward(self, x: Tensor) -> Outputs:
        """Map images (n, 3, h, w), -1 to 1, of sides that 32 divides, to class scores and boxes."""
        maps = self.levels(x)
        predicted = [self.predicted(level, features) for level, features in enumerate(maps)]
        return Outputs(
            classes=torch.cat([ordered(classes) for classes, _ in predicted], dim=1),
            boxes=torch.cat([ordered(boxes) for _, boxes in predicted], dim=1),
            levels=maps,
        )

    def levels(self, x: Tensor) -> list[Tensor]:
        """Return p3 to p7; p5 is its projection alone, and the smoothed p4 goes down to p3."""
        taps = []
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in (6, 13):  # of 32 and of 96 channels, at strides 8 and 16
                taps.append(x)
        p3, p4, p5 = (project(tap) for project, tap in zip(self.projections, [*taps, self.last(x)], strict=True))
        p4 = self.smoothing[1](p4 + doubled(p5))
        p3 = self.smoothing[0](p3 + doubled(p4))
        p6 = self.coarser[0](p5)
        return [p3, p4, p5, p6, self.coarser[1](p6)]

    def predicted(self, level: int, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the maps of class scores and boxes of a level: convolutions of all, norms of its own."""
        norms = self.norms[level]
        assert isinstance(norms, nn.ModuleList)
        for layer, own in zip(self.tower, norms, strict=True):
            x = F.relu6(own(layer(x)))
        return self.classes(x), self.boxes(x)


def doubled(x: Tensor) -> Tensor:
    """Repeat each pixel twice in both directions."""
    return x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)


def ordered(x: Tensor) -> Tensor:
    """Map (n, 6 × values, h, w) to (n, h × w × 6, values): the anchors of a place one after the other."""
    return x.permute(0, 2, 3, 1).reshape(x.shape[0], -1, x.shape[1] // ANCHORS)
