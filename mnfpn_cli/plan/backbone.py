"""MobileNetV2 worked out: the stem, and the stages of inverted residual blocks.

Source: Sandler et al. 2018, "MobileNetV2: Inverted Residuals and Linear Bottlenecks", section 3 and table 2.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from mnfpn_cli.plan.layers import ConvPlan
from mnfpn_cli.settings.models import NetworkSettings
from mnfpn_cli.settings.rounding import scale_stage, scale_stem
from mnfpn_cli.settings.stages import StageSettings


@dataclass(frozen=True, slots=True)
class BlockPlan:
    """An inverted residual: expand (absent at expansion 1), filter depthwise, project without activation."""

    expand: ConvPlan | None
    depthwise: ConvPlan
    project: ConvPlan
    residual: bool

    def convs(self) -> Iterator[tuple[str, ConvPlan]]:
        """The convolutions in the order in which they run, by name."""
        if self.expand:
            yield "expand", self.expand
        yield "depthwise", self.depthwise
        yield "project", self.project


@dataclass(frozen=True, slots=True)
class StagePlan:
    """The blocks of one row of the table; the first has the stage's stride."""

    blocks: tuple[BlockPlan, ...]

    @property
    def out_channels(self) -> int:
        """Channels of the stage's last feature map."""
        return self.blocks[-1].project.out_channels


@dataclass(frozen=True, slots=True)
class BackbonePlan:
    """The stem and the stages that some level of the pyramid needs."""

    stem: ConvPlan
    stages: tuple[StagePlan, ...]


def plan_backbone(settings: NetworkSettings) -> BackbonePlan:
    """Work out the backbone, up to the last stage that a level of the pyramid is tapped from."""
    channels = scale_stem(settings.stem_channels, settings.width_mult, settings.rounding)
    stem = ConvPlan(settings.in_channels, channels, kernel=3, stride=2, norm=True, activation="relu6")
    stages = []
    for stage in settings.stages[: settings.taps[settings.levels[-1]] + 1]:
        width = scale_stage(stage.channels, stage.expansion, settings.width_mult, settings.rounding)
        stages.append(_plan_stage(stage, channels, width))
        channels = width
    return BackbonePlan(stem, tuple(stages))


def _plan_stage(stage: StageSettings, in_channels: int, width: int) -> StagePlan:
    first = _plan_block(in_channels, width, stage.expansion, stage.stride)
    if stage.repeats == 1:
        return StagePlan((first,))
    # The repeats are equal, and frozen: one plan stands for all of them.
    return StagePlan((first, *[_plan_block(width, width, stage.expansion, 1)] * (stage.repeats - 1)))


def _plan_block(in_channels: int, out_channels: int, expansion: int, stride: int) -> BlockPlan:
    hidden = in_channels * expansion
    expand = ConvPlan(in_channels, hidden, kernel=1, norm=True, activation="relu6") if expansion > 1 else None
    depthwise = ConvPlan(hidden, hidden, kernel=3, stride=stride, groups=hidden, norm=True, activation="relu6")
    project = ConvPlan(hidden, out_channels, kernel=1, norm=True)
    return BlockPlan(expand, depthwise, project, residual=stride == 1 and in_channels == out_channels)
