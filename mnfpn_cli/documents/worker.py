"""What a process that measures a run takes, and what a worker of a sweep returns: a request, and its response."""

from typing import Annotated, Literal

from pydantic import Field

from mnfpn_cli.documents.base import (
    Count,
    Document,
    ElementValue,
    Message,
    Model,
    NetworkDocument,
    Positive,
    Record,
    Seconds,
    Share,
    Word,
)
from mnfpn_cli.documents.bench import RunProfile, RunRecord
from mnfpn_cli.documents.records import ALLOCATOR, EnvironmentRecord, InputRecord, WarningRecord
from mnfpn_cli.settings.input import DType
from mnfpn_cli.settings.measuring import DEFAULT_ALLOCATOR, Allocator, Sampling, sampling


class SamplingRecord(Record):
    """When a measurement is warm, and when it ends. A key is null where nothing was asked for: it has a default."""

    precision: Share | None = Field(
        None, description="Half-width of the median's 95 % interval at which to stop, over the median."
    )
    passes: Positive | None = Field(None, description="Number of passes to time.")
    max_time_s: Seconds | None = Field(None, description="Time after which to stop timing, precise or not, in seconds.")
    min_time_s: Seconds | None = Field(None, description="Least time to spend on timing, in seconds.")
    warmup: Count | None = Field(None, description="Passes of warm-up, before the timed ones.")

    def sampling(self) -> Sampling:
        """Return the sampling, with defaults for what is null.

        Raises:
            UsageError: where values contradict each other.
        """
        return sampling(self.warmup, self.passes, self.precision, self.min_time_s, self.max_time_s)


def sampling_record(
    warmup: int | None,
    passes: int | None,
    precision: float | None,
    min_time_s: float | None,
    max_time_s: float | None,
) -> SamplingRecord:
    """Make the record of what was asked for.

    Raises:
        UsageError: where a time is not finite or is negative, or values contradict each other.
    """
    sampling(warmup, passes, precision, min_time_s, max_time_s)  # a record would refuse them in other words
    return SamplingRecord(
        warmup=warmup, passes=passes, precision=precision, min_time_s=min_time_s, max_time_s=max_time_s
    )


class CheckpointRequest(Record):
    """A checkpoint to load."""

    path: str = Field(description="Path of the file.")
    key: str | None = Field(None, description="Dotted key of the state dict in it; null for where scripts put it.")
    partial: str | None = Field(
        None, description="Part of the network whose layers need not fit; null where all of them must."
    )


class QuantizationRequest(Record):
    """What int8 is calibrated with, and outputs are judged by."""

    calibration: str | None = Field(None, description="A folder of images, or an .npz file; null for random images.")
    keep_float: tuple[str, ...] = Field((), description="Paths of layers that stay in float32.")
    mean: tuple[ElementValue, ...] | None = Field(None, description="Mean of each channel of an image.")
    std: tuple[ElementValue, ...] | None = Field(None, description="Deviation of each channel of an image.")


class RunRequest(NetworkDocument):
    """The request of a run: what to measure, and how. No command prints it."""

    command: Literal["worker request"] = Field("worker request", description="Names a request.")
    model: Model | None = Field(None, description="The external network; null for a network from settings.")
    input: InputRecord = Field(description="The input of a pass.")
    weights: CheckpointRequest | None = Field(None, description="The checkpoint to load; null for random weights.")
    seed: Count = Field(0, description="Seed of random weights.")
    runtime: Word = Field(description="What executes the network.")
    device: Word = Field(description="The device; auto for the best that the machine has.")
    dtype: DType = Field(description="The element type that the run computes in.")
    threads: Positive | None = Field(description="Threads of the CPU; null for torch's choice.")
    train: bool = Field(description="Whether a pass is a training step, not an inference pass.")
    allocator: Allocator = Field(DEFAULT_ALLOCATOR, description=ALLOCATOR)
    cold_cache: bool = Field(False, description="Whether caches are cleared before each pass.")
    tflite: str | None = Field(None, description="The file that LiteRT runs instead of the network; null for none.")
    quantization: QuantizationRequest = Field(QuantizationRequest(), description="What int8 is calibrated with.")
    sampling: SamplingRecord = Field(description="When the measurement is warm, and when it ends.")
    by_layer: bool = Field(description="Whether each layer is timed too.")
    roofline: bool = Field(False, description="Whether each layer is compared with the peaks of the device.")

    def respond(
        self, status: "ResponseStatus", reason: str | None = None, measured: "Measured | None" = None
    ) -> "RunResponse":
        """Return the response to this request."""
        return RunResponse(settings=self.settings, model=self.model, status=status, reason=reason, measured=measured)


class Measured(Record):
    """The measurement of a run."""

    run: RunRecord = Field(description="The run with its samples.")
    warnings: tuple[WarningRecord, ...] = Field(description="Reasons to trust the figures less.")
    environment: EnvironmentRecord = Field(description="Machine and software of the measurement.")
    profile: RunProfile | None = Field(description="Where the time of the run goes; null where layers were not timed.")


ResponseStatus = Literal["done", "failed", "unavailable"]


class RunResponse(Document):
    """The response to a request: the measurement of a run, or the reason why there is none. No command prints it."""

    command: Literal["worker response"] = Field("worker response", description="Names a response.")
    status: ResponseStatus = Field(description="Whether the run was measured, failed, or cannot run on this machine.")
    reason: Message | None = Field(
        description="Why the run was not measured, or why its layers were not timed; null where neither is so."
    )
    measured: Measured | None = Field(description="The measurement; null where there is none.")


Exchanged = Annotated[RunRequest | RunResponse, Field(discriminator="command")]
"""Either document of a worker."""
