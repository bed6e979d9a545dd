"""The document of `mnfpn audit`: findings over a network, and the levels that it returns."""

from collections.abc import Sequence
from typing import Literal, Self

from pydantic import Field

from mnfpn_cli.documents.base import Count, Document, Message, Parameters, Record, Stride
from mnfpn_cli.documents.records import ImageSize, MapSize, TensorInput, WeightsRecord

FindingKind = Literal[
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
    """A finding: something that is wrong with a network."""

    kind: FindingKind = Field(description="Kind of the finding, in one word.")
    paths: tuple[str, ...] = Field(description="Paths of the modules, parameters or levels concerned.")
    parameters: Parameters = Field(
        description="Number of parameters concerned; for a miscount, the largest difference between counts."
    )
    message: str = Field(description="What is wrong, in a sentence.")
    remedy: str = Field(description="How to fix it.")

    @classmethod
    def of(cls, kind: FindingKind, paths: Sequence[str], parameters: int, message: str, remedy: str) -> Self:
        """Make a finding; paths name modules, parameters or levels."""
        return cls(kind=kind, paths=tuple(paths), parameters=parameters, message=message, remedy=remedy)


class ParameterCounts(Record):
    """The number of parameters, counted in three ways."""

    rows: Parameters = Field(description="Sum over the layers of a summary.")
    parameters: Parameters = Field(description="Number in module.parameters().")
    state_dict: Parameters = Field(description="Number in module.state_dict(), without buffers.")


class LevelSize(MapSize):
    """The size of a level's map for one size of the input."""

    input: ImageSize = Field(description="Size of the input, in pixels.")


class ObservedLevel(Record):
    """A map that a network returns, as a level of a pyramid."""

    name: str = Field(description="Key of the map in what the network returns, or its position.")
    stride: Stride | None = Field(description="Input pixels per cell of the map; null where that is no whole number.")
    channels: Count = Field(description="Channels of the map.")
    sizes: tuple[LevelSize, ...] = Field(description="Size of the map for each size of the input that was tried.")


class Audit(Record):
    """The result of an audit."""

    clean: bool = Field(description="Whether there are no findings.")
    mode: Literal["meta", "fake", "real"] = Field(
        description="Kind of the tensors that the network ran on: meta and fake ones hold no data."
    )
    called: Count = Field(description="Registered modules that took part in the pass.")
    registered: Count = Field(description="Registered modules that have a forward.")
    idle: Count = Field(
        description="Registered modules without parameters that took no part in the pass; they are harmless."
    )
    parameters: ParameterCounts = Field(description="Number of parameters, counted in three ways.")
    findings: tuple[Finding, ...] = Field(description="What is wrong with the network.")
    notes: tuple[Message, ...] = Field(description="What is worth knowing, but not wrong, a sentence each.")


class AuditDocument(Audit, Document):
    """The audit of a network: the result of `mnfpn audit`."""

    command: Literal["audit"] = Field("audit", description="The command that made the document.")
    inputs: tuple[TensorInput, ...] = Field(description="Inputs of the pass; of several, the first.")
    other_passes: tuple[tuple[TensorInput, ...], ...] = Field(
        description="Inputs of each further pass; findings are over all passes."
    )
    levels: tuple[ObservedLevel, ...] | None = Field(
        description="Maps that the network returns in the first pass; null where there is only one."
    )
    weights: WeightsRecord | None = Field(description="How the checkpoint fits; null without `weights`.")
