"""The heads: what classifies, and on which maps."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from mnfpn_cli.errors import UsageError
from mnfpn_cli.settings.backbones import Channels, Switch, unit, with_kind
from mnfpn_cli.settings.input import MAX_SIDE, Size, parse_size

Dropout = Annotated[float, Field(strict=True, ge=0, lt=1, allow_inf_nan=False), unit("share, 0 to 1")]


def read_size(value: Any) -> Any:
    """A size as ``600x900``, however it was written; 600 is a square."""
    if not isinstance(value, str) and type(value) is not int:
        return value
    try:
        return str(parse_size(str(value)))
    except UsageError as error:
        raise PydanticCustomError("size", "{rule}", {"rule": error.problems[0].rule}) from None


Side = Annotated[int, Field(ge=1, le=MAX_SIDE), unit("px")]
WrittenSize = Annotated[str, Field(pattern=r"^\s*0*[1-9][0-9]{0,4}([xX×]0*[1-9][0-9]{0,4})?\s*$")]
SizeText = Annotated[str, Field(strict=True), BeforeValidator(read_size, json_schema_input_type=WrittenSize | Side)]


class NoHead(BaseModel):
    """The pyramid's levels are what comes out."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Annotated[Literal["none"], Field(description="No head: the levels of the pyramid come out.")] = "none"


class ClassifierHead(BaseModel):
    """MobileNetV2's classifier: a last 1×1 convolution, average pooling, and a dense layer to the classes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Annotated[Literal["classifier"], Field(description="A classifier on the backbone's last map.")]
    classes: Annotated[Channels, Field(description="Number of classes.")] = 1000
    last_channels: Annotated[
        Channels | None,
        Field(description="Channels of the last convolution, which grow with widths above 1; null for none."),
    ] = 1280
    bare_last: Annotated[
        Switch, Field(description="The last convolution has a bias, but no batch norm and no activation.")
    ] = False
    dropout: Annotated[Dropout, Field(description="Share of the features dropped in training.")] = 0.2
    dense: Annotated[
        Literal["linear", "conv"], Field(description="The dense layer as such, or as a 1×1 convolution.")
    ] = "linear"


class LevelClassifiersHead(BaseModel):
    """A small classifier on each level, and a dense layer over all of them (Rahimzadeh et al. 2021, figure 5)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Annotated[Literal["level_classifiers"], Field(description="A classifier on each level of the pyramid.")]
    classes: Annotated[Channels, Field(description="Number of classes.")] = 1000
    pool: Annotated[
        Literal["none", "average"],
        Field(description="What each classifier sees: the whole map, flattened, or its average."),
    ] = "none"
    dropout: Annotated[Dropout, Field(description="Share of the features dropped in training.")] = 0.5
    size: Annotated[
        SizeText | None,
        Field(description="The one size of images that flattened maps allow, as 600x900; null for the command's."),
    ] = None

    @property
    def made_for(self) -> Size | None:
        """The size that the head is tied to."""
        return parse_size(self.size) if self.size else None


Head = Annotated[
    Annotated[NoHead | ClassifierHead | LevelClassifiersHead, Field(discriminator="kind")],
    BeforeValidator(with_kind("none")),
]
