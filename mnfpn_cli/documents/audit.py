"""The document of `mnfpn audit`: findings over a network, and the levels that it returns."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Literal, NamedTuple, Self

from pydantic import Field

from mnfpn_cli.documents.base import Count, Document, Message, Parameters, Positive, Record, Stride
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


class Check(NamedTuple):
    """What an audit looks for: the mistake, and how to mend it, each in a sentence."""

    mistake: str
    remedy: str


CHECKS: Mapping[FindingKind, Check] = MappingProxyType(
    {
        "unregistered": Check(
            "A module or parameter is used, and not registered: no optimiser, state dict or .to(device) sees it.",
            "Assign it to an attribute, or hold it in nn.ModuleList, nn.ModuleDict or nn.ParameterList.",
        ),
        "shared": Check(
            "One module or parameter is registered in several places.",
            "Make as many as there are places; or, where sharing is meant, register it once, or allow the finding.",
        ),
        "never_called": Check(
            "A module or parameter is registered, and takes no part in a pass.",
            "Use it in forward, or remove it.",
        ),
        "without_gradient": Check(
            "A parameter takes part in a pass, and cannot learn.",
            "Return or use what it computes, without .detach(); or set requires_grad.",
        ),
        "miscounted": Check(
            "The layers, parameters() and the state dict have different numbers of parameters.",
            "Mend what is unregistered or shared, or what state_dict() leaves out.",
        ),
        "layout": Check(
            "A map is not laid out as (batch, channels, height, width).",
            "Return maps as (batch, channels, height, width).",
        ),
        "same_stride": Check(
            "Several levels of a pyramid have one stride.",
            "Tap each resolution once, at its last block.",
        ),
        "stride_gap": Check(
            "A stride is missing between two levels of a pyramid.",
            "Tap the stage of the missing stride.",
        ),
        "no_stride": Check(
            "The size of a level does not follow from the size of the image.",
            "Halve the sides by layers of stride 2, and resize to the size of another map.",
        ),
        "unequal_channels": Check(
            "The levels of a pyramid have different numbers of channels.",
            "Give each level a lateral convolution to the same channels.",
        ),
        "order": Check(
            "The levels of a pyramid do not come finest first.",
            "Return the finest level first.",
        ),
        "size": Check(
            "The size of a level is not that of the image divided by its stride.",
            "Pad by kernel // 2, and resize to the size of another map.",
        ),
    }
)
"""What each kind of finding is, in the order in which an audit looks for them."""


class SourceLine(Record):
    """A line of a source file."""

    file: str = Field(description="Path of the file from the current folder, with forward slashes.")
    line: Positive = Field(description="Number of the line, from 1.")


class Finding(Record):
    """A finding: something that is wrong with a network."""

    kind: FindingKind = Field(description="Kind of the finding, in one word.")
    paths: tuple[str, ...] = Field(description="Paths of the modules, parameters or levels concerned.")
    parameters: Parameters = Field(
        description="Number of parameters concerned; for a miscount, the largest difference between counts."
    )
    message: str = Field(description="What is wrong, in a sentence.")
    remedy: str = Field(description="How to fix it.")
    location: SourceLine | None = Field(
        None, description="Where the class begins that holds what is concerned; null outside the current folder."
    )

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

    clean: bool = Field(description="Whether there are no findings but allowed ones.")
    mode: Literal["meta", "fake", "real"] = Field(
        description="Kind of the tensors that the network ran on: meta and fake ones hold no data."
    )
    called: Count = Field(description="Registered modules that took part in the pass.")
    registered: Count = Field(description="Registered modules that have a forward.")
    idle: Count = Field(
        description="Registered modules without parameters that took no part in the pass; they are harmless."
    )
    parameters: ParameterCounts = Field(description="Number of parameters, counted in three ways.")
    findings: tuple[Finding, ...] = Field(description="What is wrong with the network, without what is allowed.")
    allowed: tuple[Finding, ...] = Field((), description="Findings that are allowed, as by `allow`.")
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
