"""The three conventions in use for rounding ``channels × width`` to a whole number of channels."""

from math import ceil
from typing import Literal

Rounding = Literal["nearest8", "ceil8", "truncate"]


def scale_channels(channels: int, width_mult: float, rounding: Rounding) -> int:
    """Scale a channel count by the width multiplier.

    * ``nearest8``: the nearest multiple of 8, at least 8, and never less than 90 % of the exact value
      (``_make_divisible`` of the TensorFlow models repository, and of torchvision and timm after it).
    * ``ceil8``: up to a multiple of 8 (tonylins/pytorch-mobilenet-v2).
    * ``truncate``: ``int(channels × width_mult)``; may be 0, which the settings refuse.
    """
    exact = channels * width_mult
    match rounding:
        case "nearest8":
            rounded = max(8, int(exact + 4) // 8 * 8)
            return rounded + 8 if rounded < 0.9 * exact else rounded
        case "ceil8":
            return ceil(exact / 8) * 8
        case "truncate":
            return int(exact)


def scale_stem(channels: int, width_mult: float, rounding: Rounding) -> int:
    """Scale the stem's channels; ``ceil8`` leaves them as they are."""
    return channels if rounding == "ceil8" else scale_channels(channels, width_mult, rounding)


def scale_stage(channels: int, expansion: int, width_mult: float, rounding: Rounding) -> int:
    """Scale a stage's channels; ``ceil8`` leaves a stage of expansion 1 as it is."""
    if rounding == "ceil8" and expansion == 1:
        return channels
    return scale_channels(channels, width_mult, rounding)


def scale_last(channels: int, width_mult: float, rounding: Rounding) -> int:
    """Scale the channels of the classifier's last convolution, which grow with widths above 1 and never shrink.

    ``ceil8`` rounds them only where they grow.
    """
    if rounding == "ceil8" and width_mult <= 1:
        return channels
    return scale_channels(channels, max(1.0, width_mult), rounding)
