"""What `mnfpn compare` returns."""

from typing import Literal

from pydantic import Field

from mnfpn_cli.documents.base import (
    Bytes,
    Count,
    Document,
    Macs,
    Model,
    Parameters,
    Positive,
    Ratio,
    Record,
    Seconds,
    Share,
    Word,
)
from mnfpn_cli.documents.records import Ended, EnvironmentRecord, InputRecord, LatencyRecord, WarningRecord
from mnfpn_cli.settings.input import DType
from mnfpn_cli.settings.network import NetworkSettings

Verdict = Literal["a_faster", "b_faster", "same", "inconclusive"]


class CommitRecord(Record):
    """A commit of the user's repository."""

    ref: str = Field(description="What the user called it: a branch, a tag, a hash.")
    hash: str = Field(description="Its whole hash.")
    subject: str = Field(description="The first line of its message.")


class SideEnvironment(Record):
    """What a side runs in, where its processes are started for it: interpreter, variables, commit."""

    python: str = Field(description="Path of the interpreter.")
    python_version: str = Field(description="Version of Python.")
    torch: str | None = Field(description="Version of torch; null where it is not an installed package.")
    mnfpn: str = Field(description="Version of mnfpn.")
    variables: dict[str, str] = Field(description="Environment variables that were added.")
    commit: CommitRecord | None = Field(description="The commit whose files it uses; null for files as they are.")
    other_packages: dict[str, str | None] = Field(
        description="Versions of the packages in which the two sides differ; null where this side lacks one."
    )


class SideRecord(Record):
    """One of the two sides: a network, what executed it, and its exact figures."""

    name: str = Field(description="Options of the side, or the name of its file.")
    runtime: Word = Field(description="What executes the network.")
    dtype: DType = Field(description="The element type that the network computes in.")
    device: Word = Field(description="The device of its passes.")
    threads: Positive = Field(description="Threads of the CPU.")
    train: bool = Field(description="Whether a pass is a training step, not an inference pass.")
    input: InputRecord = Field(description="The input of a pass.")
    settings: NetworkSettings | None = Field(description="All settings of the network; null for an external network.")
    model: Model | None = Field(description="The external network; null for a network from settings.")
    parameters: Parameters = Field(description="Parameters of the network.")
    macs: Macs = Field(description="MACs of one image.")
    model_bytes: Bytes = Field(description="Parameters and buffers in the dtype, in bytes.")
    activation_bytes: Bytes = Field(description="Peak of the activations for the batch, in bytes.")
    comparable: bool | None = Field(
        description="Whether the outputs can be compared with the side's own eager float32; null where they were not."
    )
    max_difference: Ratio | None = Field(
        description="Largest difference from eager float32, over each output's largest value; null if unknown."
    )
    latency_s: LatencyRecord = Field(description="Time of a pass in the first run, in seconds.")
    environment: SideEnvironment | None = Field(
        None, description="What the side ran in; null where both ran in one process, or for result files."
    )


class SideTimes(Record):
    """The times of one side."""

    latency_s: LatencyRecord = Field(description="Time of a pass, in seconds.")
    processes: tuple[Count, ...] | None = Field(
        None,
        description="Passes of each process, in the order of the samples; null where both sides ran in one process, or "
        "for result files.",
    )


class VerdictRecord(Record):
    """The verdict: which side is faster."""

    verdict: Verdict = Field(
        description="Which side is faster, or that they are the same within the margin, or inconclusive."
    )
    ratio: Ratio | None = Field(description="Time of B over time of A; null with too few passes.")
    ratio_ci95: tuple[Ratio, Ratio] | None = Field(
        description="95 % confidence interval of the ratio; null with too few passes."
    )
    method: str | None = Field(description="Method of the ratio and its interval; null with too few passes.")


class ComparedRun(VerdictRecord):
    """A run that both sides have, with its verdict."""

    name: str = Field(description="Name of the run, in words.")
    ended_by: Ended | None = Field(description="What ended the measurement; null for result files.")
    a: SideTimes = Field(description="Times of A.")
    b: SideTimes = Field(description="Times of B.")
    turn_s: Seconds | None = Field(
        None,
        description="Median time that it took beside a pass to wake its process and to hear from it, in seconds; null "
        "where both sides ran in one process, or for result files.",
    )


class GatesRecord(Record):
    """The gates that did not pass, a sentence each."""

    broken: tuple[str, ...] = Field(description="Gates that B certainly exceeds.")
    undecided: tuple[str, ...] = Field(description="Gates that could not be decided.")


class CompareDocument(VerdictRecord, Document):
    """The comparison of two networks: the result of `mnfpn compare`.

    Settings and model are those of A; the verdict at the top is that of the first run.
    """

    command: Literal["compare"] = Field("compare", description="The command that made the document.")
    complete: bool = Field(description="Whether everything was measured; false after Ctrl-C or a failure.")
    failure: str | None = Field(description="Why a side failed after some passes; null where none did.")
    margin: Share = Field(description="Share up to which a difference of times is ignored.")
    a: SideRecord = Field(description="The first side.")
    b: SideRecord = Field(description="The second side.")
    runs: tuple[ComparedRun, ...] = Field(min_length=1, description="Runs that both sides have.")
    warnings: tuple[WarningRecord, ...] = Field(description="Reasons to trust the verdict less.")
    gates: GatesRecord = Field(description="Gates that did not pass.")
    environment: EnvironmentRecord | None = Field(
        description="Machine and software of the measurement; null for result files."
    )
