"""The feature pyramid: which levels, what they are built on, and how they are merged and smoothed."""

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from mnfpn_cli.settings.backbones import Channels, Switch


def read_levels(value: Any) -> Any:
    """Read ``p3-p5`` and ``p3,p5`` as the list of levels that they mean."""
    if not isinstance(value, str) or value == "all":
        return value
    bounds = re.fullmatch(r"p([0-9]{1,2}) *[-–] *p([0-9]{1,2})", value.strip())
    if bounds:  # a range that runs backwards names nothing, and stays text for validation to refuse
        return [f"p{k}" for k in range(int(bounds[1]), int(bounds[2]) + 1)] or value
    return [name.strip() for name in value.split(",")]


Upsample = Literal["bilinear", "nearest"]
Merge = Literal["add", "concat"]
Extra = Literal["none", "maxpool", "conv", "separable"]
LEVEL = "p[1-9][0-9]?"
"""How the name of a level is written."""

LevelName = Annotated[str, Field(pattern=f"^{LEVEL}$", strict=True)]
LevelList = Annotated[list[LevelName], Field(min_length=1, json_schema_extra={"uniqueItems": True})]
LevelText = Annotated[str, Field(pattern=r"^(all|p[1-9][0-9]?( *[-–] *p[1-9][0-9]?|( *, *p[1-9][0-9]?)*))$")]
Levels = Annotated[
    Literal["all"] | tuple[LevelName, ...],
    BeforeValidator(read_levels, json_schema_input_type=LevelText | LevelList),
]


class PyramidSettings(BaseModel):
    """The feature pyramid (Lin et al. 2017, "Feature Pyramid Networks for Object Detection", section 3)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    channels: Annotated[Channels, Field(description="Channels of every level.")] = 256
    levels: Annotated[
        Levels,
        Field(description="'all', a range such as 'p3-p5', or a list. The pyramid is built on these levels alone."),
    ] = "all"
    taps: Annotated[
        Literal["last", "first"],
        Field(description="Which stage of each resolution is tapped: the last, or the first, whose stride is 2."),
    ] = "last"
    top: Annotated[
        Literal["lateral", "pool"],
        Field(description="Where the top-down path starts: at the coarsest tap, or at the last stage averaged to 1×1."),
    ] = "lateral"
    merge: Annotated[Merge, Field(description="A lateral and the coarser map are added, or concatenated.")] = "add"
    upsample: Annotated[Upsample, Field(description="How the top-down path resizes a coarser level.")] = "bilinear"
    smooth: Annotated[
        Literal["conv", "separable", "none"],
        Field(description="Smoothing of merged maps: 3×3, depthwise 3×3 with 1×1 (FPNLite), or none."),
    ] = "conv"
    smooth_levels: Annotated[
        Literal["all", "merged"],
        Field(description="Which maps are smoothed: all, or those that something was merged into."),
    ] = "all"
    smooth_shared: Annotated[Switch, Field(description="One smoothing for all levels, instead of one for each.")] = (
        False
    )
    extra: Annotated[
        Extra,
        Field(description="Levels beyond the taps, each half of the one before: none, max-pooled, 3×3, or separable."),
    ] = "none"
    extra_from: Annotated[
        Literal["map", "tap"],
        Field(description="What the first extra level is made of: the coarsest level's map, or its tap."),
    ] = "map"
    extra_relu: Annotated[Switch, Field(description="ReLU between one extra level and the next.")] = False
