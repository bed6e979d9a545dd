"""Settings of a network: its pyramid, its head, and `NetworkSettings`, which holds them and the backbone."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from mnfpn_cli.errors import UsageError
from mnfpn_cli.settings.backbones import (
    MOBILENET_V2,
    RESNET_STEM_CHANNELS,
    Backbone,
    Channels,
    MobileNetV2Settings,
    Rounding,
    SpelledStage,
    Switch,
    unit,
    with_kind,
)
from mnfpn_cli.settings.detection import (
    POSTPROCESS,
    DetectionSettings,
    FCOSHead,
    PostprocessSettings,
    PreprocessSettings,
    RetinaNetHead,
    RPNHead,
    SSDHead,
    SSDLiteHead,
)
from mnfpn_cli.settings.input import MAX_SIDE, Size, parse_size


def read_levels(value: Any) -> Any:
    """Convert ``p3-p5`` and ``p3,p5`` to a list of levels."""
    if not isinstance(value, str) or value == "all":
        return value
    bounds = re.fullmatch(r"p([0-9]{1,2}) *[-–] *p([0-9]{1,2})", value.strip())
    if bounds:  # an empty range, as p5-p3, stays text, which validation refuses
        return [f"p{k}" for k in range(int(bounds[1]), int(bounds[2]) + 1)] or value
    return [name.strip() for name in value.split(",")]


Upsample = Literal["bilinear", "nearest"]
Merge = Literal["add", "concat"]
Extra = Literal["none", "maxpool", "conv", "separable"]
LEVEL = "p[1-9][0-9]?"
"""The pattern of a level's name."""

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
    scaled: Annotated[
        Switch,
        Field(description="Scale the channels by the width multiplier as well, cut off and at least 16, as FPNLite."),
    ] = False
    levels: Annotated[
        Levels,
        Field(description="The levels of the pyramid: 'all', a range such as 'p3-p5', or a list."),
    ] = "all"
    taps: Annotated[
        Literal["last", "first"],
        Field(description="Which stage of each resolution is tapped: the last, or the first, which has stride 2."),
    ] = "last"
    top: Annotated[
        Literal["lateral", "pool"],
        Field(description="Where the top-down path starts: at the coarsest tap, or at the last stage averaged to 1×1."),
    ] = "lateral"
    merge: Annotated[
        Merge, Field(description="How a lateral and the coarser map are merged: added, or concatenated.")
    ] = "add"
    upsample: Annotated[Upsample, Field(description="How the top-down path resizes a coarser level.")] = "bilinear"
    smooth: Annotated[
        Literal["conv", "separable", "none"],
        Field(description="Smoothing of merged maps: 3×3, depthwise 3×3 with 1×1 (FPNLite), or none."),
    ] = "conv"
    smooth_levels: Annotated[
        Literal["all", "merged"],
        Field(description="Which maps are smoothed: all, or those that a coarser map was merged into."),
    ] = "all"
    smooth_shared: Annotated[
        Switch, Field(description="Use one smoothing layer for all levels, instead of one for each.")
    ] = False
    extra: Annotated[
        Extra,
        Field(description="Levels beyond the taps, each half of the one before: none, max-pooled, 3×3, or separable."),
    ] = "none"
    extra_from: Annotated[
        Literal["map", "tap"],
        Field(description="What the first extra level is computed from: the coarsest level's map, or its tap."),
    ] = "map"
    extra_relu: Annotated[Switch, Field(description="Put a ReLU between one extra level and the next.")] = False
    top_down: Annotated[
        Literal["merged", "smoothed"],
        Field(description="Which map of a level is merged into the next finer one: before or after smoothing."),
    ] = "merged"
    last_channels: Annotated[
        Channels | None,
        Field(
            description="Channels of a last 1×1 convolution under the coarsest level, scaled by width multipliers "
            "below 1; null for none."
        ),
    ] = None
    norm: Annotated[
        Literal["none", "batch"], Field(description="Norm behind smoothing and extra levels: none, or batch norm.")
    ] = "none"
    activation: Annotated[
        Literal["none", "relu", "relu6"], Field(description="Activation behind smoothing and extra levels.")
    ] = "none"


Dropout = Annotated[float, Field(strict=True, ge=0, lt=1, allow_inf_nan=False), unit("share, 0 to 1")]


def read_size(value: Any) -> Any:
    """Convert a size to the spelling ``600x900``; 600 is a square."""
    if not isinstance(value, str) and type(value) is not int:
        return value
    try:
        return str(parse_size(str(value)))
    except UsageError as error:
        raise PydanticCustomError("size", "{rule}", {"rule": error.problems[0].rule}) from None


SideLength = Annotated[int, Field(ge=1, le=MAX_SIDE), unit("px")]
WrittenSize = Annotated[str, Field(pattern=r"^\s*0*[1-9][0-9]{0,4}([xX×]0*[1-9][0-9]{0,4})?\s*$")]
SizeText = Annotated[
    str, Field(strict=True), BeforeValidator(read_size, json_schema_input_type=WrittenSize | SideLength)
]


class NoHead(BaseModel):
    """No head: the network returns the levels of the pyramid."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Annotated[Literal["none"], Field(description="No head: the network returns the levels of the pyramid.")] = (
        "none"
    )


class ClassifierHead(BaseModel):
    """MobileNetV2's classifier: a last 1×1 convolution, average pooling, and a dense layer to the classes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Annotated[Literal["classifier"], Field(description="A classifier on the backbone's last map.")]
    classes: Annotated[Channels, Field(description="Number of classes.")] = 1000
    last_channels: Annotated[
        Channels | None,
        Field(description="Channels of the last convolution, scaled by width multipliers above 1; null for none."),
    ] = 1280
    bare_last: Annotated[
        Switch, Field(description="Give the last convolution a bias, but no batch norm and no activation.")
    ] = False
    dropout: Annotated[Dropout, Field(description="Share of the features dropped in training.")] = 0.2
    dense: Annotated[
        Literal["linear", "conv"],
        Field(description="Whether the dense layer is a linear layer, or a 1×1 convolution."),
    ] = "linear"


class LevelClassifiersHead(BaseModel):
    """A small classifier on each level, and a dense layer over all of them (Rahimzadeh et al. 2021, figure 5)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Annotated[Literal["level_classifiers"], Field(description="A classifier on each level of the pyramid.")]
    classes: Annotated[Channels, Field(description="Number of classes.")] = 1000
    pool: Annotated[
        Literal["none", "average"],
        Field(description="What each classifier takes: the whole map, flattened, or its average."),
    ] = "none"
    dropout: Annotated[Dropout, Field(description="Share of the features dropped in training.")] = 0.5
    size: Annotated[
        SizeText | None,
        Field(description="The size of images that flattened maps are for, as 600x900; null for the command's size."),
    ] = None

    @property
    def made_for(self) -> Size | None:
        """The size of images that the head is made for; None where it takes any, or is not decided."""
        return parse_size(self.size) if self.size else None


Head = Annotated[
    Annotated[
        NoHead | ClassifierHead | LevelClassifiersHead | RetinaNetHead | FCOSHead | SSDHead | SSDLiteHead | RPNHead,
        Field(discriminator="kind"),
    ],
    BeforeValidator(with_kind("none")),
]

Stages = Annotated[tuple[SpelledStage, ...], Field(min_length=1, max_length=100)]


def kind_of(values: Mapping[str, Any], part: str) -> Any:
    """Return the ``kind`` of the backbone or head in settings that are not validated yet; None where it has none."""
    value = values.get(part)
    return value.get("kind") if isinstance(value, Mapping) else getattr(value, "kind", None)


def _filled(given: Any, defaults: Mapping[str, Any]) -> Any:
    """Return an object with defaults for the keys that it lacks; null is an empty object."""
    return {**defaults, **(given or {})} if given is None or isinstance(given, Mapping) else given


Padding = Literal["torch", "same"]


class NetworkSettings(BaseModel):
    """A backbone with a feature pyramid, a head, or both. The defaults are the preset mobilenetv2-fpn."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    in_channels: Annotated[Channels, Field(description="Channels of the input image.")] = 3
    backbone: Annotated[Backbone, Field(description="The kind of backbone, and the settings of that kind.")] = (
        MobileNetV2Settings()
    )
    stem_channels: Annotated[
        Channels,
        Field(description="Channels of the stem, at width 1.0; of a resnet also those that each stage doubles."),
    ] = 32
    width_mult: Annotated[
        float,
        Field(strict=True, gt=0, le=100, allow_inf_nan=False),
        unit("ratio"),
        Field(description="Width multiplier: scales the channels of the stem and of all stages."),
    ] = 1.0
    rounding: Annotated[Rounding, Field(description="How scaled channels are rounded to whole numbers.")] = "nearest8"
    padding: Annotated[
        Padding,
        Field(description="Where a layer of stride 2 pads: as torch on all sides, or the odd pixel below and right."),
    ] = "torch"
    norm_eps: Annotated[
        float,
        Field(strict=True, gt=0, le=1, allow_inf_nan=False),
        unit("ratio"),
        Field(description="What batch and group norms add to the variance; 0.001 in TensorFlow and Keras."),
    ] = 1e-5
    stages: Annotated[
        Stages | None, Field(description="The inverted residuals of mobilenet_v2, in order; null for a resnet.")
    ] = MOBILENET_V2
    pyramid: Annotated[
        PyramidSettings | None, Field(description="The feature pyramid; null where the head classifies without one.")
    ] = PyramidSettings()
    head: Annotated[Head, Field(description="The head on the pyramid, or on the backbone.")] = NoHead()
    preprocess: Annotated[
        PreprocessSettings | None,
        Field(description="How a detector's images become inputs; null where the head detects nothing."),
    ] = None
    postprocess: Annotated[
        PostprocessSettings | None,
        Field(description="How a detector's outputs become boxes; null where the head detects nothing."),
    ] = None

    @model_validator(mode="before")
    @classmethod
    def _defaults_of_the_kinds(cls, values: Any) -> Any:
        """Give keys that are left out, and null stages, the defaults of the chosen kinds of backbone and head."""
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
        # Without a detector they must be null, which plan.rules checks: a missing key is then not what is wrong.
        kind = str(kind_of(given, "head"))
        if kind in POSTPROCESS or given.get("preprocess"):
            grey = {} if given.get("in_channels", 3) == 3 else {"mean": [0.5], "std": [0.5]}
            given["preprocess"] = _filled(given.get("preprocess"), grey)
        if kind in POSTPROCESS or given.get("postprocess"):
            given["postprocess"] = _filled(given.get("postprocess"), POSTPROCESS.get(kind, POSTPROCESS["retinanet"]))
        return given

    @property
    def detection(self) -> DetectionSettings | None:
        """The settings of a head that detects; None where there is none."""
        return self.head if isinstance(self.head, DetectionSettings) else None

    @property
    def made_for(self) -> Size | None:
        """The only size of images that the network takes; None where it takes any."""
        return self.head.made_for if isinstance(self.head, LevelClassifiersHead) else None

    def at(self, size: Size) -> Self:
        """Return these settings with ``head.size`` set to a size, where the head flattens maps and has no size yet."""
        head = self.head
        if isinstance(head, LevelClassifiersHead) and head.pool == "none" and head.size is None:
            return self.model_copy(update={"head": head.model_copy(update={"size": str(size)})})
        return self
