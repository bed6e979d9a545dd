"""The settings of a network. Whatever a person may say, in a file or on the command line, ends here."""

import re
from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from mnfpn_cli.settings.rounding import Rounding, scale_stage, scale_stem
from mnfpn_cli.settings.stages import MAX_CHANNELS, Channels, Stage, StageSettings

MAX_BLOCKS = 1000

MOBILENET_V2 = tuple(
    StageSettings(expansion=t, channels=c, repeats=n, stride=s)
    for t, c, n, s in (
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    )
)
"""The stages of MobileNetV2 (Sandler et al. 2018, table 2)."""


def read_levels(value: Any) -> Any:
    """Read ``p3-p5`` and ``p3,p5`` as the list of levels that they mean."""
    if not isinstance(value, str) or value == "all":
        return value
    bounds = re.fullmatch(r"p([0-9]{1,2}) *[-–] *p([0-9]{1,2})", value.strip())
    if bounds:  # a range that runs backwards names nothing, and stays text for validation to refuse
        return [f"p{k}" for k in range(int(bounds[1]), int(bounds[2]) + 1)] or value
    return [name.strip() for name in value.split(",")]


Upsample = Literal["bilinear", "nearest"]
LevelName = Annotated[str, Field(pattern=r"^p[1-9][0-9]?$", strict=True)]
LevelList = Annotated[list[LevelName], Field(min_length=1, json_schema_extra={"uniqueItems": True})]
LevelText = Annotated[str, Field(pattern=r"^(all|p[1-9][0-9]?( *[-–] *p[1-9][0-9]?|( *, *p[1-9][0-9]?)*))$")]
Levels = Annotated[
    Literal["all"] | tuple[LevelName, ...],
    BeforeValidator(read_levels, json_schema_input_type=LevelText | LevelList),
]


Stages = Annotated[tuple[Stage, ...], Field(min_length=1, max_length=100)]


class PyramidSettings(BaseModel):
    """The feature pyramid (Lin et al. 2017, "Feature Pyramid Networks for Object Detection", section 3)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    channels: Annotated[Channels, Field(description="Channels of every level.")] = 256
    upsample: Annotated[Upsample, Field(description="How the top-down path resizes a coarser level.")] = "bilinear"
    smooth: Annotated[
        Literal["conv", "separable", "none"],
        Field(description="Smoothing of each merged map: 3×3, depthwise 3×3 with 1×1 (FPNLite), or none."),
    ] = "conv"
    levels: Annotated[
        Levels,
        Field(description="'all', a range such as 'p3-p5', or a list. The pyramid is built on these levels alone."),
    ] = "all"


class NetworkSettings(BaseModel):
    """A MobileNetV2 backbone with a feature pyramid. The defaults are the preset mobilenetv2-fpn."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    in_channels: Annotated[Channels, Field(description="Channels of the input image.")] = 3
    stem_channels: Annotated[Channels, Field(description="Channels of the stem, at width 1.0.")] = 32
    width_mult: Annotated[
        float, Field(strict=True, gt=0, le=100, allow_inf_nan=False, description="Width multiplier.")
    ] = 1.0
    rounding: Annotated[Rounding, Field(description="How scaled channels become whole.")] = "nearest8"
    stages: Annotated[Stages, Field(description="The inverted residuals, in order.")] = MOBILENET_V2
    pyramid: PyramidSettings = PyramidSettings()

    @cached_property
    def taps(self) -> dict[str, int]:
        """The stage that each possible level is tapped from, finest level first.

        The stem's stride is 2, so the first stage of stride 2 opens p2. A level is tapped from the last stage
        before the next one of stride 2: the last, and strongest, feature map of that resolution.
        """
        taps: dict[str, int] = {}
        level = 1
        for index, stage in enumerate(self.stages):
            level += stage.stride == 2
            if level > 1:
                taps[f"p{level}"] = index
        return taps

    @property
    def levels(self) -> tuple[str, ...]:
        """The names of the pyramid's levels, finest first."""
        chosen = self.pyramid.levels
        return tuple(name for name in self.taps if chosen == "all" or name in chosen)

    @property
    def max_stride(self) -> int:
        """The stride of the coarsest level, in input pixels."""
        return level_stride(self.levels[-1])

    @model_validator(mode="after")
    def _check_widths(self) -> Self:
        places = [
            (
                "stem_channels",
                self.stem_channels,
                scale_stem(self.stem_channels, self.width_mult, self.rounding),
            )
        ]
        for index, s in enumerate(self.stages):
            scaled = scale_stage(s.channels, s.expansion, self.width_mult, self.rounding)
            places.append((f"stages[{index}].channels", s.channels, scaled))
        for where, channels, scaled in places:
            if not 1 <= scaled <= MAX_CHANNELS:
                rule = f"must be 1 to {MAX_CHANNELS} channels after scaling ({self.rounding})"
                raise _problem("width_mult", f"{where} {rule}", f"{channels} × {self.width_mult:g} = {scaled:g}")
        return self

    @model_validator(mode="after")
    def _check_stages(self) -> Self:
        blocks = sum(stage.repeats for stage in self.stages)
        if blocks > MAX_BLOCKS:
            raise _problem("stages", f"must have at most {MAX_BLOCKS} blocks in all", blocks)
        if not self.taps:
            raise _problem("stages", "must hold a stage of stride 2: each one gives the pyramid a level", "none")
        return self

    @model_validator(mode="after")
    def _check_levels(self) -> Self:
        chosen = self.pyramid.levels
        if chosen != "all":
            if not chosen or len(set(chosen)) < len(chosen):
                raise _problem(
                    "pyramid.levels",
                    "must name at least one level, and each once",
                    ",".join(chosen) or "none",
                )
            missing = [name for name in chosen if name not in self.taps]
            if missing:
                rule = f"must be among the levels that the stages give ({', '.join(self.taps)})"
                raise _problem("pyramid.levels", rule, ", ".join(missing))
        return self


def level_stride(name: str) -> int:
    """The nominal stride of a level: 2^k for ``pk``."""
    return 1 << int(name[1:])


def _problem(where: str, rule: str, got: object) -> PydanticCustomError:
    """An error about several fields at once, which pydantic itself could only place at the root."""
    return PydanticCustomError("network", "{rule}", {"where": where, "rule": rule, "got": got})
