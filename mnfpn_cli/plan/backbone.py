"""The backbone worked out: the stem, and the stages of blocks.

Sources: Sandler et al. 2018, "MobileNetV2: Inverted Residuals and Linear Bottlenecks", section 3 and table 2; He et
al. 2016, "Deep Residual Learning for Image Recognition", section 4.1 and table 1.
"""

from dataclasses import dataclass

from mnfpn_cli.plan.blocks import BOTTLENECK_EXPANSION, BlockPlan, bottleneck, inverted_residual
from mnfpn_cli.plan.layers import Activation, ConvPlan
from mnfpn_cli.settings.backbones import MobileNetV2Settings, ResNetSettings
from mnfpn_cli.settings.models import NetworkSettings
from mnfpn_cli.settings.rounding import scale_channels, scale_stage, scale_stem


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


def plan_backbone(settings: NetworkSettings, last_stage: int | None = None) -> BackbonePlan:
    """Work out the backbone, up to a stage and with it, or all of it."""
    stages = None if last_stage is None else last_stage + 1
    channels = scale_stem(settings.stem_channels, settings.width_mult, settings.rounding)
    backbone = settings.backbone
    if isinstance(backbone, ResNetSettings):
        stem = ConvPlan(settings.in_channels, channels, kernel=7, stride=2, norm=True, activation="relu")
        return BackbonePlan(
            stem, True, _plan_resnet(settings, backbone.blocks[:stages], channels), "relu", conv_bias=False
        )
    bare, bias = backbone.bare_stem, backbone.conv_bias
    activation: Activation | None = None if bare else "relu6"
    stem = ConvPlan(settings.in_channels, channels, 3, 2, bias=bare or bias, norm=not bare, activation=activation)
    return BackbonePlan(stem, False, _plan_mobilenet_v2(settings, backbone, stages, channels), "relu6", bias)


def _plan_mobilenet_v2(
    settings: NetworkSettings, backbone: MobileNetV2Settings, count: int | None, channels: int
) -> tuple[StagePlan, ...]:
    stages = []
    for stage in (settings.stages or ())[:count]:
        width = scale_stage(stage.channels, stage.expansion, settings.width_mult, settings.rounding)
        first = inverted_residual(channels, width, stage.expansion, stage.stride, backbone)
        blocks: tuple[BlockPlan, ...] = (first,)
        if stage.repeats > 1:  # the repeats are equal, and frozen: one plan stands for all of them
            blocks += (inverted_residual(width, width, stage.expansion, 1, backbone),) * (stage.repeats - 1)
        stages.append(StagePlan(blocks, stage.stride))
        channels = width
    return tuple(stages)


def _plan_resnet(settings: NetworkSettings, repeats_of_stages: tuple[int, ...], channels: int) -> tuple[StagePlan, ...]:
    stages = []
    for index, repeats in enumerate(repeats_of_stages):
        stride = 1 if index == 0 else 2
        width = scale_channels(settings.stem_channels << index, settings.width_mult, settings.rounding)
        blocks: tuple[BlockPlan, ...] = (bottleneck(channels, width, stride),)
        channels = width * BOTTLENECK_EXPANSION
        if repeats > 1:
            blocks += (bottleneck(channels, width, 1),) * (repeats - 1)
        stages.append(StagePlan(blocks, stride))
    return tuple(stages)
