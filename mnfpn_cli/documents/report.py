"""What `mnfpn report` and `mnfpn recommend` return."""

from typing import Literal

from pydantic import Field

from mnfpn_cli.documents.base import Count, Document, Ratio, Record, Share
from mnfpn_cli.documents.records import ComparableRecord, ImageSize, LatencyRecord, PlannedRun, StatusCounts
from mnfpn_cli.documents.runs import StoredRunRecord


class FrontierRun(StoredRunRecord):
    """A run of the frontier."""

    name: str = Field(description="What it differs in from the other runs, in words.")
    kept: Share = Field(description="The capacity that it keeps, as a share of the most of all runs.")


class FrontierRecord(ComparableRecord):
    """The frontier of runs whose times can be compared."""

    runs: tuple[FrontierRun, ...] = Field(description="Its runs, fastest first.")


class MovedRecord(Record):
    """A time of the baseline that differs from its first."""

    worker: str = Field(description="The machine.")
    finished: str = Field(description="When it was timed: UTC, in ISO 8601.")
    drift: Ratio = Field(description="The time over its first time.")


class ReportDocument(Document):
    """The result of `mnfpn report`."""

    command: Literal["report"] = Field("report", description="The command that made the document.")
    counts: StatusCounts = Field(description="The runs by status.")
    frontier: tuple[FrontierRecord, ...] = Field(
        description="The measured frontier of each machine, device and batch, for inference and training apart."
    )
    baseline_moved: tuple[MovedRecord, ...] = Field(description="Times of the baseline that differ from its first.")
    output: str | None = Field(description="The page or picture that was written; null where none was.")


class NextCommands(Record):
    """What to do with a run next."""

    inspect: str = Field(description="The command that shows the layers of its network.")
    export: str = Field(description="The command that writes its network as ONNX.")
    measure: str = Field(description="The command that measures it again.")


class PickRecord(PlannedRun):
    """A measured run, with what speaks for it."""

    key: str = Field(description="Its key in the store.")
    size: ImageSize = Field(description="Size of an image.")
    latency_s: LatencyRecord = Field(description="The time of a pass.")
    within_surely: bool = Field(description="Whether the whole 95 % interval is within the latency asked for.")
    kept: Share = Field(description="The capacity that it keeps, as a share of the most in the store.")
    commands: NextCommands = Field(description="What to do with it next.")


class RecommendationRecord(ComparableRecord):
    """What to take on one machine, device and batch, for inference or for training."""

    measured: Count = Field(description="Measured runs that were compared.")
    within: Count = Field(description="How many of them are within the budget.")
    picks: tuple[PickRecord, ...] = Field(description="The frontier within the budget, the run that keeps most first.")
    step: PickRecord | None = Field(description="The fastest run that keeps more; null where there is none.")
    fastest: PickRecord = Field(description="The fastest measured run, within the budget or not.")


class RecommendDocument(Document):
    """The result of `mnfpn recommend`."""

    command: Literal["recommend"] = Field("recommend", description="The command that made the document.")
    objective: str = Field(description="What a recommendation goes by.")
    warnings: tuple[str, ...] = Field(description="What makes the figures less sure.")
    recommendations: tuple[RecommendationRecord, ...] = Field(
        description="One for each machine, device and batch, for inference and training apart."
    )
