"""The document of `mnfpn predict`: predicted times of runs, and the models that they are of."""

from typing import Literal

from pydantic import Field

from mnfpn_cli.documents.base import Count, Document, Message, Record, Seconds
from mnfpn_cli.documents.records import LatencyModelRecord, PlannedRun, PredictionRecord
from mnfpn_cli.documents.sweep import InvalidRuns


class PredictedRun(PlannedRun):
    """A run with its predicted time."""

    identity: dict[str, str] = Field(
        description="Settings in which the runs of the document differ, by parameter; where none differs, those that "
        "are not the defaults."
    )
    name: str = Field(description="What distinguishes the run from the others, in words.")
    size: str = Field(description="Size of an image, height first.")
    prediction: PredictionRecord = Field(description="Predicted time of a pass.")
    measured_s: Seconds | None = Field(
        description="Median time of a pass, corrected for drift, in seconds; null where the store has none of this run."
    )


class NotPredicted(Record):
    """Runs that could not be predicted, for one reason."""

    runs: Count = Field(description="Number of runs.")
    reason: Message = Field(description="Why they could not be predicted.")


class PredictDocument(Document):
    """Predicted times of runs: the result of `mnfpn predict`."""

    command: Literal["predict"] = Field("predict", description="The command that made the document.")
    store: str = Field(description="File or URL of the store, without passwords.")
    machine: str = Field(description="Kind of machine that the times are of.")
    models: tuple[LatencyModelRecord, ...] = Field(description="Models of the times, one for each kind of run.")
    runs: tuple[PredictedRun, ...] = Field(description="Runs, from the fewest MACs to the most.")
    not_predicted: tuple[NotPredicted, ...] = Field(description="Runs that could not be predicted, and why.")
    invalid: tuple[InvalidRuns, ...] = Field(
        description="Combinations that are not a valid network, most common reason first."
    )
    warnings: tuple[Message, ...] = Field(description="Reasons to trust the figures less, a sentence each.")
