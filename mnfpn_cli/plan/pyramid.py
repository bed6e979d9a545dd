"""The feature pyramid worked out: for each level its tap, its lateral and its smoothing.

Sources: Lin et al. 2017, "Feature Pyramid Networks for Object Detection", section 3; the separable smoothing of
FPNLite is that of the TensorFlow Object Detection API, a depthwise 3×3 and a 1×1 with the one bias of the pair.
"""

from dataclasses import dataclass

from mnfpn_cli.plan.backbone import BackbonePlan
from mnfpn_cli.plan.layers import ConvPlan
from mnfpn_cli.settings.models import NetworkSettings, PyramidSettings, Upsample, level_stride


@dataclass(frozen=True, slots=True)
class SeparablePlan:
    """A 3×3 convolution parted into a depthwise 3×3 and a 1×1."""

    depthwise: ConvPlan
    pointwise: ConvPlan


@dataclass(frozen=True, slots=True)
class LevelPlan:
    """One level: the stage it is tapped from, and the layers that make it."""

    name: str
    stride: int
    stage: int
    lateral: ConvPlan
    smooth: ConvPlan | SeparablePlan | None


@dataclass(frozen=True, slots=True)
class PyramidPlan:
    """The levels, finest first, and how a coarser one is resized on its way down."""

    levels: tuple[LevelPlan, ...]
    upsample: Upsample


def plan_pyramid(settings: NetworkSettings, backbone: BackbonePlan) -> PyramidPlan:
    """Work out the pyramid on the levels that the settings choose."""
    smooth = _plan_smooth(settings.pyramid)
    levels = []
    for name in settings.levels:
        stage = settings.taps[name]
        lateral = ConvPlan(backbone.stages[stage].out_channels, settings.pyramid.channels, kernel=1, bias=True)
        levels.append(LevelPlan(name, level_stride(name), stage, lateral, smooth))
    return PyramidPlan(tuple(levels), settings.pyramid.upsample)


def _plan_smooth(pyramid: PyramidSettings) -> ConvPlan | SeparablePlan | None:
    width = pyramid.channels
    match pyramid.smooth:
        case "conv":
            return ConvPlan(width, width, kernel=3, bias=True)
        case "separable":
            return SeparablePlan(
                depthwise=ConvPlan(width, width, kernel=3, groups=width),
                pointwise=ConvPlan(width, width, kernel=1, bias=True),
            )
        case "none":
            return None
