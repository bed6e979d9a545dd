"""The document of `mnfpn bench`: the cost of a network, and its measured runs."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from mnfpn_cli.documents.base import (
    ByteRate,
    Bytes,
    Celsius,
    Count,
    Flops,
    Hertz,
    Joules,
    MacRate,
    Macs,
    MeanCount,
    Message,
    NetworkDocument,
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
from mnfpn_cli.documents.noise import NoiseRecord
from mnfpn_cli.documents.quality import GraphRecord, QualityRecord
from mnfpn_cli.documents.records import (
    Ended,
    EnvironmentRecord,
    InputRecord,
    LatencyRecord,
    SampleTime,
    WarningRecord,
    WeightsRecord,
)
from mnfpn_cli.settings.input import DType

Bound = Literal["compute", "memory"]
"""What sets the least time of a layer: the rate of MACs, or that of memory."""


class PartCost(Record):
    """The cost of a part of a network for one image."""

    parameters: Parameters = Field(description="Parameters of the part.")
    macs: Macs = Field(description="MACs of the part.")


class CostRecord(Record):
    """The cost of a network for one image, or for tensors of given shapes."""

    parameters: Parameters = Field(description="Parameters of the network.")
    macs: Macs = Field(description="MACs of convolutions and dense layers.")
    flops: Flops = Field(description="FLOPs: twice the MACs.")
    fvcore_total: Count | None = Field(
        description="Total of fvcore, which it calls flops; null where it cannot count the network."
    )
    fvcore_by_operator: dict[str, Count] | None = Field(
        description="Count of fvcore for each operator; null where it cannot count the network."
    )
    model_bytes: Bytes = Field(description="Parameters and buffers in the dtype of the first run, in bytes.")
    activation_bytes: Bytes = Field(description="Peak of the activations for the first batch in that dtype, in bytes.")
    backbone: PartCost | None = Field(description="Cost of the backbone; null for an external network.")
    pyramid: PartCost | None = Field(description="Cost of the pyramid; null where there is none.")
    head: PartCost | None = Field(description="Cost of the head; null where there is none.")


class SizeRecord(Record):
    """The cost of a network at one size of its input."""

    height: Pixels | None = Field(description="Height of an image, in pixels; null for tensors.")
    width: Pixels | None = Field(description="Width of an image, in pixels; null for tensors.")
    cost: CostRecord = Field(description="Cost of one image of the size.")


class RunConditions(Record):
    """What a run executes, and under which conditions."""

    runtime: Word = Field(description="What executes the network.")
    device: Word = Field(description="The device: cpu, cuda:N or mps.")
    dtype: DType = Field(description="The element type that the run computes in.")
    batch: Positive = Field(description="Images in a batch.")
    input: InputRecord = Field(description="The input of a pass.")
    train: bool = Field(description="Whether a pass is a training step, not an inference pass.")
    cold_cache: bool = Field(description="Whether caches are cleared before each timed pass.")


POSITION = "Position of the run among runs and not_run together; sizes that do not fit come last."


class FirstResult(Record):
    """The time to the first result, in two parts."""

    model_config = ConfigDict(populate_by_name=True, serialize_by_alias=True)

    prepare: Seconds = Field(description="Time to prepare the network, as to convert or compile it, in seconds.")
    pass_: Seconds = Field(
        validation_alias="pass", serialization_alias="pass", description="Time of the first pass, in seconds."
    )


class GpuRecord(Record):
    """The state of a GPU while passes were timed. A key is null where it could not be read."""

    sm_clock_hz: Hertz | None = Field(description="Median clock of the multiprocessors, in hertz.")
    memory_clock_hz: Hertz | None = Field(description="Median clock of the memory, in hertz.")
    max_sm_clock_hz: Hertz | None = Field(description="Highest clock that the multiprocessors can have, in hertz.")
    temperature_c: Celsius | None = Field(description="Highest temperature of the chip, in degrees Celsius.")
    power_w: Watts | None = Field(description="Mean power of the board, in watts.")
    throttle_reasons: tuple[str, ...] | None = Field(description="Why the GPU was slowed down; empty where it was not.")


class RunRecord(RunConditions):
    """A run that was measured."""

    position: Count = Field(0, description=POSITION)
    gpu_name: str | None = Field(description="Name of the GPU; null on the CPU.")
    channels_last: bool = Field(description="Whether the runtime is channels-last.")
    threads: Positive = Field(description="Threads of the CPU.")
    first_result_s: FirstResult = Field(description="Time to the first result, in seconds.")
    warmup: Count = Field(description="Passes of warm-up, before the timed ones.")
    warmup_settled: bool | None = Field(
        description="Whether passes were steady after the warm-up; null where their number was given."
    )
    ended_by: Ended = Field(description="What ended the measurement.")
    latency_s: LatencyRecord = Field(description="Time of a pass, in seconds.")
    enqueue_s: LatencyRecord | None = Field(
        description="Time that the host takes to queue a pass, in seconds; null where the device has no queue."
    )
    speed_up: Ratio = Field(description="Time of the first run on this device and input over that of this run.")
    speed_up_ci95: tuple[Ratio, Ratio] | None = Field(
        None, description="95 % interval of that ratio; null for the first run, and with too few samples."
    )
    throughput_per_s: Rate = Field(description="Images per second at the median latency.")
    comparable: bool | None = Field(
        None, description="Whether the outputs can be compared with eager float32's; null where they were not."
    )
    max_difference: Ratio | None = Field(
        description="Largest difference from eager float32, over each output's largest value; null if unknown."
    )
    quality: QualityRecord | None = Field(
        None, description="Outputs beside eager float32's; null in float32, and where they were not compared."
    )
    graph: GraphRecord | None = Field(
        None, description="What the runtime executed; null in float32, and where it cannot be known."
    )
    verdict: Message | None = Field(
        None, description="What the dtype brings and costs, in a sentence; null in float32 and for training steps."
    )
    file_bytes: Bytes | None = Field(
        None, description="Size of the file that the runtime loads, in bytes; null where it loads none."
    )
    peak_memory_bytes: Bytes | None = Field(
        description="Peak of memory from preparing on, in bytes: to the last pass where the run had a process of its "
        "own, else to the end of warm-up; null where it cannot be known."
    )
    added_memory_bytes: Bytes | None = Field(
        description="That peak less the memory in use before, in bytes; null where it cannot be known."
    )
    isolated: bool = Field(False, description="Whether the run had a process of its own.")
    passes_memory_bytes: Bytes | None = Field(
        None,
        description="Peak of memory in the timed passes alone, in bytes; null where the run had no process of its own, "
        "and where it cannot be known.",
    )
    driver_memory_bytes: Bytes | None = Field(
        None,
        description="Memory that the run's own process takes on its GPU after the passes, by the driver: also what is "
        "cached, and the context; null where it cannot be known, and on the CPU.",
    )
    turn_s: Seconds | None = Field(
        None,
        description="Median time that it took beside a pass to wake the run's own process and to hear from it, in "
        "seconds; null without one.",
    )
    page_faults: MeanCount | None = Field(
        None,
        description="Pages of memory that the system prepared in a pass, on average; null on a GPU, and where it does "
        "not count them.",
    )
    gpu: GpuRecord | None = Field(
        description="State of the GPU while passes were timed; null where it could not be read."
    )
    energy_j_per_image: Joules | None = Field(
        description="Energy of one image, in joules; null where power could not be read."
    )
    failure: str | None = Field(
        description="Why the run failed, after some passes or by its outputs; null where it did not."
    )


class PostprocessRecord(Record):
    """The time to turn a detector's outputs for a batch into boxes: decoding and suppression, without the network."""

    device: Word = Field(description="The device: cpu, cuda:N or mps.")
    batch: Positive = Field(description="Images in a batch.")
    input: InputRecord = Field(description="The input of the network.")
    measured_on: Message = Field(description="What the outputs are of, as the time depends on it: random logits.")
    boxes: Count = Field(description="Boxes found in the batch.")
    latency_s: LatencyRecord = Field(description="Time for the batch, in seconds.")


class NotRunRecord(RunConditions):
    """A run without a measurement."""

    position: Count = Field(0, description=POSITION)
    status: Literal["unavailable", "too_large", "failed"] = Field(
        description="Why there is no measurement: not possible here, too large for the memory, or failed."
    )
    reason: Message = Field(description="The reason, in a sentence.")


class PartTime(Record):
    """The time and the work of a part of the network, for the whole batch. A key is null where it was not measured."""

    part: str = Field(description="Name of the part: stem, stages.N, laterals, smooth p3, ….")
    seconds: Seconds | None = Field(description="Time of the part in a pass, in seconds.")
    macs: Macs = Field(description="MACs of the part for the whole batch.")
    bytes: Bytes = Field(description="Bytes that the part reads and writes for the whole batch.")
    floor_s: Seconds | None = Field(description="Least time that the device could take for the part, in seconds.")
    bound: Bound | None = Field(description="What sets the larger share of that time: compute or memory.")
    page_faults: MeanCount | None = Field(
        None, description="Page faults of the part in a pass; null where the runtime does not run layer by layer."
    )


class PartWaits(Record):
    """What the time of a part goes to. A key is null where it was not measured; the others add up to the time."""

    part: str = Field(description="Name of the part.")
    seconds: Seconds = Field(description="Time of the part in a pass, less what timing it took, in seconds.")
    compute_s: Seconds = Field(description="Floor of its layers that compute bounds, in seconds.")
    memory_s: Seconds = Field(description="Floor of its layers that memory bounds, in seconds.")
    page_faults_s: Seconds | None = Field(
        description="Page faults times what one takes with as many threads, in seconds."
    )
    calls_s: Seconds | None = Field(
        description="Time with the smallest images beyond their floor: what the calls themselves take, in seconds."
    )
    threads_s: Seconds | None = Field(
        description="What the threads take longer than one thread's time divided by their number, in seconds."
    )
    repeated_s: Seconds = Field(
        description="Maps that separate norms, activations and paddings read and write once more, in seconds."
    )
    unfilled_s: Seconds = Field(description="Vectors that the channels of layers do not fill, in seconds.")
    other_s: Seconds = Field(description="What is left: what kernels lose, in seconds.")


class JoinedRecord(Record):
    """A layer that an operator computes beside another one, which has more work."""

    path: str = Field(description="Path of the module.")
    part: str = Field(description="Part of the network that it belongs to.")


class LayerTimeRecord(PartTime):
    """The time and the work of one layer, or of several that a runtime joined."""

    path: str = Field(
        description="Path of the module; for the work between the layers of a container, path of the container. Of "
        "layers that a runtime joined, that of the one with most work."
    )
    joined: tuple[JoinedRecord, ...] = Field(
        (), description="Other layers that the same operators of the runtime compute, in this time."
    )


class OperatorTimeRecord(Record):
    """An operator that a runtime executed in a pass."""

    name: str = Field(description="Name of the operator, as the runtime has it.")
    kind: str = Field(description="Type of the operator, as the runtime has it.")
    start_s: Seconds = Field(description="When it began, in seconds from the beginning of the pass.")
    seconds: Seconds = Field(description="Time that it took, in seconds.")
    part: str = Field(description="Part of the network that it belongs to.")
    paths: tuple[str, ...] = Field(description="Paths of the modules that it computes, the one with most work first.")
    macs: Macs = Field(description="MACs of the operator for the whole batch.")


class RooflineRecord(Record):
    """What the device can do, and how close a pass comes to it."""

    macs_per_s: MacRate = Field(
        description="MACs per second in a large product of matrices or convolution, whichever is faster."
    )
    bytes_per_s: ByteRate = Field(description="Bytes per second in a large copy, read plus written.")
    floor_s: Seconds = Field(description="Least time of a pass, the sum over its layers, in seconds.")
    reached: Share = Field(description="That least time over the measured time of a pass.")


class AdviceRecord(Record):
    """The change of settings that would help most."""

    part: str = Field(description="Part that takes most of the time.")
    share: Share = Field(description="Share of the time that the part takes.")
    option: Message = Field(description="Parameters that make the change: `set` KEY=VALUE.")
    speed_up: Ratio = Field(description="Estimated time of a pass over its time with the change.")
    sentence: Message = Field(min_length=1, description="The advice in a sentence, without full stop.")


class ProfileRecord(Record):
    """Where the time of a pass goes, and how short it could be. A key is null where it was not asked for."""

    measured_s: SampleTime = Field(description="Median time of a pass of the run, in seconds.")
    marked_s: Seconds | None = Field(description="Median time of a pass while its layers were timed, in seconds.")
    undisturbed_s: Seconds | None = Field(
        description="Median time of a pass between those, without timing its layers, in seconds."
    )
    launch_bound: bool = Field(description="Whether a pass takes as long as the host needs to queue it.")
    roofline: RooflineRecord | None = Field(description="What the device can do.")
    advice: AdviceRecord | None = Field(description="The change that would help most; null where none would.")
    parts: tuple[PartTime, ...] = Field(description="Parts of the network.")
    layers: tuple[LayerTimeRecord, ...] = Field(description="Layers in the order in which they run.")
    operators: tuple[OperatorTimeRecord, ...] = Field(
        (), description="Operators of one pass whose time was the median, in order; empty without times of layers."
    )
    waits: tuple[PartWaits, ...] = Field(
        (), description="What the parts wait for; empty but on a CPU with both `by_layer` and `roofline`."
    )


class RunProfile(ProfileRecord, RunConditions):
    """The profile of a run, with its conditions."""


class InputNoise(NoiseRecord):
    """Which layers lose the precision of int8 at one input."""

    input: InputRecord = Field(description="The input of a pass.")


class BenchDocument(NetworkDocument):
    """The cost of a network, and its measured runs: the result of `mnfpn bench`."""

    command: Literal["bench"] = Field("bench", description="The command that made the document.")
    complete: bool = Field(description="Whether everything was measured; false after Ctrl-C.")
    input: InputRecord = Field(description="Input of the first run: its first size and batch.")
    cost: CostRecord = Field(description="Cost at the first size.")
    sizes: tuple[SizeRecord, ...] = Field(description="Cost at each size.")
    runs: Annotated[tuple[RunRecord, ...], Field(min_length=1)] = Field(description="Runs that were measured.")
    not_run: tuple[NotRunRecord, ...] = Field(description="Runs that were not measured.")
    postprocess: tuple[PostprocessRecord, ...] | None = Field(
        description="Time of turning outputs into boxes, for each device and input; null where not asked for."
    )
    profiles: tuple[RunProfile, ...] | None = Field(
        description="Where the time of runs goes; null where not asked for."
    )
    noise: tuple[InputNoise, ...] | None = Field(
        None, description="Which layers lose the precision of int8, for each input; null where not asked for."
    )
    failures: tuple[Message, ...] = Field(description="What was asked for by name and failed, a sentence each.")
    warnings: tuple[WarningRecord, ...] = Field(description="Reasons to trust the figures less.")
    environment: EnvironmentRecord = Field(description="Machine and software of the measurement.")
    weights: WeightsRecord | None = Field(description="The checkpoint that was loaded; null without `weights`.")

    @property
    def all_runs(self) -> list[RunRecord | NotRunRecord]:
        """The runs in the order in which they were asked for."""
        return sorted((*self.runs, *self.not_run), key=lambda run: run.position)
