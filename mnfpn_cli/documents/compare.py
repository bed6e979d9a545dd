"""What `mnfpn compare` returns."""

from typing import Literal

from pydantic import Field

from mnfpn_cli.documents.base import Bytes, Document, Macs, Model, Parameters, Positive, Ratio, Record, Share, Word
from mnfpn_cli.documents.records import Ended, EnvironmentRecord, InputRecord, LatencyRecord, WarningRecord
from mnfpn_cli.settings.input import DType
from mnfpn_cli.settings.network import NetworkSettings

Verdict = Literal["a_faster", "b_faster", "same", "inconclusive"]


class SideRecord(Record):
    """One of the two: what executed it, and what it costs."""

    name: str = Field(description="The options that it was given by, or the name of its file.")
    runtime: Word = Field(description="What executes the network.")
    dtype: DType = Field(description="The element type that it computes in.")
    device: Word = Field(description="The device.")
    threads: Positive = Field(description="Threads of the CPU.")
    train: bool = Field(description="Whether training steps are timed, not inference passes.")
    input: InputRecord = Field(description="The input of a pass.")
    settings: NetworkSettings | None = Field(description="All settings of the network; null where it has none.")
    model: Model | None = Field(description="The network that others wrote; null where there is none.")
    parameters: Parameters = Field(description="Parameters.")
    macs: Macs = Field(description="MACs of one image.")
    model_bytes: Bytes = Field(description="Parameters and buffers in the dtype.")
    activation_bytes: Bytes = Field(description="Peak of the activations for the batch.")
    comparable: bool | None = Field(
        description="Whether its outputs can be compared with its own eager float32's; null where they were not."
    )
    max_difference: Ratio | None = Field(
        description="Largest difference from its own eager float32, over each output's largest value."
    )
    latency_s: LatencyRecord = Field(description="The time of a pass in the first run.")


class SideTimes(Record):
    """The times of a side."""

    latency_s: LatencyRecord = Field(description="The time of a pass.")


class VerdictRecord(Record):
    """Which is faster."""

    verdict: Verdict = Field(description="Which is faster, or that they are the same within the margin.")
    ratio: Ratio | None = Field(description="Time of B over time of A; null with too few passes.")
    ratio_ci95: tuple[Ratio, Ratio] | None = Field(description="95 % confidence interval of the ratio.")
    method: str | None = Field(description="How ratio and interval were worked out.")


class ComparedRun(VerdictRecord):
    """A run that both sides have."""

    name: str = Field(description="The run.")
    ended_by: Ended | None = Field(description="What ended the measurement; null for result files.")
    a: SideTimes = Field(description="The times of A.")
    b: SideTimes = Field(description="The times of B.")


class GatesRecord(Record):
    """What the gates of the command line say, a sentence each."""

    broken: tuple[str, ...] = Field(description="Gates that do not hold.")
    undecided: tuple[str, ...] = Field(description="Gates that could not be decided.")


class CompareDocument(VerdictRecord, Document):
    """The result of `mnfpn compare`; settings and model are those of A, the verdict that of the first run."""

    command: Literal["compare"] = Field("compare", description="The command that made the document.")
    complete: bool = Field(description="Whether all was measured.")
    failure: str | None = Field(description="Why a side failed after some passes; null where none did.")
    margin: Share = Field(description="A difference up to this share is ignored.")
    a: SideRecord = Field(description="The first side.")
    b: SideRecord = Field(description="The second side.")
    runs: tuple[ComparedRun, ...] = Field(min_length=1, description="The runs that both sides have.")
    warnings: tuple[WarningRecord, ...] = Field(description="What makes the verdict less sure.")
    gates: GatesRecord = Field(description="What the gates say.")
    environment: EnvironmentRecord | None = Field(description="What it was measured on; null for result files.")
