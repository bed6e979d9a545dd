"""The documents of `mnfpn runs`: the runs of a store, all results of one run, what was merged or removed."""

from typing import Annotated, Literal

from pydantic import Field

from mnfpn_cli.documents.base import Count, Document, Message, Ratio, Record, ScoreValue, Seconds
from mnfpn_cli.documents.bench import RunProfile, RunRecord
from mnfpn_cli.documents.records import (
    Bounds,
    EnvironmentRecord,
    LatencyRecord,
    PlannedRun,
    ScoreRecord,
    WarningRecord,
)
from mnfpn_cli.documents.sweep import SweepRecord
from mnfpn_cli.settings.input import DType


class KeyRecord(Record):
    """The key of a run in a store, and its status."""

    key: str = Field(description="Hash of everything that determines the time of the run: 32 hexadecimal digits.")
    status: Literal["pending", "done", "failed"] = Field(description="Whether the run is pending, done or failed.")


class CorrectedRecord(Record):
    """How far the machine had drifted when a run was measured, and its time without that."""

    drift: Ratio | None = Field(
        description="Time of the baseline run then over its first time; null where the baseline run did not drift."
    )
    corrected_s: Seconds | None = Field(
        description="Median time of a pass over the drift, in seconds; null where the baseline run did not drift."
    )


class StoredRunRecord(CorrectedRecord, PlannedRun, KeyRecord):
    """A run of a store. A key is null where it was not measured."""

    identity: dict[str, str] = Field(
        description="Settings in which the runs of the document differ, by parameter; where none differs, those that "
        "are not the defaults."
    )
    size: str = Field(description="Size of an image, height first.")
    batch: Count = Field(description="Images in a batch.")
    machine: str = Field(
        description="Kind of the machine that measured the run; for a pending run, the kind that it is for."
    )
    worker: str | None = Field(description="Name of the worker that measured the run: a machine, or a GPU of one.")
    latency_s: LatencyRecord | None = Field(description="Time of a pass, in seconds.")
    scores: dict[str, ScoreRecord] = Field(
        description="Scores that its network has at its size in its dtype, by metric."
    )
    sweep: Count | None = Field(description="Number of the sweep that measured the run.")
    started: str | None = Field(description="When its measurement began: UTC, in ISO 8601.")
    finished: str | None = Field(description="When its measurement ended: UTC, in ISO 8601.")
    reason: Message | None = Field(
        description="Why the run failed, or why its layers were not timed; null where neither is so."
    )
    command: str = Field(description="Command that measures the run again.")

    @property
    def seconds(self) -> float | None:
        """The time that runs are compared by: the median over the drift; None where it was not measured."""
        return self.corrected_s or (self.latency_s.median if self.latency_s else None)

    @property
    def interval(self) -> Bounds | None:
        """The 95 % interval of that time, corrected in the same way; None with too few samples."""
        if not self.latency_s or not self.latency_s.ci95:
            return None
        low, high = self.latency_s.ci95
        return low / (self.drift or 1.0), high / (self.drift or 1.0)


class ResultRecord(Record):
    """One result of measuring a run. A key is null where it was not measured."""

    id: str = Field(description="Identifier of the result: 32 hexadecimal digits.")
    sweep: Count = Field(description="Number of the sweep that it was measured for.")
    status: Literal["done", "failed"] = Field(description="Whether the measurement is done or failed.")
    worker: str = Field(description="Name of the worker: a machine, or a GPU of one.")
    started: str = Field(description="When the measurement began: UTC, in ISO 8601.")
    finished: str = Field(description="When the measurement ended: UTC, in ISO 8601.")
    reason: Message | None = Field(
        description="Why the run failed, or why its layers were not timed; null where neither is so."
    )
    run: RunRecord | None = Field(description="The run, as in runs of mnfpn bench.")
    warnings: tuple[WarningRecord, ...] | None = Field(
        description="Reasons to trust the figures less, as in warnings of mnfpn bench."
    )
    environment: EnvironmentRecord | None = Field(description="Machine and software, as in environment of mnfpn bench.")
    profile: RunProfile | None = Field(description="Where the time of the run goes, as in profiles of mnfpn bench.")


class TrainingRecord(Record):
    """A training of a network by the user's command. A key is null where it was not run."""

    command: str = Field(description="Command, with placeholders.")
    status: Literal["pending", "done", "failed"] = Field(description="Whether it is pending, gave scores, or failed.")
    reason: Message | None = Field(description="Why it failed.")
    worker: str | None = Field(description="Name of the machine that ran it.")
    started: str | None = Field(description="When it began: UTC, in ISO 8601.")
    finished: str | None = Field(description="When it ended: UTC, in ISO 8601.")
    log: str | None = Field(description="The end of what the command printed: at most 64 KiB.")


class RequestedRecord(Record):
    """What was requested for a run, which was measured with what it has itself."""

    device: str = Field(description="Requested device, which may be auto.")
    threads: Count | None = Field(description="Requested threads of the CPU; null for torch's choice.")
    machine: str = Field(description="Kind of machine that the run is for.")


class RunsListDocument(Document):
    """The sweeps and runs of a store: the result of `mnfpn runs list`."""

    command: Literal["runs list"] = Field("runs list", description="The command that made the document.")
    store: str = Field(description="File or URL of the store, without passwords.")
    sweeps: tuple[SweepRecord, ...] = Field(description="Sweeps of the store, newest first.")
    total: Count = Field(description="Number of runs, those left out by a limit included.")
    runs: tuple[StoredRunRecord, ...] = Field(description="Runs of the store, newest first, then pending runs.")


class RunsShowDocument(Document):
    """A run and all its results: the result of `mnfpn runs show`."""

    command: Literal["runs show"] = Field("runs show", description="The command that made the document.")
    run: StoredRunRecord = Field(description="The run, with its newest result.")
    requested: RequestedRecord = Field(description="What was requested for the run.")
    results: tuple[ResultRecord, ...] = Field(description="All results of the run, oldest first.")
    trainings: tuple[TrainingRecord, ...] = Field(description="Trainings of its network, oldest first.")


class RunsExportDocument(Document):
    """The exported runs of a store: the result of `mnfpn runs export` as JSON."""

    command: Literal["runs export"] = Field("runs export", description="The command that made the document.")
    runs: tuple[StoredRunRecord, ...] = Field(description="Runs, newest first, then pending runs.")


class RunsMergeDocument(Document):
    """What was merged: the result of `mnfpn runs merge`."""

    command: Literal["runs merge"] = Field("runs merge", description="The command that made the document.")
    source: str = Field(description="Name of the store that results were copied from, without passwords.")
    target: str = Field(description="Name of the store that results were copied into, without passwords.")
    results: Count = Field(description="Results that were copied.")


class GivenScoreRecord(Record):
    """A score that was stored, and what it is of."""

    name: str = Field(description="What distinguishes the network from the others that were given scores, in words.")
    size: str = Field(description="Size of an image, height first.")
    dtype: DType = Field(description="The element type that the network computes in.")
    metric: str = Field(description="Name of the metric.")
    value: ScoreValue = Field(description="The score, in the unit of its metric.")
    source: Message = Field(description="Where the score came from.")
    runs: Count = Field(description="Runs of the store that have it now.")


class RunsScoreDocument(Document):
    """The scores that were stored: the result of `mnfpn runs score`."""

    command: Literal["runs score"] = Field("runs score", description="The command that made the document.")
    store: str = Field(description="File or URL of the store, without passwords.")
    scores: tuple[GivenScoreRecord, ...] = Field(description="The scores, in the order in which they were given.")


class RunsPruneDocument(Document):
    """What was removed: the result of `mnfpn runs prune`."""

    command: Literal["runs prune"] = Field("runs prune", description="The command that made the document.")
    runs: Count = Field(description="Runs that were removed, with their results.")
    results: Count = Field(description="Results that were removed.")
    restored: Count = Field(description="Runs that were to be measured again, and keep their results.")
    busy: Count = Field(description="Runs that are being measured, and were not removed.")
    dry_run: bool = Field(description="Whether nothing was removed, and the numbers are of what would be.")


RunsDocument = Annotated[
    RunsListDocument
    | RunsShowDocument
    | RunsExportDocument
    | RunsScoreDocument
    | RunsMergeDocument
    | RunsPruneDocument,
    Field(discriminator="command"),
]
