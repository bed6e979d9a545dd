"""The backbone worked out: the stem, and the stages of blocks.

Sources: Sandler et al. 2018, "MobileNetV2: Inverted Residuals and Linear Bottlenecks", section 3 and table 2; He et
al. 2016, "Deep Residual Learning for Image Recognition", section 4.1 and table 1.
"""

from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

from mnfpn_cli.plan.blocks import BOTTLENECK_EXPANSION, BlockPlan, bottleneck, inverted_residual
from mnfpn_cli.plan.layers import Activation, ConvPlan
from mnfpn_cli.settings.backbones import Backbone, MobileNetV2Settings, ResNetSettings
from mnfpn_cli.settings.models import NetworkSettings
from mnfpn_cli.settings.rounding import Rounding, scale_channels, scale_stage, scale_stem
from mnfpn_cli.settings.stages import StageSettings


@dataclass(frozen=True, slots=True)
class StagePlan:
    """Blocks in a row; the first has the stage's stride."""

    blocks: tuple[BlockPlan, ...]
    stride: int

    @property
    def out_channels(self) -> int:
        """Channels of the stage's last feature map."""
        return self.blocks[-1].out_channels


@dataclass(frozen=True, slots=True)
class BackbonePlan:
    """The stem, perhaps with 3×3 max-pooling of stride 2, and the stages that something behind them needs.

    ``activation`` and ``conv_bias`` are those of the backbone's convolutions, for a last one that a head adds.
    """

    stem: ConvPlan
    stem_pool: bool
    stages: tuple[StagePlan, ...]
    activation: Activation
    conv_bias: bool
    _hash: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_hash", hash((self.stem, self.stem_pool, self.stages)))

    def __hash__(self) -> int:
        """Worked out once: it goes through every convolution, and what is remembered of a backbone is found by it."""
        return self._hash


def plan_backbone(settings: NetworkSettings, last_stage: int | None = None) -> BackbonePlan:
    """Work out the backbone, up to a stage and with it, or all of it."""
    return _plan(
        settings.backbone,
        settings.in_channels,
        settings.stages or (),
        _Width(settings.stem_channels, settings.width_mult, settings.rounding),
        None if last_stage is None else last_stage + 1,
    )


class _Width(NamedTuple):
    """What the channels of a backbone follow from, besides its stages."""

    stem_channels: int
    width_mult: float
    rounding: Rounding


# A sweep asks for the same backbone under each of its pyramids; all that it depends on is in the key.
@lru_cache(maxsize=256)
def _plan(
    backbone: Backbone, in_channels: int, rows: tuple[StageSettings, ...], width: _Width, stages: int | None
) -> BackbonePlan:
    channels = scale_stem(*width)
    if isinstance(backbone, ResNetSettings):
        stem = ConvPlan(in_channels, channels, kernel=7, stride=2, norm=True, activation="relu")
        return BackbonePlan(stem, True, _plan_resnet(width, backbone.blocks[:stages], channels), "relu", False)
    bare, bias = backbone.bare_stem, backbone.conv_bias
    activation: Activation | None = None if bare else "relu6"
    stem = ConvPlan(in_channels, channels, 3, 2, bias=bare or bias, norm=not bare, activation=activation)
    return BackbonePlan(stem, False, _plan_mobilenet_v2(width, backbone, rows[:stages], channels), "relu6", bias)


def _plan_mobilenet_v2(
    width: _Width, backbone: MobileNetV2Settings, rows: tuple[StageSettings, ...], channels: int
) -> tuple[StagePlan, ...]:
    stages = []
    for row in rows:
        out = scale_stage(row.channels, row.expansion, width.width_mult, width.rounding)
        blocks: tuple[BlockPlan, ...] = (inverted_residual(channels, out, row.expansion, row.stride, backbone),)
        if row.repeats > 1:  # the repeats are equal, and frozen: one plan stands for all of them
            blocks += (inverted_residual(out, out, row.expansion, 1, backbone),) * (row.repeats - 1)
        stages.append(StagePlan(blocks, row.stride))
        channels = out
    return tuple(stages)


def _plan_resnet(width: _Width, repeats_of_stages: tuple[int, ...], channels: int) -> tuple[StagePlan, ...]:
    stages = []
    for index, repeats in enumerate(repeats_of_stages):
        stride = 1 if index == 0 else 2
        middle = scale_channels(width.stem_channels << index, width.width_mult, width.rounding)
        blocks: tuple[BlockPlan, ...] = (bottleneck(channels, middle, stride),)
        channels = middle * BOTTLENECK_EXPANSION
        if repeats > 1:
            blocks += (bottleneck(channels, middle, 1),) * (repeats - 1)
        stages.append(StagePlan(blocks, stride))
    return tuple(stages)
