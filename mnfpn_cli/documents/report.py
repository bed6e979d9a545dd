"""The documents of `mnfpn report` and `mnfpn recommend`: frontiers of a store, and recommended runs."""

from typing import Literal

from pydantic import Field

from mnfpn_cli.documents.base import Count, Document, Message, Ratio, Record
from mnfpn_cli.documents.records import (
    Bounds,
    ComparableRecord,
    LatencyModelRecord,
    LatencyRecord,
    PlannedRun,
    PredictionRecord,
    ScoreRecord,
    StatusCounts,
)
from mnfpn_cli.documents.runs import CorrectedRecord, StoredRunRecord
from mnfpn_cli.documents.sweep import MovedRecord, SweepRecord
from mnfpn_cli.documents.worker import Measured


class ReportedRun(StoredRunRecord):
    """A run of a report."""

    name: str = Field(description="What distinguishes the run from the others, in words.")
    score: ScoreRecord | None = Field(
        description="Score of the run by the metric of the report; null where it has none or was not measured."
    )
    on_frontier: bool = Field(
        description="Whether no comparable run is as fast with a higher score, or faster with as high a score."
    )
    prediction: PredictionRecord | None = Field(
        None, description="Predicted time of a run that was not measured; null where none was asked for."
    )

    @property
    def is_predicted(self) -> bool:
        """Whether its time is a prediction."""
        return self.latency_s is None and self.prediction is not None

    @property
    def time_s(self) -> float | None:
        """The time that tables and plots show: measured and corrected for drift, or else predicted; None without."""
        return self.seconds or (self.prediction.seconds if self.prediction else None)

    @property
    def time_interval(self) -> Bounds | None:
        """The interval of that time: 95 % where it was measured, 90 % where it is predicted; None without."""
        if self.latency_s or not self.prediction:
            return self.interval
        return self.prediction.low, self.prediction.high


class FrontierRecord(ComparableRecord):
    """A frontier, of runs whose times can be compared."""

    runs: tuple[ReportedRun, ...] = Field(description="Runs of the frontier, fastest first.")
    predicted: tuple[ReportedRun, ...] = Field(
        (), description="Predicted runs that no other run beats, measured or predicted, fastest first."
    )


class ReportDocument(Document):
    """The runs of a store and their frontiers: the result of `mnfpn report`, from which tables and plots are drawn."""

    command: Literal["report"] = Field("report", description="The command that made the document.")
    metric: str = Field(description="Metric of the frontiers, as map; macs for the MACs of one image.")
    objective: Message = Field(description="What the metric is, and why it was chosen, in sentences.")
    warnings: tuple[Message, ...] = Field(description="Reasons to trust the frontiers less, a sentence each.")
    counts: StatusCounts = Field(description="Numbers of runs by status.")
    frontier: tuple[FrontierRecord, ...] = Field(
        description="Measured frontier of each machine, device and batch, for inference and training separately."
    )
    runs: tuple[ReportedRun, ...] = Field(description="All runs, those of the frontiers among them.")
    models: tuple[LatencyModelRecord, ...] = Field(
        (), description="Models that predicted the times of runs; empty where no prediction was asked for."
    )
    baseline_moved: tuple[MovedRecord, ...] = Field(description="Times of the baseline run that differ from its first.")
    output: str | None = Field(description="Name of the page or picture that was written; null where none was.")


class PageDocument(ReportDocument):
    """A report with what its page shows besides. It is not printed: `mnfpn runs show` prints measurements."""

    store: str = Field(description="Name of the store, without folder, user or server.")
    sweeps: tuple[SweepRecord, ...] = Field(description="Sweeps of the runs, newest first.")
    differences: dict[str, tuple[str, ...]] = Field(
        description="Values of each setting in which the runs differ, as they were asked for, each once, by parameter."
    )
    common: dict[str, str] = Field(
        description="Settings of the one network of all runs that are not the defaults, by parameter; empty where "
        "runs are of several networks."
    )
    measurements: dict[str, Measured] = Field(description="Measurement of each measured run, by its key.")


class NextCommands(Record):
    """The commands that continue from a run."""

    inspect: str = Field(description="Command that shows the layers of its network.")
    export: str = Field(description="Command that writes its network as ONNX.")
    measure: str = Field(description="Command that measures the run again.")


class PickRecord(CorrectedRecord, PlannedRun):
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
        description="Whether the whole 95 % interval of the corrected median is within the latency asked for."
    )
    score: ScoreRecord = Field(description="Score of the run by the metric of the recommendation.")
    commands: NextCommands = Field(description="Commands that continue from the run.")

    @property
    def seconds(self) -> float:
        """The time that runs are compared by: the median over the drift."""
        return self.corrected_s or self.latency_s.median


class StepRecord(PickRecord):
    """The next step: a run beyond the budget with a higher score."""

    ratio: Ratio = Field(description="Its time over that of the first pick, both corrected for drift.")
    ratio_ci95: tuple[Ratio, Ratio] | None = Field(
        description="95 % confidence interval of the ratio; null with too few passes, or where they have two middles."
    )


class RecommendationRecord(ComparableRecord):
    """The recommended runs for one machine, device and batch, for inference or for training."""

    measured: Count = Field(description="Measured runs that were compared.")
    within: Count = Field(description="Measured runs that are within the budget.")
    picks: tuple[PickRecord, ...] = Field(
        description="Runs of the frontier within the budget, the one with the highest score first."
    )
    step: StepRecord | None = Field(
        description="Next run of the frontier: the fastest with a higher score; null where there is none."
    )
    fastest: PickRecord = Field(description="The fastest measured run, within the budget or not.")


class RecommendDocument(Document):
    """The recommended runs of a store: the result of `mnfpn recommend`."""

    command: Literal["recommend"] = Field("recommend", description="The command that made the document.")
    metric: str = Field(description="Metric of the scores, as map; macs for the MACs of one image.")
    objective: Message = Field(description="What the metric is, and why it was chosen, in sentences.")
    budget: dict[str, str] = Field(description="Limits as they were given, by parameter.")
    warnings: tuple[Message, ...] = Field(description="Reasons to trust the figures less, a sentence each.")
    predicted: Count = Field(0, description="Runs that were not measured, and whose predicted times were considered.")
    checked: Count = Field(0, description="Runs that were measured because their predicted times were promising.")
    models: tuple[LatencyModelRecord, ...] = Field(
        (), description="Models that predicted times; empty where no prediction was asked for."
    )
    recommendations: tuple[RecommendationRecord, ...] = Field(
        description="Recommendation for each machine, device and batch, for inference and training separately."
    )
