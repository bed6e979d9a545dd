"""Channels scaled by the width multiplier, and made whole."""

from math import ceil
from typing import NamedTuple

from mnfpn_cli.settings.backbones import MAX_CHANNELS, ResNetSettings, Rounding
from mnfpn_cli.settings.heads import ClassifierHead
from mnfpn_cli.settings.network import NetworkSettings
from mnfpn_cli.settings.problems import SettingsError


def scale_channels(channels: int, width_mult: float, rounding: Rounding) -> int:
    """Scale a channel count by the width multiplier.

    * ``nearest8``: the nearest multiple of 8, at least 8, and never less than 90 % of the exact value
      (``_make_divisible`` of the TensorFlow models repository, and of torchvision and timm after it).
    * ``ceil8``: up to a multiple of 8 (tonylins/pytorch-mobilenet-v2).
    * ``truncate``: ``int(channels × width_mult)``; may be 0, which `plan_widths` refuses.
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


class Widths(NamedTuple):
    """The channels of the stem, of each stage (of a resnet: of its bottlenecks), and of the head's last convolution."""

    stem: int
    stages: tuple[int, ...]
    last: int | None


def plan_widths(settings: NetworkSettings) -> Widths:
    """Scale all channels that go by the width multiplier.

    Raises:
        SettingsError: where a layer would have none, or too many.
    """
    width, rounding = settings.width_mult, settings.rounding

    def checked(where: str, channels: int, scaled: int) -> int:
        if 1 <= scaled <= MAX_CHANNELS:
            return scaled
        rule = f"{where} must be 1 to {MAX_CHANNELS} channels after scaling ({rounding})"
        raise SettingsError("width_mult", rule, f"{channels} × {width:g} = {scaled:g}")

    stem = checked("stem_channels", settings.stem_channels, scale_stem(settings.stem_channels, width, rounding))
    stages = [
        checked(f"stages[{k}].channels", row.channels, scale_stage(row.channels, row.expansion, width, rounding))
        for k, row in enumerate(settings.stages or ())
    ]
    if isinstance(settings.backbone, ResNetSettings):
        for k in range(len(settings.backbone.blocks)):
            channels = settings.stem_channels << k
            where = f"the bottlenecks of backbone.blocks[{k}]"
            stages.append(checked(where, channels, scale_channels(channels, width, rounding)))
    last = None
    if isinstance(settings.head, ClassifierHead) and settings.head.last_channels:
        channels = settings.head.last_channels
        last = checked("head.last_channels", channels, scale_last(channels, width, rounding))
    return Widths(stem, tuple(stages), last)
