"""What `mnfpn recommend` returns."""

from typing import Literal

from pydantic import Field

from mnfpn_cli.documents.base import Count, Document, Record, Share
from mnfpn_cli.documents.costs import ComparableRecord, PlannedRun
from mnfpn_cli.documents.inputs import ImageSize
from mnfpn_cli.documents.measurement import LatencyRecord


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
    """What to take on one machine, device and batch."""

    measured: Count = Field(description="Measured runs that were compared.")
    within: Count = Field(description="How many of them are within the budget.")
    picks: tuple[PickRecord, ...] = Field(description="The frontier within the budget, the run that keeps most first.")
    step: PickRecord | None = Field(description="The fastest run that keeps more; null where there is none.")


class RecommendDocument(Document):
    """The result of `mnfpn recommend`."""

    command: Literal["recommend"] = Field("recommend", description="The command that made the document.")
    objective: str = Field(description="What a recommendation goes by.")
    warnings: tuple[str, ...] = Field(description="What makes the figures less sure.")
    recommendations: tuple[RecommendationRecord, ...] = Field(description="One for each machine, device and batch.")
