"""What `mnfpn runs` returns: runs of a store, all that is known of one, what was removed or merged."""

from typing import Annotated, Literal

from pydantic import Field

from mnfpn_cli.documents.base import Count, Document, Ratio, Record, Seconds
from mnfpn_cli.documents.bench import RunProfile, RunRecord
from mnfpn_cli.documents.records import EnvironmentRecord, LatencyRecord, PlannedRun, WarningRecord
from mnfpn_cli.documents.sweep import SweepRecord


class KeyRecord(Record):
    """Which run of a store, and what became of it."""

    key: str = Field(description="The hash of what determines its time: 32 hexadecimal digits.")
    status: Literal["pending", "done", "failed"] = Field(description="What became of it.")


class StoredRunRecord(PlannedRun, KeyRecord):
    """A run of a store; null is what was not measured."""

    size: str = Field(description="Size of an image, height first.")
    batch: Count = Field(description="Images in a batch.")
    machine: str = Field(
        description="The kind of machine that measured it; while it is pending, the kind that it is for."
    )
    worker: str | None = Field(description="The name of the machine that measured it.")
    latency_s: LatencyRecord | None = Field(description="The time of a pass.")
    drift: Ratio | None = Field(
        description="The baseline's time over its first time at that moment; null where it stayed the same."
    )
    corrected_s: Seconds | None = Field(description="The median over the drift; null where the baseline stayed.")
    sweep: Count | None = Field(description="The sweep that measured it.")
    started: str | None = Field(description="When measuring it began: UTC, in ISO 8601.")
    finished: str | None = Field(description="When it ended.")
    reason: str | None = Field(description="Why it failed, or why its layers were not timed; null where neither is so.")
    command: str = Field(description="The command that measures it again.")


class ResultRecord(Record):
    """What came of measuring a run once; null is what was not measured."""

    id: str = Field(description="32 hexadecimal digits, of this result alone.")
    sweep: Count = Field(description="The sweep that it was measured for.")
    status: Literal["done", "failed"] = Field(description="What became of it.")
    worker: str = Field(description="The name of the machine.")
    started: str = Field(description="When it began: UTC, in ISO 8601.")
    finished: str = Field(description="When it ended.")
    reason: str | None = Field(description="Why it failed, or why its layers were not timed; null where neither is so.")
    run: RunRecord | None = Field(description="The run, as in runs of mnfpn bench.")
    warnings: tuple[WarningRecord, ...] | None = Field(
        description="What makes it less sure, as in warnings of mnfpn bench."
    )
    environment: EnvironmentRecord | None = Field(
        description="What it was measured on, as in environment of mnfpn bench."
    )
    profile: RunProfile | None = Field(description="Where the time goes, as in profiles of mnfpn bench.")


class RunsListDocument(Document):
    """The result of `mnfpn runs list`."""

    command: Literal["runs list"] = Field("runs list", description="The command that made the document.")
    store: str = Field(description="The store, without passwords.")
    sweeps: tuple[SweepRecord, ...] = Field(description="Its sweeps, newest first.")
    runs: tuple[StoredRunRecord, ...] = Field(description="Its runs, newest first; behind them those that are pending.")


class RunsShowDocument(Document):
    """The result of `mnfpn runs show`."""

    command: Literal["runs show"] = Field("runs show", description="The command that made the document.")
    run: StoredRunRecord = Field(description="The run, with its newest result.")
    results: tuple[ResultRecord, ...] = Field(description="All that was measured of it, oldest first.")


class RunsExportDocument(Document):
    """The result of `mnfpn runs export` as JSON."""

    command: Literal["runs export"] = Field("runs export", description="The command that made the document.")
    runs: tuple[StoredRunRecord, ...] = Field(description="The runs, newest first; behind them those that are pending.")


class RunsMergeDocument(Document):
    """The result of `mnfpn runs merge`."""

    command: Literal["runs merge"] = Field("runs merge", description="The command that made the document.")
    results: Count = Field(description="Results that were copied.")


class RunsPruneDocument(Document):
    """The result of `mnfpn runs prune`."""

    command: Literal["runs prune"] = Field("runs prune", description="The command that made the document.")
    runs: Count = Field(description="Runs that were removed, with their results.")
    results: Count = Field(description="Results that were removed.")
    restored: Count = Field(description="Runs that were to be measured again, and stay as they were measured.")
    busy: Count = Field(description="Runs that are being measured, and stay.")
    dry_run: bool = Field(description="Whether nothing was removed, and the numbers say what would be.")


RunsDocument = Annotated[
    RunsListDocument | RunsShowDocument | RunsExportDocument | RunsMergeDocument | RunsPruneDocument,
    Field(discriminator="command"),
]
