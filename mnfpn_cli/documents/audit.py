"""What `mnfpn audit` returns."""

from collections.abc import Sequence
from typing import Literal, Self

from pydantic import Field

from mnfpn_cli.documents.base import Count, Document, Parameters, Record, Stride
from mnfpn_cli.documents.records import ImageSize, MapSize, WeightsRecord

Kind = Literal[
    "unregistered",
    "shared",
    "never_called",
    "without_gradient",
    "miscounted",
    "layout",
    "same_stride",
    "stride_gap",
    "no_stride",
    "unequal_channels",
    "order",
    "size",
]


class Finding(Record):
    """Something that is wrong with a network."""

    kind: Kind = Field(description="What is wrong, in one word.")
    paths: tuple[str, ...] = Field(description="Where: modules, parameters or levels.")
    parameters: Parameters = Field(
        description="Parameters concerned; where they are miscounted, the largest difference between counts."
    )
    message: str = Field(description="What is wrong, in a sentence.")
    remedy: str = Field(description="How to fix it.")

    @classmethod
    def of(cls, kind: Kind, paths: Sequence[str], parameters: int, message: str, remedy: str) -> Self:
        """Return a finding; its paths are of modules, of parameters, or of levels."""
        return cls(kind=kind, paths=tuple(paths), parameters=parameters, message=message, remedy=remedy)


class ParameterCounts(Record):
    """Parameters as three ways of counting see them."""

    rows: Parameters = Field(description="Added over the layers of a summary.")
    parameters: Parameters = Field(description="In module.parameters().")
    state_dict: Parameters = Field(description="In module.state_dict(), without buffers.")


class LevelSize(MapSize):
    """The size of a level's map for one size of the input."""

    input: ImageSize = Field(description="Size of the input.")


class ObservedLevel(Record):
    """A map that a network returns as a level of a pyramid."""

    name: str = Field(description="Its key, or its position.")
    stride: Stride | None = Field(description="Input pixels to a cell; null where the map follows no whole stride.")
    channels: Count = Field(description="Channels of the map.")
    sizes: tuple[LevelSize, ...] = Field(description="Its size for each size of the input that was tried.")


class Audit(Record):
    """What an audit found."""

    clean: bool = Field(description="Whether nothing was found.")
    mode: Literal["meta", "fake", "real"] = Field(description="The tensors that the network ran on.")
    called: Count = Field(description="Registered modules that took part in the pass.")
    registered: Count = Field(description="Registered modules that have a forward.")
    idle: Count = Field(description="Registered modules without parameters that took no part; they do no harm.")
    parameters: ParameterCounts = Field(description="Parameters, counted in three ways.")
    findings: tuple[Finding, ...] = Field(description="What is wrong.")
    notes: tuple[str, ...] = Field(description="What is worth knowing and not wrong.")


class AuditDocument(Audit, Document):
    """The result of `mnfpn audit`."""

    command: Literal["audit"] = Field("audit", description="The command that made the document.")
    levels: tuple[ObservedLevel, ...] | None = Field(description="The maps that come out; null where there is one.")
    weights: WeightsRecord | None = Field(description="How the checkpoint fits; null without `weights`.")
