"""What `mnfpn report` returns."""

from typing import Literal

from pydantic import Field

from mnfpn_cli.documents.base import Document, Ratio, Record, Share
from mnfpn_cli.documents.costs import ComparableRecord, StatusCounts
from mnfpn_cli.documents.runs import StoredRun


class FrontierRun(StoredRun):
    """A run of the frontier."""

    name: str = Field(description="What it differs in from the other runs, in words.")
    kept: Share = Field(description="The capacity that it keeps, as a share of the most of all runs.")


class FrontierRecord(ComparableRecord):
    """The frontier of runs whose times can be compared."""

    cells: tuple[FrontierRun, ...] = Field(description="Its runs, fastest first.")


class MovedRecord(Record):
    """A time of the reference that differs from its first."""

    node: str = Field(description="The machine.")
    finished: str = Field(description="When it was timed: UTC, in ISO 8601.")
    pace: Ratio = Field(description="The time over its first time.")


class ReportDocument(Document):
    """The result of `mnfpn report`."""

    command: Literal["report"] = Field("report", description="The command that made the document.")
    counts: StatusCounts = Field(description="The runs by status.")
    frontier: tuple[FrontierRecord, ...] = Field(description="The measured frontier of each machine, device and batch.")
    reference_moved: tuple[MovedRecord, ...] = Field(description="Times of the reference that differ from its first.")
    output: str | None = Field(description="The page or picture that was written; null where none was.")
