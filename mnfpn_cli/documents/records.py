"""Records that several documents share: inputs, checkpoints, planned runs, latencies, warnings and environments."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from mnfpn_cli.documents.base import (
    Bytes,
    Cells,
    Count,
    Macs,
    Message,
    Parameters,
    Pixels,
    Positive,
    Record,
    ScoreValue,
    Seconds,
    Share,
    Word,
)
from mnfpn_cli.settings.input import DType
from mnfpn_cli.settings.measuring import DEFAULT_ALLOCATOR, Allocator
from mnfpn_cli.settings.network import NetworkSettings


class ImageSize(Record):
    """The size of an image."""

    height: Pixels = Field(description="Height of the image, in pixels.")
    width: Pixels = Field(description="Width of the image, in pixels.")


class ImageInput(Record):
    """A batch of images, (batch, channels, height, width)."""

    batch: Count = Field(description="Images in the batch.")
    channels: Count = Field(description="Channels of an image.")
    height: Pixels = Field(description="Height of an image, in pixels.")
    width: Pixels = Field(description="Width of an image, in pixels.")


class MapSize(Record):
    """The size of a feature map."""

    height: Cells = Field(description="Height of the map, in cells.")
    width: Cells = Field(description="Width of the map, in cells.")


class TensorInput(Record):
    """A tensor that a network takes."""

    shape: Annotated[tuple[Positive, ...], Field(min_length=1)] = Field(
        description="Shape of the tensor, with its batch."
    )
    dtype: Word | None = Field(
        description="Element type of the tensor; null where none was given, which means float32."
    )


class InputRecord(Record):
    """The input of a pass: a batch of images, or tensors of given shapes."""

    batch: Positive = Field(description="Images in the batch; for tensors, the first dimension of the first tensor.")
    channels: Positive | None = Field(description="Channels of an image; null for tensors.")
    height: Pixels | None = Field(description="Height of an image, in pixels; null for tensors.")
    width: Pixels | None = Field(description="Width of an image, in pixels; null for tensors.")
    shapes: tuple[TensorInput, ...] | None = Field(description="The tensors in order; null for images.")

    @model_validator(mode="after")
    def _check_images_or_tensors(self) -> Self:
        if None in (self.channels, self.height, self.width) and not self.shapes:
            raise PydanticCustomError("input", "must have channels, height and width, or shapes")
        return self


class WeightsRecord(Record):
    """A checkpoint that was loaded into a network."""

    file: str = Field(description="Name of the checkpoint's file.")
    layout: str = Field(description="Library whose names of tensors the file uses, as torchvision or mnfpn.")
    matched: Count = Field(description="Tensors of the network that were loaded from the file.")
    ignored: tuple[str, ...] = Field(description="Keys of the file that the network does not have.")
    missing: tuple[str, ...] = Field(description="Keys of the network that the file does not have.")
    skipped: tuple[str, ...] = Field(
        description="Keys of the network that keep their initial values, as the file has their layers in other shapes: "
        "only in the part that `weights_partial` names."
    )
    overridden: tuple[str, ...] = Field(
        description="Keys of the file for a layer that the network shares, replaced by different values."
    )
    settings_differ: tuple[str, ...] = Field(
        description="Keys of the network's settings that differ from those in the file, as pyramid.upsample, or from "
        "those of all networks of its layout."
    )


class ScoreRecord(Record):
    """How good a network is by a metric, of which more is better."""

    metric: str = Field(description="Name of the metric, as map; macs for the MACs of one image.")
    value: ScoreValue = Field(description="The score, in the unit of its metric.")
    error: ScoreValue | None = Field(description="Standard error of an estimate, in the unit; null where it is none.")
    kind: Literal["measured", "published", "estimated", "planned"] = Field(
        description="Whether the score was measured by the user, published, estimated, or follows from the plan."
    )
    source: Message = Field(description="Where the score came from.")
    date: str | None = Field(description="When it was stored: UTC, in ISO 8601; null where it was not.")


class PredictionRecord(Record):
    """The time of a run that was not measured, as a model of its machine predicts it."""

    seconds: Seconds = Field(description="Predicted median time of a pass, in seconds.")
    low: Seconds = Field(description="Lower end of the 90 % interval of the prediction, in seconds.")
    high: Seconds = Field(description="Upper end of the 90 % interval of the prediction, in seconds.")
    extrapolated: Message = Field(
        description="Why the run is outside of what the model was fitted on; empty where it is inside."
    )


class PlannedCost(Record):
    """The cost of a run, by its plan."""

    parameters: Parameters = Field(description="Parameters of the network.")
    macs: Macs = Field(description="MACs of one image.")
    planned_memory_bytes: Bytes = Field(
        description="Weights, and the peak of activations in an inference pass of the whole batch, in bytes."
    )
    levels: Count = Field(description="Levels of the pyramid; 1 without one.")


ALLOCATOR = (
    "Where memory goes that a pass frees: system, as the C library decides; keep, to the next pass; or jemalloc."
)
"""The description of this key, wherever it is."""


class PlannedRun(Record):
    """A run: a network, an input, and what executes it."""

    settings: NetworkSettings = Field(description="All settings of the network.")
    input: ImageInput = Field(description="The input of a pass.")
    runtime: str = Field(description="What executes the network.")
    device: str = Field(
        description="The device that the run used; for a pending run, the requested one, which may be auto."
    )
    dtype: DType = Field(description="The element type that the run computes in.")
    threads: Count | None = Field(
        description="Threads of the CPU that the run used; for a pending run, those requested; null for torch's choice."
    )
    train: bool = Field(description="Whether a pass is a training step, not an inference pass.")
    allocator: Allocator = Field(DEFAULT_ALLOCATOR, description=ALLOCATOR)
    cost: PlannedCost = Field(description="The cost of the run, by its plan.")


class ComparableRecord(Record):
    """What runs share whose times can be compared."""

    machine: str = Field(description="Kind of the machine: its processor and cores, or its GPU.")
    device: str = Field(description="Device of the runs.")
    batch: Count = Field(description="Images in a batch.")
    train: bool = Field(description="Whether a pass is a training step, not an inference pass.")


class LatencyModelRecord(ComparableRecord):
    """A model that predicts the times of one kind of run, and how well it does on runs that it was not fitted on."""

    runtime: str = Field(description="What executes the runs.")
    dtype: DType = Field(description="The element type that the runs compute in.")
    threads: Count | None = Field(description="Threads of the CPU that were asked for; null for torch's choice.")
    allocator: Allocator = Field(DEFAULT_ALLOCATOR, description=ALLOCATOR)
    learned_from: Count = Field(description="Measured runs that the model is fitted on.")
    median_error: Share = Field(
        description="Median of the relative errors of these runs, each predicted by a model without it."
    )
    within_10: Share = Field(description="Share of these errors that are at most 10 %.")


class StatusCounts(Record):
    """How many runs have each status."""

    done: Count = Field(0, description="Runs that were measured.")
    failed: Count = Field(0, description="Runs that failed.")
    pending: Count = Field(0, description="Runs that are pending.")


Bounds = tuple[Seconds, Seconds]
SampleTime = Annotated[Seconds, Field(ge=1e-12, le=1e9)]
"""The time of a pass, in seconds. The bounds keep every statistic of samples finite."""
Samples = Annotated[tuple[SampleTime, ...], Field(min_length=1)]
Ended = Literal["precision", "noise", "max_time", "passes", "min_time", "interrupted", "failed"]
"""What ended a measurement."""


class LatencyRecord(Record):
    """The time of a pass: samples and their statistics. A statistic is null where there are too few samples for it."""

    median: SampleTime = Field(description="Median of the samples, in seconds.")
    ci95: Bounds | None = Field(description="95 % confidence interval of the median, in seconds.")
    quartiles: Bounds = Field(description="First and third quartile, in seconds.")
    iqr: Seconds = Field(description="Interquartile range, in seconds.")
    min: Seconds = Field(description="Fastest sample, in seconds.")
    mad: Seconds = Field(description="Median absolute deviation, in seconds.")
    p90: Seconds | None = Field(description="90th percentile, in seconds.")
    p99: Seconds | None = Field(description="99th percentile, in seconds.")
    outliers: tuple[Count, ...] = Field(description="Positions of the outliers in samples, from 0.")
    samples: Samples = Field(description="Time of each pass in the order in which they ran, in seconds.")


class WarningRecord(Record):
    """A reason to trust a measurement less."""

    kind: str = Field(description="The kind in one word: load, steal, cpu_quota, threads, clock, ….")
    cause: Message = Field(description="What was observed, with figures.")
    helps: Message = Field(description="What to do about it; empty where nothing need be done.")

    def within(self, where: str) -> Self:
        """Return the warning with the place that it concerns in front of its cause."""
        return self.model_copy(update={"cause": f"{where}: {self.cause}"})


class EnvironmentRecord(Record):
    """The machine and the software of a measurement. A key is null where it could not be read or does not exist."""

    cpu: str = Field(description="Model of the processor.")
    cores: Count | None = Field(description="Physical cores.")
    memory_bytes: Bytes = Field(description="Memory of the machine, in bytes.")
    gpu_name: str | None = Field(description="Name of the GPU.")
    driver: str | None = Field(description="Version of the GPU's driver.")
    cuda: str | None = Field(description="Version of CUDA that torch was built for.")
    tf32: bool | None = Field(description="Whether convolutions on the GPU may round float32 to 10 bits of fraction.")
    torch: str = Field(description="Version of torch.")
    python: str = Field(description="Version of Python.")
    platform: str = Field(description="Operating system.")
    mnfpn: str = Field(description="Version of mnfpn.")
    allocator: Allocator = Field(DEFAULT_ALLOCATOR, description=ALLOCATOR)
    date: str = Field(description="When it was measured, in ISO 8601 with the offset from UTC.")
