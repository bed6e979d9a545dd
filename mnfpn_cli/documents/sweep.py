"""The documents of `mnfpn sweep`: the plan of a space, or the runs of it that were measured."""

from typing import Literal

from pydantic import Field

from mnfpn_cli.documents.base import Count, Document, Message, Ratio, Record, Seconds
from mnfpn_cli.documents.records import LatencyModelRecord, PlannedRun, StatusCounts
from mnfpn_cli.documents.worker import SamplingRecord


class InvalidRuns(Record):
    """Combinations of a space that are not a valid network, for one reason."""

    runs: Count = Field(description="Number of runs.")
    reason: Message = Field(description="Place, rule and value of what is wrong in the settings.")


class SpaceCounts(Record):
    """The numbers of runs in the space of a sweep."""

    runs: Count = Field(description="Valid runs within the budget.")
    repeated: Count = Field(description="Runs that were left out, as another combination gives the same run.")
    all_runtimes: bool = Field(description="Whether all runtimes were asked for; a missing one is then no failure.")


class MeasuringRecord(Record):
    """How the runs of a sweep are measured."""

    sampling: SamplingRecord = Field(
        default_factory=SamplingRecord, description="When a measurement is warm, and when it ends."
    )
    by_layer: bool = Field(False, description="Whether layers are timed, with the runtimes that run layer by layer.")
    timeout_s: Seconds = Field(900.0, description="Time after which a run is stopped and has failed, in seconds.")
    baseline_every: Count = Field(10, description="Runs between two times of the baseline run.")
    max_latency_s: Seconds | None = Field(
        None, description="Latency that a run must be able to reach to be measured, in seconds; null for no limit."
    )


class ScoringRecord(Record):
    """The command of the user's that trains the networks of a sweep and gives their scores."""

    command: str = Field(description="Command, with placeholders as {config} and {output}.")
    timeout_s: Seconds = Field(86400.0, description="Time after which a training is ended and has failed, in seconds.")


class StartRecord(Record):
    """The number of a sweep in a store, when it began, and which machines it is for."""

    id: Count = Field(description="Number of the sweep in the store.")
    started: str = Field(description="When the sweep began: UTC, in ISO 8601.")
    machine: str = Field(description="Kind of machine that its runs are for.")


class PlanRecord(Record):
    """The command and the options that began a sweep, and the runs of its space."""

    command: str = Field(description="Command that began the sweep.")
    measuring: MeasuringRecord = Field(description="How the runs of the sweep are measured.")
    scoring: ScoringRecord | None = Field(None, description="How networks are trained and scored; null for not at all.")
    measure: str = Field(description="Which runs were chosen: all, none, or a number of runs.")
    predict: bool = Field(
        False, description="Whether runs are measured only until the others can be predicted, and `measure` at most."
    )
    space: SpaceCounts = Field(description="Numbers of runs in its space.")
    invalid: tuple[InvalidRuns, ...] = Field(
        description="Combinations that are not a valid network, most common reason first."
    )
    over_budget: dict[str, Count] = Field(description="Runs beyond the budget, by the parameter that they exceed.")


class SweepRecord(PlanRecord, StartRecord):
    """A sweep in a store."""

    counts: StatusCounts = Field(description="Numbers of its runs by status.")


class NotRunGroup(Record):
    """Runs that no machine of the sweep can run, for one reason."""

    runtime: str = Field(description="Runtime of the runs.")
    device: str = Field(description="Device of the runs.")
    dtype: str = Field(description="The element type that the runs compute in.")
    train: bool = Field(description="Whether a pass is a training step, not an inference pass.")
    reason: Message = Field(description="Why the runs cannot be measured.")
    runs: Count = Field(description="Number of runs.")


class ReusedRecord(Record):
    """Runs of a sweep that an earlier sweep measured with other options."""

    runs: Count = Field(description="Number of runs.")
    measured_with: Message | None = Field(description="Options of the earlier sweep; null where they are not known.")
    wanted: Message = Field(description="Options of this sweep, in the same form.")


class ExpectedRecord(Record):
    """How long a sweep may take."""

    runs: Count = Field(description="Chosen runs that are not measured yet.")
    baselines: Count = Field(description="Number of times that the baseline run is timed between them.")
    each_s: Seconds = Field(
        description="Mean time of the measured runs of the store, in seconds; without any, the least time of a run."
    )
    most_s: Seconds | None = Field(
        None,
        description="Most time of a run, in seconds; null where it is not limited, or where each_s is a mean.",
    )
    reused: tuple[ReusedRecord, ...] = Field(
        (), description="Chosen runs that are measured, with other options; they are not measured again."
    )

    @property
    def seconds(self) -> float:
        """The time of the whole sweep in seconds, at ``each_s``."""
        return (self.runs + self.baselines) * self.each_s


class PlannedSpaceRun(PlannedRun):
    """A run of a planned space."""

    identity: dict[str, str] = Field(
        description="Settings, size, batch and dtype in which the networks of the space differ, by parameter; where "
        "none differs, settings that are not the defaults."
    )


class FailedRun(Record):
    """A run of a sweep that failed."""

    key: str = Field(description="Key of the run in the store.")
    name: str = Field(description="What distinguishes the run from the others, in words.")
    reason: Message = Field(description="Why the run failed; empty where it is not known.")


class FailedTraining(Record):
    """A network whose training failed."""

    name: str = Field(description="What distinguishes the network from the others, in words.")
    reason: Message = Field(description="Why it failed.")
    last_line: str = Field(description="The last line that the command printed; empty where it printed nothing.")


class TrainingsRecord(Record):
    """How many networks of sweeps were trained."""

    done: Count = Field(description="Networks that the command gave scores.")
    pending: Count = Field(description="Networks that are still to be trained.")
    failed: tuple[FailedTraining, ...] = Field(description="Networks whose training failed.")


class MovedRecord(Record):
    """A time of the baseline run that differs from its first."""

    worker: str = Field(description="Name of the worker: a machine, or a GPU of one.")
    finished: str = Field(description="When the baseline run was timed: UTC, in ISO 8601.")
    drift: Ratio = Field(description="Its time over its first time.")


class SweepCommands(Record):
    """The commands that continue from a sweep."""

    report: str = Field(description="Command that shows the frontier.")
    recommend: str = Field(description="Command that recommends runs within a budget.")
    list_failed: str = Field(description="Command that lists the runs that failed.")


class PlannedDocument(Document):
    """The plan of a space: the result of `mnfpn sweep` where nothing is measured."""

    command: Literal["sweep"] = Field("sweep", description="The command that made the document.")
    runs: Count = Field(description="Valid runs, those over the budget included.")
    repeated: Count = Field(description="Runs that were left out, as another combination gives the same run.")
    invalid: tuple[InvalidRuns, ...] = Field(
        description="Combinations that are not a valid network, most common reason first."
    )
    over_budget: dict[str, Count] = Field(description="Runs beyond the budget, by the parameter that they exceed.")
    measure: str = Field(description="Which runs are chosen: all, none, or a number of runs.")
    chosen: Count = Field(description="Runs that are chosen.")
    trainings: Count = Field(description="Networks to train for their scores; 0 without a command for that.")
    all_runtimes: bool = Field(description="Whether all runtimes were asked for; a missing one is then no failure.")
    expected_s: Seconds | None = Field(
        description="Least time to measure the chosen runs, in seconds; null where none is chosen."
    )
    expected: ExpectedRecord | None = Field(description="Numbers behind expected_s; null where no run is chosen.")
    sample: tuple[PlannedSpaceRun, ...] = Field(
        description="Networks of the space, evenly spread from the fewest MACs to the most: at most 20."
    )


class MeasuredDocument(Document):
    """The measured runs of sweeps: the result of `mnfpn sweep` where runs are measured."""

    command: Literal["sweep"] = Field("sweep", description="The command that made the document.")
    store: str = Field(description="File or URL of the store, without passwords.")
    sweeps: tuple[SweepRecord, ...] = Field(description="Sweeps that were measured.")
    counts: StatusCounts = Field(description="Numbers of their runs by status.")
    skipped: Count = Field(description="Runs that cannot reach `max_latency`, and were not measured.")
    not_run: tuple[NotRunGroup, ...] = Field(description="Runs that no machine of the sweep can run.")
    failed: tuple[FailedRun, ...] = Field(description="Runs that failed.")
    baselines: Count = Field(description="Number of times that the baseline run was timed.")
    baseline_moved: tuple[MovedRecord, ...] = Field(description="Times of the baseline run that differ from its first.")
    reused: tuple[ReusedRecord, ...] = Field(
        description="Runs with results of an earlier sweep, measured with other options, most common options first."
    )
    trainings: TrainingsRecord | None = Field(description="What the command of the scores gave; null without one.")
    keys: tuple[str, ...] = Field(description="Keys of the runs.")
    models: tuple[LatencyModelRecord, ...] = Field(
        (), description="Models that predict the runs that were not measured; empty where none was asked for."
    )
    warnings: tuple[Message, ...] = Field(
        description="Reasons to trust the figures less, and what went wrong, a sentence each."
    )
    commands: SweepCommands = Field(description="Commands that continue from the sweeps.")


SweepDocument = PlannedDocument | MeasuredDocument
