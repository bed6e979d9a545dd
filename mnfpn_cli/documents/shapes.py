"""The document of `mnfpn shapes`: the maps that a network returns for each input."""

from typing import Literal

from pydantic import Field

from mnfpn_cli.documents.audit import Finding
from mnfpn_cli.documents.base import Bytes, Count, Document, Message, Record, Stride
from mnfpn_cli.documents.records import ImageInput, MapSize, TensorInput, WeightsRecord
from mnfpn_cli.settings.input import DType


class TapMap(MapSize):
    """A map that a level or a head is built on."""

    path: str = Field(description="Where the map is taken: stages.N, pyramid.last, or the name of a level.")
    channels: Count = Field(description="Channels of the map.")


class LevelMap(MapSize):
    """A level of the pyramid."""

    name: str = Field(description="Name of the level: pk has stride 2^k.")
    stride: Stride | None = Field(description="Input pixels per cell; null for a level that is pooled.")
    channels: Count = Field(description="Channels of the map.")
    bytes: Bytes = Field(description="Memory of the map for the whole batch, in bytes.")
    exact: bool = Field(
        description="Whether the size of the map is that of the input over the stride, without rounding."
    )
    tap: TapMap = Field(description="Map that the level is built on.")
    resized_from: MapSize | None = Field(
        description="Size of the coarser map that is resized and added; null where none is."
    )


class HeadMap(TapMap):
    """A map that a head takes."""

    anchors: Count | None = Field(description="Anchors on the map, those of all cells; null for a classifier.")


class HeadOutput(Record):
    """A tensor that a head returns."""

    name: str = Field(description="Name of the output.")
    shape: tuple[Count, ...] = Field(description="Shape of the output, batch included.")
    bytes: Bytes = Field(description="Memory of the output for the whole batch, in bytes.")


class HeadMaps(Record):
    """The head of a network."""

    kind: str = Field(description="Kind of the head, as in the setting head.kind.")
    classes: Count | None = Field(description="Number of classes; null for rpn, which has none.")
    bytes: Bytes = Field(description="Memory of all outputs for the whole batch, in bytes.")
    maps: tuple[HeadMap, ...] = Field(description="Maps that the head takes, finest first.")
    outputs: tuple[HeadOutput, ...] = Field(description="Tensors that the network returns.")


class PlannedMaps(Record):
    """The maps of a network from settings, for one input."""

    input: ImageInput = Field(description="Input of a pass.")
    levels: tuple[LevelMap, ...] = Field(description="Levels of the pyramid, finest first.")
    head: HeadMaps | None = Field(description="The head; null where there is none.")


class OutputRecord(Record):
    """A tensor that an external network returns."""

    name: str = Field(description="Key of the tensor in what the network returns, or its position.")
    stride: float | None = Field(
        description="Input pixels per cell; null where the tensor does not scale with the input.",
        json_schema_extra={"unit": "px"},
    )
    shape: tuple[Count, ...] = Field(description="Shape of the tensor, with its batch.")
    elements: Count = Field(description="Number of elements.")
    bytes: Bytes = Field(description="Memory of the tensor, in bytes.")


class ObservedMaps(Record):
    """The outputs of an external network, for one set of inputs."""

    inputs: tuple[TensorInput, ...] = Field(description="Inputs of a pass.")
    outputs: tuple[OutputRecord, ...] = Field(description="All tensors that the network returns.")
    findings: tuple[Finding, ...] = Field(description="What is wrong with the outputs as a pyramid.")
    notes: tuple[Message, ...] = Field(description="What is worth knowing, but not wrong, a sentence each.")


class ShapesDocument(Document):
    """The maps that a network returns for each input: the result of `mnfpn shapes`."""

    command: Literal["shapes"] = Field("shapes", description="The command that made the document.")
    dtype: DType | None = Field(description="Element type that bytes are counted in; null for an external network.")
    verified: bool = Field(description="Whether the network was run and returned these shapes.")
    results: tuple[PlannedMaps, ...] | tuple[ObservedMaps, ...] = Field(description="Maps for each input.")
    weights: WeightsRecord | None = Field(description="How the checkpoint fits; null without `weights`.")
