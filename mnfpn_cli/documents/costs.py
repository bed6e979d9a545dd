"""Runs as they are planned: what is run, how, what it costs by its plan, and which times can be compared."""

from pydantic import Field

from mnfpn_cli.documents.base import Bytes, Cells, Count, Macs, Parameters, Record
from mnfpn_cli.documents.inputs import ImageInput
from mnfpn_cli.settings.input import DType
from mnfpn_cli.settings.network import NetworkSettings


class CapacityRecord(Record):
    """What a network keeps for whatever comes behind it; it is no accuracy."""

    backbone_channels: Count = Field(
        description="Channels of the maps that the pyramid or the head is built on, summed."
    )
    channels: Count = Field(description="Channels of a level; without a pyramid, of the map that the head takes.")
    levels: Count = Field(description="Levels of the pyramid; 1 without one.")
    cells: Cells = Field(description="Cells of the finest of these maps.")


class PlannedCost(Record):
    """What a run costs by its plan."""

    parameters: Parameters = Field(description="Parameters.")
    macs: Macs = Field(description="MACs of one image.")
    planned_memory_bytes: Bytes = Field(
        description="Weights, and the peak of activations of an inference pass of the whole batch."
    )
    capacity: CapacityRecord = Field(description="What the network keeps.")


class PlannedRun(Record):
    """A run: a network, its input, and how it is run."""

    settings: NetworkSettings = Field(description="All settings of the network.")
    input: ImageInput = Field(description="The input of a pass.")
    runtime: str = Field(description="What executes the network.")
    device: str = Field(description="The device it ran on; while it is pending, the one asked for, which may be auto.")
    dtype: DType = Field(description="The element type that the run computes in.")
    threads: Count | None = Field(
        description="Threads of the CPU that it ran on, or is to run on; null for torch's choice, not yet run."
    )
    train: bool = Field(description="Whether a pass is a training step, not an inference pass.")
    cost: PlannedCost = Field(description="What it costs by its plan.")


class ComparableRecord(Record):
    """What runs have in common whose times can be compared."""

    machine: str = Field(description="The kind of machine: its processor and cores, or its GPU.")
    device: str = Field(description="The device.")
    batch: Count = Field(description="Images in a batch.")
    train: bool = Field(description="Whether a pass is a training step, not an inference pass.")


class StatusCounts(Record):
    """Runs by status."""

    done: Count = Field(0, description="Runs that were measured.")
    failed: Count = Field(0, description="Runs that failed.")
    pending: Count = Field(0, description="Runs that are still to be measured.")
