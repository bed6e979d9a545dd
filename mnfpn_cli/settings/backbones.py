"""Settings of the backbones, MobileNetV2 and ResNet, and the three spellings of a stage that are read."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError, PydanticKnownError

Rounding = Literal["nearest8", "ceil8", "truncate"]


MAX_CHANNELS = 65_536


def unit(name: str) -> Any:
    """Annotate a number with its unit, for the JSON Schema."""
    return Field(json_schema_extra={"unit": name})


Channels = Annotated[int, Field(strict=True, ge=1, le=MAX_CHANNELS), unit("count")]
Expansion = Annotated[int, Field(strict=True, ge=1, le=128), unit("ratio")]
Repeats = Annotated[int, Field(strict=True, ge=1, le=1000), unit("count")]


def read_stride(value: Any) -> Any:
    """Refuse values that equal a stride but are no integers: 2.0 and true."""
    if type(value) is not int:
        raise PydanticKnownError("int_type")
    return value


StageStride = Annotated[Literal[1, 2], BeforeValidator(read_stride), unit("cells")]


class StageSettings(BaseModel):
    """One row of the table of inverted residuals (Sandler et al. 2018, "MobileNetV2", table 2)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    expansion: Annotated[Expansion, Field(description="Expansion factor t.")]
    channels: Annotated[Channels, Field(description="Output channels c, at width 1.0.")]
    repeats: Annotated[Repeats, Field(description="Number of blocks n.")]
    stride: Annotated[StageStride, Field(description="Stride s of the first block.")]


class OriginalStage(BaseModel):
    """One row of the table, in the spelling of the project that mnfpn descends from."""

    model_config = ConfigDict(extra="forbid")

    expansion_factor: Annotated[Expansion, Field(description="Expansion factor t.")]
    width_factor: Annotated[Channels, Field(description="Output channels c, at width 1.0.")]
    n: Annotated[Repeats, Field(description="Number of blocks n.")]
    stride: Annotated[StageStride, Field(description="Stride s of the first block.")]


PaperRow = Annotated[
    tuple[Expansion, Channels, Repeats, StageStride], Field(description="The paper's row: t, c, n, s.")
]

ORIGINAL_SPELLING = {"expansion_factor": "expansion", "width_factor": "channels", "n": "repeats"}


def read_stage(value: Any) -> Any:
    """Convert a row of numbers, or the original project's spelling, to our field names; leave the rest as it is."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        if len(value) != len(StageSettings.model_fields):
            raise PydanticCustomError("stage_row", "must be four numbers (expansion, channels, repeats, stride)")
        return dict(zip(StageSettings.model_fields, value, strict=True))
    if isinstance(value, Mapping) and not ORIGINAL_SPELLING.keys().isdisjoint(value):
        mixed = [key for key in ORIGINAL_SPELLING.values() if key in value]
        if mixed:
            original = " ".join(ORIGINAL_SPELLING)
            raise PydanticCustomError("stage_mixed", f"must not mix '{mixed[0]}' with the spelling {original}")
        return {ORIGINAL_SPELLING.get(key, key): item for key, item in value.items()}
    return value


SpelledStage = Annotated[
    StageSettings,
    BeforeValidator(read_stage, json_schema_input_type=StageSettings | OriginalStage | PaperRow),
]


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

RESNET_STEM_CHANNELS = 64
"""The channels of a ResNet's stem (He et al. 2016, "Deep Residual Learning for Image Recognition", table 1)."""

Switch = Annotated[bool, Field(strict=True)]


class MobileNetV2Settings(BaseModel):
    """A MobileNetV2: the options of its blocks and stem. Its stages are in `NetworkSettings.stages`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Annotated[Literal["mobilenet_v2"], Field(description="A MobileNetV2; its blocks are listed in stages.")] = (
        "mobilenet_v2"
    )
    expand_at_1: Annotated[
        Switch, Field(description="Keep the 1×1 expansion convolution of a block whose expansion is 1.")
    ] = False
    conv_bias: Annotated[Switch, Field(description="Add a bias to every convolution, besides batch norm.")] = False
    bare_stem: Annotated[
        Switch, Field(description="Make the stem a convolution with a bias, without batch norm and activation.")
    ] = False


class ResNetSettings(BaseModel):
    """A ResNet of bottlenecks (He et al. 2016, section 4.1); each stage doubles the channels of the one before."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Annotated[Literal["resnet"], Field(description="A ResNet; its bottlenecks are counted in blocks.")]
    blocks: Annotated[
        tuple[Repeats, ...],
        Field(min_length=1, max_length=8, description="Number of bottlenecks in each stage; ResNet-50 has 3, 4, 6, 3."),
    ] = (2, 2, 2, 2)


def with_kind(kind: str) -> Any:
    """Make a validator that adds this ``kind`` to an object that has none."""

    def read(value: Any) -> Any:
        return {"kind": kind, **value} if isinstance(value, Mapping) and "kind" not in value else value

    return read


Backbone = Annotated[
    Annotated[MobileNetV2Settings | ResNetSettings, Field(discriminator="kind")],
    BeforeValidator(with_kind("mobilenet_v2")),
]
