"""Records that several documents share: networks and inputs, costs, latencies, warnings, environments."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from mnfpn_cli.documents.base import Bytes, Cells, Count, Macs, Parameters, Pixels, Positive, Record, Seconds, Word
from mnfpn_cli.settings.input import DType
from mnfpn_cli.settings.network import NetworkSettings


class ImageSize(Record):
    """The size of an image."""

    height: Pixels = Field(description="Height of the image.")
    width: Pixels = Field(description="Width of the image.")


class ImageInput(Record):
    """A batch of images, (batch, channels, height, width)."""

    batch: Count = Field(description="Images in the batch.")
    channels: Count = Field(description="Channels of an image.")
    height: Pixels = Field(description="Height of an image.")
    width: Pixels = Field(description="Width of an image.")


class MapSize(Record):
    """The size of a feature map."""

    height: Cells = Field(description="Height of the map.")
    width: Cells = Field(description="Width of the map.")


class TensorInput(Record):
    """A tensor that a network takes."""

    shape: Annotated[tuple[Positive, ...], Field(min_length=1)] = Field(description="Its shape, batch included.")
    dtype: Word | None = Field(description="Its element type; null where none was given, which is float32.")


class InputRecord(Record):
    """What one pass takes: a batch of images, or tensors of given shapes."""

    batch: Positive = Field(description="Images in the batch; of tensors, the first dimension of the first.")
    channels: Positive | None = Field(description="Channels of an image; null for tensors.")
    height: Pixels | None = Field(description="Height of an image; null for tensors.")
    width: Pixels | None = Field(description="Width of an image; null for tensors.")
    shapes: tuple[TensorInput, ...] | None = Field(description="The tensors; null for images.")

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if None in (self.channels, self.height, self.width) and not self.shapes:
            raise PydanticCustomError("input", "must have channels, height and width, or shapes")
        return self


class WeightsRecord(Record):
    """A checkpoint in a network: which tensors it gave, and which not."""

    file: str = Field(description="Name of the file.")
    layout: str = Field(description="Whose names of tensors it uses, as torchvision or mnfpn.")
    matched: Count = Field(description="Tensors of the network that the file gave.")
    ignored: tuple[str, ...] = Field(description="Keys of the file that the network has no use for.")
    missing: tuple[str, ...] = Field(description="Keys of the network that the file does not have.")
    overridden: tuple[str, ...] = Field(
        description="Keys of the file for a layer that is shared here, whose values differ from the last one's."
    )
    settings_differ: tuple[str, ...] = Field(
        description="Keys in which the settings that the file carries are not the network's, as pyramid.upsample."
    )


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


Interval = tuple[Seconds, Seconds]
Sample = Annotated[Seconds, Field(ge=1e-12, le=1e9)]
"""The time of a pass: whatever is worked out of some of them stays finite."""
Samples = Annotated[tuple[Sample, ...], Field(min_length=1)]
Ended = Literal["precision", "noise", "max_time", "passes", "min_time", "interrupted", "failed"]
"""What ended a measurement."""


class LatencyRecord(Record):
    """The time of one pass: its samples, and statistics of them; null where they are too few for one."""

    median: Sample = Field(description="Median.")
    ci95: Interval | None = Field(description="95 % confidence interval of the median.")
    quartiles: Interval = Field(description="First and third quartile.")
    iqr: Seconds = Field(description="Interquartile range.")
    min: Seconds = Field(description="The fastest sample.")
    mad: Seconds = Field(description="Median absolute deviation.")
    p90: Seconds | None = Field(description="90th percentile.")
    p99: Seconds | None = Field(description="99th percentile.")
    outliers: tuple[Count, ...] = Field(description="Positions of outliers in samples.")
    samples: Samples = Field(description="All samples, in the order in which they were taken.")


class WarningRecord(Record):
    """A reason to trust a measurement less."""

    kind: str = Field(description="The kind in one word: load, steal, cpu_quota, threads, clock, ….")
    cause: str = Field(description="What was observed, with figures.")
    helps: str = Field(description="What to do about it.")

    def within(self, where: str) -> Self:
        """Return the warning with the place that it concerns in front of its cause."""
        return self.model_copy(update={"cause": f"{where}: {self.cause}"})


class EnvironmentRecord(Record):
    """The machine and the software of a measurement; null is what could not be read, or is not there."""

    cpu: str = Field(description="Model of the processor.")
    cores: Count | None = Field(description="Physical cores.")
    memory_bytes: Bytes = Field(description="Memory of the machine.")
    gpu: str | None = Field(description="Name of the GPU.")
    driver: str | None = Field(description="Version of its driver.")
    cuda: str | None = Field(description="Version of CUDA that torch was built for.")
    tf32: bool | None = Field(description="Whether float32 convolutions on the GPU may round to 10 bits of fraction.")
    torch: str = Field(description="Version of torch.")
    python: str = Field(description="Version of Python.")
    platform: str = Field(description="Operating system.")
    mnfpn: str = Field(description="Version of mnfpn.")
    date: str = Field(description="When it was measured, in ISO 8601 with the offset from UTC.")
