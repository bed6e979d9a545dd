"""The settings of a network. Whatever a person may say, in a file or on the command line, ends here."""

from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from mnfpn_cli.settings.backbones import (
    MOBILENET_V2,
    RESNET_STEM_CHANNELS,
    Backbone,
    Channels,
    MobileNetV2Settings,
    ResNetSettings,
    Rounding,
    Stage,
)
from mnfpn_cli.settings.heads import Head, LevelClassifiersHead, NoHead
from mnfpn_cli.settings.input import Size
from mnfpn_cli.settings.pyramid import PyramidSettings
from mnfpn_cli.settings.rules import check_network

EXTRA_LEVELS = {"none": 0, "maxpool": 1, "conv": 2, "separable": 2}
"""How many extra levels 'all' means: as many as torchvision's LastLevelMaxPool and LastLevelP6P7 add."""

Stages = Annotated[tuple[Stage, ...], Field(min_length=1, max_length=100)]


class NetworkSettings(BaseModel):
    """A backbone with a feature pyramid, a head, or both. The defaults are the preset mobilenetv2-fpn."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    in_channels: Annotated[Channels, Field(description="Channels of the input image.")] = 3
    backbone: Annotated[Backbone, Field(description="Which backbone, and what it has of its own.")] = (
        MobileNetV2Settings()
    )
    stem_channels: Annotated[
        Channels, Field(description="Channels of the stem, at width 1.0; 64 for a resnet, whose stages go by them.")
    ] = 32
    width_mult: Annotated[
        float, Field(strict=True, gt=0, le=100, allow_inf_nan=False, description="Width multiplier.")
    ] = 1.0
    rounding: Annotated[Rounding, Field(description="How scaled channels become whole.")] = "nearest8"
    stages: Annotated[
        Stages | None, Field(description="The inverted residuals of mobilenet_v2, in order; null for a resnet.")
    ] = MOBILENET_V2
    pyramid: Annotated[
        PyramidSettings | None, Field(description="The feature pyramid; null where the head classifies without one.")
    ] = PyramidSettings()
    head: Annotated[Head, Field(description="What follows the pyramid, or the backbone.")] = NoHead()

    @model_validator(mode="before")
    @classmethod
    def _defaults_of_the_kinds(cls, values: Any) -> Any:
        """What is left out, or null, is the default of the chosen kind of backbone and head."""
        if not isinstance(values, Mapping):
            return values
        given = dict(values)
        if given.get("stages", 0) is None:
            del given["stages"]
        if kind_of(given, "backbone") == "resnet":
            given = {"stem_channels": RESNET_STEM_CHANNELS, "stages": None, **given}
        if kind_of(given, "head") == "classifier":
            given = {"pyramid": None, **given}
            head = given["head"]
            if kind_of(given, "backbone") == "resnet" and isinstance(head, Mapping):
                given["head"] = {"last_channels": None, **head}
        return given

    @model_validator(mode="after")
    def _check_what_depends_on_each_other(self) -> Self:
        check_network(self)
        return self

    @property
    def strides(self) -> tuple[int, ...]:
        """The stride of each stage; that of a resnet's first is its max-pooling's."""
        if isinstance(self.backbone, ResNetSettings):
            return (2,) * len(self.backbone.blocks)
        return tuple(stage.stride for stage in self.stages or ())

    @cached_property
    def taps(self) -> dict[str, int]:
        """The stage that each possible level is tapped from, finest level first.

        The stem's stride is 2, so the first stage of stride 2 opens p2. A level is tapped from the last stage
        before the next one of stride 2, the strongest feature map of that resolution, or from the first. Where the
        last stage is averaged to be the top of the pyramid, it is no tap.
        """
        strides, taps, level = self.strides, dict[str, int](), 1
        if self.pyramid and self.pyramid.top == "pool":
            strides = strides[:-1]
        last = self.pyramid is None or self.pyramid.taps == "last"
        for index, stride in enumerate(strides):
            level += stride == 2
            if level > 1 and (last or stride == 2):
                taps[f"p{level}"] = index
        return taps

    @cached_property
    def tap_levels(self) -> tuple[str, ...]:
        """The names of the pyramid's levels that are built on taps, finest first."""
        if self.pyramid is None:
            return ()
        chosen = self.pyramid.levels
        return tuple(name for name in self.taps if chosen == "all" or name in chosen)

    @cached_property
    def extra_levels(self) -> tuple[str, ...]:
        """The names of the levels beyond the taps, finest first."""
        if self.pyramid is None:
            return ()
        coarsest, chosen = int(list(self.taps)[-1][1:]), self.pyramid.levels
        if chosen == "all":
            return tuple(f"p{coarsest + k}" for k in range(1, EXTRA_LEVELS[self.pyramid.extra] + 1))
        return tuple(sorted((name for name in chosen if name not in self.taps), key=level_stride))

    @property
    def levels(self) -> tuple[str, ...]:
        """The names of the pyramid's levels, finest first; a pooled top is the last."""
        top = ("top",) if self.pyramid and self.pyramid.top == "pool" else ()
        return self.tap_levels + self.extra_levels + top

    @property
    def last_stage(self) -> int:
        """The last stage that is needed: the coarsest tap's, or the last of all where a top or a head takes it."""
        if self.pyramid is None or self.pyramid.top == "pool":
            return len(self.strides) - 1
        return self.taps[self.tap_levels[-1]]

    @property
    def backbone_stride(self) -> int:
        """The stride of the coarsest map of the backbone, in input pixels."""
        return 2 << sum(stride == 2 for stride in self.strides[: self.last_stage + 1])

    @property
    def made_for(self) -> Size | None:
        """The one size of images that the network takes; None where it takes any."""
        return self.head.made_for if isinstance(self.head, LevelClassifiersHead) else None

    def at(self, size: Size) -> Self:
        """These settings, with a head that has to be made for a size made for this one, unless it is for another."""
        head = self.head
        if isinstance(head, LevelClassifiersHead) and head.pool == "none" and head.size is None:
            return self.model_copy(update={"head": head.model_copy(update={"size": str(size)})})
        return self


def level_stride(name: str) -> int:
    """The nominal stride of a level: 2^k for ``pk``."""
    return 1 << int(name[1:])


def kind_of(values: Mapping[str, Any], part: str) -> Any:
    """The ``kind`` of a part of settings that nothing has checked yet."""
    found = values.get(part)
    return found.get("kind") if isinstance(found, Mapping) else getattr(found, "kind", None)
