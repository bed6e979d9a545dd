"""What `mnfpn bench` returns."""

from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from mnfpn_cli.documents.base import (
    ByteRate,
    Bytes,
    Celsius,
    Count,
    Document,
    Flops,
    Hertz,
    Joules,
    MacRate,
    Macs,
    Parameters,
    Pixels,
    Positive,
    Rate,
    Ratio,
    Record,
    Seconds,
    Share,
    Watts,
    Word,
)
from mnfpn_cli.documents.records import (
    Ended,
    EnvironmentRecord,
    InputRecord,
    LatencyRecord,
    Sample,
    WarningRecord,
    WeightsRecord,
)
from mnfpn_cli.settings.input import DType
from mnfpn_cli.settings.problems import SettingsError

Bound = Literal["compute", "memory"]
"""What sets the floor of a time."""


class PartCost(Record):
    """What a part of a network costs for one image."""

    parameters: Parameters = Field(description="Parameters of the part.")
    macs: Macs = Field(description="MACs of the part.")


class CostRecord(Record):
    """What a network costs for one image, or for tensors of given shapes."""

    parameters: Parameters = Field(description="Parameters.")
    macs: Macs = Field(description="MACs of convolutions and dense layers.")
    flops: Flops = Field(description="2 × MACs.")
    fvcore_total: Count | None = Field(description="What fvcore counts; null where it cannot count the network.")
    fvcore_by_operator: dict[str, Count] | None = Field(description="The same for each operator.")
    model_bytes: Bytes = Field(description="Parameters and buffers in the dtype of the runs.")
    activation_bytes: Bytes = Field(description="Peak of the activations for the first batch, in that dtype.")
    backbone: PartCost | None = Field(description="The backbone; null for a model of others.")
    pyramid: PartCost | None = Field(description="The pyramid; null where there is none.")
    head: PartCost | None = Field(description="The head; null where there is none.")


class SizeRecord(Record):
    """What a network costs at one size."""

    height: Pixels | None = Field(description="Height of an image; null for tensors.")
    width: Pixels | None = Field(description="Width of an image; null for tensors.")
    cost: CostRecord = Field(description="The cost of one image of the size.")


class RunConditions(Record):
    """What is run, and how."""

    runtime: Word = Field(description="What executes the network.")
    device: Word = Field(description="The device: cpu, cuda:N or mps.")
    dtype: DType = Field(description="The element type that the run computes in.")
    batch: Positive = Field(description="Images in a batch.")
    input: InputRecord = Field(description="The input of a pass.")
    train: bool = Field(description="Whether training steps are timed, not inference passes.")
    cold_cache: bool = Field(description="Whether caches are cleared before each pass.")


POSITION = "Place of the run in the order in which runs and not_run were asked for; 0 for the first."


class FirstResult(Record):
    """The time to the first result."""

    model_config = ConfigDict(populate_by_name=True, serialize_by_alias=True)

    prepare: Seconds = Field(description="To prepare the network: to convert, to compile.")
    pass_: Seconds = Field(validation_alias="pass", serialization_alias="pass", description="To run it once.")


class GpuRecord(Record):
    """What was read of a GPU while passes were timed; null is what could not be read."""

    sm_clock_hz: Hertz | None = Field(description="Median clock of the multiprocessors.")
    memory_clock_hz: Hertz | None = Field(description="Median clock of the memory.")
    max_sm_clock_hz: Hertz | None = Field(description="The highest clock of the multiprocessors.")
    temperature_c: Celsius | None = Field(description="The highest temperature of the chip.")
    power_w: Watts | None = Field(description="Mean power of the board.")
    throttle_reasons: tuple[str, ...] | None = Field(description="Why it ran slower than it could.")


class RunRecord(RunConditions):
    """A run that was measured."""

    position: Count = Field(0, description=POSITION)
    device_name: str | None = Field(description="Name of the GPU; null on the CPU.")
    channels_last: bool = Field(description="Whether the runtime is channels-last.")
    threads: Positive = Field(description="Threads of the CPU.")
    first_result_s: FirstResult = Field(description="What the first result took.")
    warmup: Count = Field(description="Passes before those that were timed.")
    warmup_settled: bool | None = Field(
        description="Whether passes had become steady by then; null where their number was given."
    )
    ended_by: Ended = Field(description="What ended the measurement.")
    latency_s: LatencyRecord = Field(description="The time of a pass.")
    enqueue_s: LatencyRecord | None = Field(
        description="The time in which the host queues a pass; null where the device has no queue."
    )
    speed_up: Ratio = Field(description="Median of the first runtime on this device and input over that of this run.")
    throughput_per_s: Rate = Field(description="Images a second at the median latency.")
    comparable: bool | None = Field(
        None, description="Whether its outputs can be compared with eager float32's; null where they were not."
    )
    max_difference: Ratio | None = Field(
        description="Largest difference from eager float32, over each output's largest value; null where there is none."
    )
    peak_memory_bytes: Bytes | None = Field(
        description="Peak of the memory from preparing to warm; null where it cannot be known."
    )
    added_memory_bytes: Bytes | None = Field(description="The same less what was in use before.")
    gpu: GpuRecord | None = Field(description="The GPU behind the last pass; null where there is none.")
    energy_j_per_image: Joules | None = Field(description="Energy of an image; null where power could not be read.")
    failure: str | None = Field(description="Why the run failed after some passes; null where it did not.")


class NotRunRecord(RunConditions):
    """A run without a measurement."""

    position: Count = Field(0, description=POSITION)
    status: Literal["unavailable", "too_large", "failed"] = Field(
        description="Not possible here, too large for the memory, or failed."
    )
    reason: str = Field(description="Why.")


class PartTime(Record):
    """Where the time of a part of the network goes; null is what was not measured."""

    part: str = Field(description="The part: stem, stages.N, laterals, smooth p3, ….")
    seconds: Seconds | None = Field(description="Its time.")
    macs: Macs = Field(description="Its MACs for the whole batch.")
    bytes: Bytes = Field(description="Bytes that it reads and writes for the whole batch.")
    floor_s: Seconds | None = Field(description="The least time that the device could take.")
    bound: Bound | None = Field(description="What sets the larger share of the floor.")


class LayerTimeRecord(PartTime):
    """The same of one layer."""

    path: str = Field(description="Its module; of what a container computes beside its layers, the container.")


class RooflineRecord(Record):
    """What the device can do, and how near a pass comes."""

    macs_per_s: MacRate = Field(description="In a large matrix product.")
    bytes_per_s: ByteRate = Field(description="In a large copy, read plus written.")
    floor_s: Seconds = Field(description="The least time of a pass, layer by layer.")
    reached: Share = Field(description="The floor over the measured time of a pass.")


class AdviceRecord(Record):
    """The change that would help most."""

    part: str = Field(description="The part that takes most of the time.")
    share: Share = Field(description="Its share of the time.")
    option: str = Field(description="The options that change it.")
    speedup: Ratio = Field(description="How many times as fast the network would be, estimated.")
    sentence: str = Field(min_length=1, description="The same in words.")


class ProfileRecord(Record):
    """Where the time of a pass goes, and how much less it could be; null is what was not asked for."""

    measured_s: Sample = Field(description="Median time of a pass of the run.")
    marked_s: Seconds | None = Field(description="Median time of a pass while its layers were timed.")
    undisturbed_s: Seconds | None = Field(description="Median time of as many passes between those.")
    launch_bound: bool = Field(description="Whether a pass takes the time that the host needs to queue it.")
    roofline: RooflineRecord | None = Field(description="What the device can do.")
    advice: AdviceRecord | None = Field(description="What would help most; null where nothing would.")
    parts: tuple[PartTime, ...] = Field(description="The parts of the network.")
    layers: tuple[LayerTimeRecord, ...] = Field(description="The layers, in the order in which they run.")


class RunProfile(ProfileRecord, RunConditions):
    """The profile of a run."""


class BenchDocument(Document):
    """The result of `mnfpn bench`."""

    command: Literal["bench"] = Field("bench", description="The command that made the document.")
    complete: bool = Field(description="Whether all was measured; false after Ctrl-C.")
    input: InputRecord = Field(description="The first size and batch.")
    cost: CostRecord = Field(description="The cost at the first size.")
    sizes: tuple[SizeRecord, ...] = Field(description="The cost at each size.")
    runs: Annotated[tuple[RunRecord, ...], Field(min_length=1)] = Field(description="The runs that were measured.")
    not_run: tuple[NotRunRecord, ...] = Field(description="The runs that were not.")
    profiles: tuple[RunProfile, ...] | None = Field(description="Where the time goes; null where not asked for.")
    failures: tuple[str, ...] = Field(description="What was asked for and could not be done.")
    warnings: tuple[WarningRecord, ...] = Field(description="What makes the figures less sure.")
    environment: EnvironmentRecord = Field(description="What it was measured on.")
    weights: WeightsRecord | None = Field(description="What became of `weights`; null where none were given.")

    @model_validator(mode="after")
    def _of_a_network(self) -> Self:
        if self.settings is None and self.model is None:
            raise SettingsError("settings", "must be there where there is no model", "null")
        return self
