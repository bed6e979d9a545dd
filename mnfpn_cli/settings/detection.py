"""Settings of detection heads: their layers, their anchors, and how images become inputs and outputs become boxes."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

from mnfpn_cli.settings.backbones import Channels, Switch, unit

PositiveNumber = Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False), unit("ratio")]
PixelValue = Annotated[float, Field(ge=-1e6, le=1e6, allow_inf_nan=False), unit("ratio")]
UnitShare = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False), unit("share, 0 to 1")]
AnchorSide = Annotated[int, Field(strict=True, ge=1, le=65_536), unit("px")]
BoxCount = Annotated[int, Field(strict=True, ge=1, le=1_000_000), unit("count")]


class AnchorSettings(BaseModel):
    """Anchors on a grid (Ren et al. 2015, "Faster R-CNN", section 3.1.1), as torchvision's `AnchorGenerator` has them.

    Each cell of a level has an anchor for each scale and ratio. The side of its square is the size of the level times
    the scale, in whole pixels, cut off as torchvision's detectors do.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    sizes: Annotated[
        tuple[AnchorSide, ...] | None,
        Field(min_length=1, description="Side of the anchors of each level, finest first; null for 4 × its stride."),
    ] = None
    scales: Annotated[
        tuple[PositiveNumber, ...],
        Field(min_length=1, max_length=100, description="Factors of the side: an anchor for each."),
    ] = (1.0, 2 ** (1 / 3), 2 ** (2 / 3))
    ratios: Annotated[
        tuple[PositiveNumber, ...],
        Field(min_length=1, max_length=100, description="Height over width: an anchor for each, at the same area."),
    ] = (0.5, 1.0, 2.0)


class DefaultBoxSettings(BaseModel):
    """Default boxes (Liu et al. 2016, "SSD", section 2.2), as torchvision's `DefaultBoxGenerator` has them.

    Each cell of a level has two squares, and two boxes for each ratio: one wide, one high.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    ratios: Annotated[
        tuple[tuple[PositiveNumber, ...], ...],
        Field(min_length=1, description="Width over height: a list for each level, or one list for all levels."),
    ] = ((2.0, 3.0),)
    scales: Annotated[
        tuple[PositiveNumber, ...] | None,
        Field(
            description="Side of the square of each level over that of the image, finest first, and one more; "
            "null for equal steps from min_scale to max_scale."
        ),
    ] = None
    min_scale: Annotated[PositiveNumber, Field(description="Scale of the finest level, where scales is null.")] = 0.15
    max_scale: Annotated[PositiveNumber, Field(description="Scale of the coarsest level, where scales is null.")] = 0.9
    steps: Annotated[
        tuple[AnchorSide, ...] | None,
        Field(description="Pixels from one cell to the next, for each level; null for those of its map."),
    ] = None
    clip: Annotated[Switch, Field(description="Cut boxes off at the image.")] = True


Depth = Annotated[
    int,
    Field(strict=True, ge=0, le=32, description="3×3 convolutions before the last one."),
    unit("count"),
]
Shared = Annotated[Switch, Field(description="Use the same convolutions on all levels.")]
OneTower = Annotated[
    Switch, Field(description="Use one tower for all outputs, instead of one for classes and one for boxes.")
]
Separable = Annotated[Switch, Field(description="Make each 3×3 convolution a depthwise 3×3 and a 1×1, as in SSDLite.")]
DepthwiseNorm = Annotated[
    Switch,
    Field(description="Put norm and activation also between the two convolutions of a separable one."),
]
ConvBias = Annotated[Switch, Field(description="Give a convolution before a norm a bias as well.")]
HeadNorm = Annotated[
    Literal["none", "batch", "group"],
    Field(description="Norm behind each convolution but the last: none, batch norm or group norm."),
]
HeadActivation = Annotated[
    Literal["relu", "relu6"], Field(description="Activation behind each convolution but the last.")
]


class DetectionSettings(BaseModel):
    """What all detection heads have: a tower of convolutions on each level, and a last convolution for each output."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    depth: Depth = 4
    channels: Annotated[
        Channels | None, Field(description="Channels of these convolutions; null for the pyramid's.")
    ] = None
    shared: Shared = True
    one_tower: OneTower = False
    separable: Separable = False
    norm: HeadNorm = "none"
    norm_shared: Annotated[
        Switch, Field(description="Use the same norms on all levels, where these share the convolutions.")
    ] = True
    norm_groups: Annotated[Channels, Field(description="Groups of a group norm; other norms have none.")] = 32
    depthwise_norm: DepthwiseNorm = False
    conv_bias: ConvBias = False
    activation: HeadActivation = "relu"

    @model_validator(mode="before")
    @classmethod
    def _own_anchors(cls, values: Any) -> Any:
        """Give keys of anchors that are left out the defaults of this kind of head."""
        field = cls.model_fields.get("anchors")
        if field is None or not isinstance(values, Mapping) or not isinstance(values.get("anchors"), Mapping):
            return values
        return {**values, "anchors": {**field.default.model_dump(), **values["anchors"]}}


class RetinaNetHead(DetectionSettings):
    """RetinaNet's head: a tower for classes, one for boxes (Lin et al. 2017, "Focal Loss", section 4)."""

    kind: Annotated[Literal["retinanet"], Field(description="RetinaNet's head: classes and boxes for anchors.")]
    classes: Annotated[Channels, Field(description="Number of classes: scores for each anchor.")] = 91
    anchors: Annotated[AnchorSettings, Field(description="Anchors of each cell.")] = AnchorSettings()


class FCOSHead(DetectionSettings):
    """FCOS's head: classes, boxes and centre-ness for each cell, without anchors (Tian et al. 2019, section 3)."""

    kind: Annotated[Literal["fcos"], Field(description="FCOS's head: classes, boxes and centre-ness for cells.")]
    classes: Annotated[Channels, Field(description="Number of classes: scores for each cell.")] = 91
    norm: HeadNorm = "group"
    conv_bias: ConvBias = True


class SSDHead(DetectionSettings):
    """SSD's head: one convolution a level for classes, one for boxes (Liu et al. 2016, section 2.1)."""

    kind: Annotated[Literal["ssd"], Field(description="SSD's head: classes and boxes for default boxes.")]
    classes: Annotated[
        Channels, Field(ge=2, description="Number of classes: scores for each box; the first is the background.")
    ] = 91
    depth: Depth = 0
    shared: Shared = False
    anchors: Annotated[DefaultBoxSettings, Field(description="Default boxes of each cell.")] = DefaultBoxSettings()


class SSDLiteHead(SSDHead):
    """SSDLite's head: SSD's with separable convolutions (Sandler et al. 2018, "MobileNetV2", section 6.2)."""

    kind: Annotated[Literal["ssdlite"], Field(description="SSDLite's head: SSD's, separable.")]  # type: ignore[assignment]
    separable: Separable = True
    norm: HeadNorm = "batch"
    depthwise_norm: DepthwiseNorm = True
    activation: HeadActivation = "relu6"
    anchors: Annotated[DefaultBoxSettings, Field(description="Default boxes of each cell.")] = DefaultBoxSettings(
        min_scale=0.2, max_scale=0.95
    )


class RPNHead(DetectionSettings):
    """The head of a region proposal network: one tower for objectness and boxes (Ren et al. 2015, section 3.1)."""

    kind: Annotated[Literal["rpn"], Field(description="A region proposal network's head: boxes with an object.")]
    depth: Depth = 1
    one_tower: OneTower = True
    anchors: Annotated[AnchorSettings, Field(description="Anchors of each cell.")] = AnchorSettings(scales=(2.0,))


DetectionHead = RetinaNetHead | FCOSHead | SSDHead | SSDLiteHead | RPNHead
"""The heads that a detector has; each is on a pyramid."""

DETECTION_HEADS: dict[str, type[DetectionSettings]] = {
    get_args(model.model_fields["kind"].annotation)[0]: model for model in get_args(DetectionHead)
}
"""Their settings by kind."""


class PreprocessSettings(BaseModel):
    """How an image becomes an input: its pixels, 0 to 1, less a mean and over a deviation, channel by channel."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mean: Annotated[
        tuple[PixelValue, ...], Field(min_length=1, description="Mean of each channel, or one for all.")
    ] = (
        0.485,
        0.456,
        0.406,
    )
    std: Annotated[
        tuple[PositiveNumber, ...], Field(min_length=1, description="Deviation of each channel, or one for all.")
    ] = (0.229, 0.224, 0.225)


class PostprocessSettings(BaseModel):
    """How outputs become boxes: a threshold, the best of each level, and non-maximum suppression."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    score_threshold: Annotated[UnitShare, Field(description="Least score of a box.")]
    topk: Annotated[
        BoxCount, Field(description="Most boxes before suppression: of a level, or with ssd and ssdlite of a class.")
    ]
    nms_threshold: Annotated[
        UnitShare, Field(description="Overlap (IoU) above which of two boxes of a class only the better stays.")
    ]
    detections: Annotated[BoxCount, Field(description="Most boxes of an image.")]


POSTPROCESS: dict[str, dict[str, Any]] = {
    "retinanet": {"score_threshold": 0.05, "topk": 1000, "nms_threshold": 0.5, "detections": 300},
    "fcos": {"score_threshold": 0.2, "topk": 1000, "nms_threshold": 0.6, "detections": 100},
    "ssd": {"score_threshold": 0.01, "topk": 400, "nms_threshold": 0.45, "detections": 200},
    "ssdlite": {"score_threshold": 0.001, "topk": 300, "nms_threshold": 0.55, "detections": 300},
    "rpn": {"score_threshold": 0.0, "topk": 1000, "nms_threshold": 0.7, "detections": 1000},
}
"""The defaults of each kind of head, those of torchvision's detectors."""
