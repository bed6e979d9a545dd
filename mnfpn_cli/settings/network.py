"""The settings of a network. Whatever a person may say, in a file or on the command line, ends here."""

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from mnfpn_cli.settings.backbones import (
    MOBILENET_V2,
    RESNET_STEM_CHANNELS,
    Backbone,
    Channels,
    MobileNetV2Settings,
    Rounding,
    Stage,
    unit,
)
from mnfpn_cli.settings.heads import Head, LevelClassifiersHead, NoHead
from mnfpn_cli.settings.input import Size
from mnfpn_cli.settings.pyramid import PyramidSettings

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
        float,
        Field(strict=True, gt=0, le=100, allow_inf_nan=False),
        unit("ratio"),
        Field(description="Width multiplier: what the channels of the stem and of all stages are scaled by."),
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


def kind_of(values: Mapping[str, Any], part: str) -> Any:
    """The ``kind`` of a part of settings that nothing has checked yet."""
    found = values.get(part)
    return found.get("kind") if isinstance(found, Mapping) else getattr(found, "kind", None)
