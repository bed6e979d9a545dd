"""The backbones: which one, and what each has of its own."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from mnfpn_cli.settings.stages import Repeats, StageSettings

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
"""He et al. 2016, "Deep Residual Learning for Image Recognition", table 1."""

Switch = Annotated[bool, Field(strict=True)]


class MobileNetV2Settings(BaseModel):
    """What MobileNetV2s differ in besides their table of stages."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["mobilenet_v2"] = "mobilenet_v2"
    expand_at_1: Annotated[
        Switch, Field(description="Keep the 1×1 expansion convolution where the expansion is 1.")
    ] = False
    conv_bias: Annotated[Switch, Field(description="A bias in every convolution, besides batch norm.")] = False
    bare_stem: Annotated[
        Switch, Field(description="The stem is a convolution with a bias, without batch norm and activation.")
    ] = False


class ResNetSettings(BaseModel):
    """A ResNet of bottlenecks (He et al. 2016, section 4.1); each stage doubles the channels of the one before."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["resnet"]
    blocks: Annotated[
        tuple[Repeats, ...],
        Field(min_length=1, max_length=8, description="Bottlenecks of each stage; 3-4-6-3 is ResNet-50's."),
    ] = (2, 2, 2, 2)


def with_kind(kind: str) -> Any:
    """A validator that reads an object without a ``kind`` as one of the usual kind."""

    def read(value: Any) -> Any:
        return {"kind": kind, **value} if isinstance(value, Mapping) and "kind" not in value else value

    return read


Backbone = Annotated[
    Annotated[MobileNetV2Settings | ResNetSettings, Field(discriminator="kind")],
    BeforeValidator(with_kind("mobilenet_v2")),
]
