"""The documents of `mnfpn report` and `mnfpn recommend`: frontiers of a store, and recommended runs."""

from typing import Literal

from pydantic import Field

from mnfpn_cli.documents.base import Count, Document, Message, Record, Share
from mnfpn_cli.documents.records import ComparableRecord, LatencyRecord, PlannedRun, StatusCounts
from mnfpn_cli.documents.runs import StoredRunRecord
from mnfpn_cli.documents.sweep import MovedRecord, SweepRecord
from mnfpn_cli.documents.worker import Measured


class ReportedRun(StoredRunRecord):
    """A run of a report."""

    name: str = Field(description="What distinguishes the run from the others, in words.")
    capacity_share: Share = Field(description="Capacity of the run, as a share of the largest of all runs.")
    on_frontier: bool = Field(
        description="Whether no comparable run is as fast with more capacity, or faster with as much."
    )


class FrontierRecord(ComparableRecord):
    """A frontier, of runs whose times can be compared."""

    runs: tuple[ReportedRun, ...] = Field(description="Runs of the frontier, fastest first.")


class ReportDocument(Document):
    """The runs of a store and their frontiers: the result of `mnfpn report`, from which tables and plots are drawn."""

    command: Literal["report"] = Field("report", description="The command that made the document.")
    counts: StatusCounts = Field(description="Numbers of runs by status.")
    frontier: tuple[FrontierRecord, ...] = Field(
        description="Measured frontier of each machine, device and batch, for inference and training separately."
    )
    runs: tuple[ReportedRun, ...] = Field(description="All runs, those of the frontiers among them.")
    baseline_moved: tuple[MovedRecord, ...] = Field(description="Times of the baseline run that differ from its first.")
    output: str | None = Field(description="Name of the page or picture that was written; null where none was.")


class PageDocument(ReportDocument):
    """A report with what its page shows besides. It is not printed: `mnfpn runs show` prints measurements."""

    store: str = Field(description="Name of the store, without folder, user or server.")
    sweeps: tuple[SweepRecord, ...] = Field(description="Sweeps of the runs, newest first.")
    differences: dict[str, tuple[str, ...]] = Field(
        description="Values of each setting in which the runs differ, as they were asked for, each once, by parameter."
    )
    measurements: dict[str, Measured] = Field(description="Measurement of each measured run, by its key.")


class NextCommands(Record):
    """The commands that continue from a run."""

    inspect: str = Field(description="Command that shows the layers of its network.")
    export: str = Field(description="Command that writes its network as ONNX.")
    measure: str = Field(description="Command that measures the run again.")


class PickRecord(PlannedRun):
    """A recommended run, with its measured time."""

    key: str = Field(description="Key of the run in the store.")
    identity: dict[str, str] = Field(
        description="Settings in which the runs of the recommendation differ, by parameter; where none differs, those "
        "that are not the defaults."
    )
    name: str = Field(description="What distinguishes the run from the others, in words.")
    size: str = Field(description="Size of an image, height first.")
    latency_s: LatencyRecord = Field(description="Time of a pass, in seconds.")
    within_surely: bool = Field(
        description="Whether the whole 95 % interval of the median is within the latency asked for."
    )
    capacity_share: Share = Field(description="Capacity of the run, as a share of the largest in the store.")
    commands: NextCommands = Field(description="Commands that continue from the run.")


class RecommendationRecord(ComparableRecord):
    """The recommended runs for one machine, device and batch, for inference or for training."""

    measured: Count = Field(description="Measured runs that were compared.")
    within: Count = Field(description="Measured runs that are within the budget.")
    picks: tuple[PickRecord, ...] = Field(
        description="Runs of the frontier within the budget, the one with the most capacity first."
    )
    step: PickRecord | None = Field(
        description="Next run of the frontier: the fastest with more capacity; null where there is none."
    )
    fastest: PickRecord = Field(description="The fastest measured run, within the budget or not.")


class RecommendDocument(Document):
    """The recommended runs of a store: the result of `mnfpn recommend`."""

    command: Literal["recommend"] = Field("recommend", description="The command that made the document.")
    objective: str = Field(description="What a recommendation optimises, in words.")
    budget: dict[str, str] = Field(description="Limits as they were given, by parameter.")
    warnings: tuple[Message, ...] = Field(description="Reasons to trust the figures less, a sentence each.")
    recommendations: tuple[RecommendationRecord, ...] = Field(
        description="Recommendation for each machine, device and batch, for inference and training separately."
    )
