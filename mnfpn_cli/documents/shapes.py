"""What `mnfpn shapes` returns."""

from typing import Literal

from pydantic import Field

from mnfpn_cli.documents.audit import Finding
from mnfpn_cli.documents.base import Bytes, Count, Document, Record, Stride
from mnfpn_cli.documents.records import ImageInput, MapSize, TensorInput, WeightsRecord
from mnfpn_cli.settings.input import DType


class TapMap(MapSize):
    """A map that a level or a head is built on."""

    path: str = Field(description="Where it comes out: stages.N, or the level it is.")
    channels: Count = Field(description="Channels of the map.")


class LevelMap(MapSize):
    """A level of the pyramid."""

    name: str = Field(description="Name of the level: pk has stride 2^k.")
    stride: Stride | None = Field(description="Input pixels to a cell; null for a pooled top.")
    channels: Count = Field(description="Channels of the map.")
    bytes: Bytes = Field(description="Memory of the map for the whole batch.")
    exact: bool = Field(description="Whether the map is the input over the stride, without rounding.")
    tap: TapMap = Field(description="The map that the level is built on.")
    resized_from: MapSize | None = Field(description="Size of the coarser map that is added; null where none is.")


class HeadMaps(Record):
    """A head on the maps."""

    output: Literal["logits"] = Field(description="What comes out.")
    classes: Count = Field(description="Classes.")
    bytes: Bytes = Field(description="Memory of the output for the whole batch.")
    maps: tuple[TapMap, ...] = Field(description="The maps that the head takes.")


class PlannedMaps(Record):
    """The maps of a network from settings, for one input."""

    input: ImageInput = Field(description="The input.")
    levels: tuple[LevelMap, ...] = Field(description="The levels of the pyramid, finest first.")
    head: HeadMaps | None = Field(description="The head; null where there is none.")


class OutputRecord(Record):
    """A tensor that a network of others returns."""

    name: str = Field(description="Its key, or its position.")
    stride: float | None = Field(
        description="Input pixels to a cell; null where it follows none.", json_schema_extra={"unit": "px"}
    )
    shape: tuple[Count, ...] = Field(description="Its shape, batch included.")
    elements: Count = Field(description="Its elements.")
    bytes: Bytes = Field(description="Its memory.")


class ObservedMaps(Record):
    """The outputs of a network of others, for one set of inputs."""

    inputs: tuple[TensorInput, ...] = Field(description="The inputs.")
    outputs: tuple[OutputRecord, ...] = Field(description="All tensors that come out.")
    findings: tuple[Finding, ...] = Field(description="What is wrong with them as a pyramid.")
    notes: tuple[str, ...] = Field(description="What is worth knowing and not wrong.")


class ShapesDocument(Document):
    """The result of `mnfpn shapes`: the maps that come out, for each input."""

    command: Literal["shapes"] = Field("shapes", description="The command that made the document.")
    dtype: DType | None = Field(description="Element type that bytes are counted in; null for a model of others.")
    verified: bool = Field(description="Whether the real network was run and returned the same.")
    results: tuple[PlannedMaps, ...] | tuple[ObservedMaps, ...] = Field(description="The maps for each input.")
    weights: WeightsRecord | None = Field(description="How the checkpoint fits; null without `weights`.")
