"""What a sweep's worker is given, and what it returns."""

from typing import Literal

from pydantic import Field

from mnfpn_cli.documents.base import Count, Pixels, Positive, Record, Seconds, Share, Word
from mnfpn_cli.documents.bench import RunProfile, RunRecord
from mnfpn_cli.documents.records import EnvironmentRecord, WarningRecord
from mnfpn_cli.settings.input import DType
from mnfpn_cli.settings.measuring import Sampling, sampling
from mnfpn_cli.settings.network import NetworkSettings


class SamplingRecord(Record):
    """When a measurement is warm, and when it is enough; null is what was not said, which has a default."""

    precision: Share | None = Field(None, description="How narrow the median's 95 % interval must be, over the median.")
    passes: Positive | None = Field(None, description="Passes to time.")
    max_time_s: Seconds | None = Field(None, description="When to stop, precise or not.")
    min_time_s: Seconds | None = Field(None, description="The least time of passes.")
    warmup: Count | None = Field(None, description="Passes before those that are timed.")

    def sampling(self) -> Sampling:
        """Give what was said with all defaults.

        Raises:
            UsageError: where it contradicts itself.
        """
        return sampling(self.warmup, self.passes, self.precision, self.min_time_s, self.max_time_s)


class RunRequest(Record):
    """A run that is to be measured."""

    settings: NetworkSettings = Field(description="All settings of the network.")
    height: Pixels = Field(description="Height of an image.")
    width: Pixels = Field(description="Width of an image.")
    runtime: Word = Field(description="What executes the network.")
    device: Word = Field(description="The device; auto is the best there is.")
    dtype: DType = Field(description="The element type that the run computes in.")
    batch: Positive = Field(description="Images in a batch.")
    threads: Positive | None = Field(description="Threads of the CPU; null is torch's choice.")
    train: bool = Field(description="Whether a pass is a training step, not an inference pass.")
    sampling: SamplingRecord = Field(description="When the measurement is enough.")
    by_layer: bool = Field(description="Whether each layer is timed too.")


class Measured(Record):
    """What was measured of a run."""

    run: RunRecord = Field(description="The run.")
    warnings: tuple[WarningRecord, ...] = Field(description="What makes the figures less sure.")
    environment: EnvironmentRecord = Field(description="What it was measured on.")
    profile: RunProfile | None = Field(description="Where the time goes; null where layers were not timed.")


class RunResponse(Record):
    """What came of a run."""

    status: Literal["done", "failed", "unavailable"] = Field(
        description="Whether the run was measured; unavailable is what cannot run there."
    )
    reason: str | None = Field(description="Why not; of a run that is done, why its layers were not timed.")
    measured: Measured | None = Field(description="What was measured; null where nothing was.")
