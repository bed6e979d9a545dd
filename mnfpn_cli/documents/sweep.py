"""What `mnfpn sweep` returns: the plan of a space, or what was measured of it."""

from typing import Literal

from pydantic import Field

from mnfpn_cli.documents.base import Count, Document, Record, Seconds
from mnfpn_cli.documents.records import PlannedRun, StatusCounts
from mnfpn_cli.documents.worker import SamplingRecord


class InvalidRuns(Record):
    """Combinations of a space that are no network, for one reason."""

    runs: Count = Field(description="How many there are.")
    reason: str = Field(description="Where the settings are wrong, the rule, and the value.")


class SpaceCounts(Record):
    """What the space of a sweep holds."""

    runs: Count = Field(description="Valid runs within the budget.")
    repeated: Count = Field(description="Runs that several combinations give.")
    all_runtimes: bool = Field(description="Whether all runtimes were asked for, so that some may be missing.")


class MeasuringRecord(Record):
    """How the runs of a sweep are measured."""

    sampling: SamplingRecord = Field(
        default_factory=SamplingRecord, description="When a measurement is warm, and when it is enough."
    )
    by_layer: bool = Field(False, description="Whether layers are timed by the runtimes that run layer by layer.")
    timeout_s: Seconds = Field(900.0, description="After which a run is given up.")
    baseline_every: Count = Field(10, description="Runs between two times of the baseline.")
    max_latency_s: Seconds | None = Field(
        None, description="Runs that cannot be as fast are not measured; null for no limit."
    )


class StartRecord(Record):
    """Which sweep of a store, when it began, and where it measures."""

    id: Count = Field(description="Its number in the store.")
    started: str = Field(description="When it began: UTC, in ISO 8601.")
    machine: str = Field(description="The kind of machine that its runs are for.")


class PlanRecord(Record):
    """What a sweep was begun with, and what its space holds."""

    command: str = Field(description="The command that began it.")
    measuring: MeasuringRecord = Field(description="How its runs are measured.")
    measure: str = Field(description="Which runs were chosen: all, frontier, none, or how many.")
    space: SpaceCounts = Field(description="What its space holds.")
    invalid: tuple[InvalidRuns, ...] = Field(description="Combinations that are no network, most common reason first.")
    over_budget: dict[str, Count] = Field(description="Runs beyond the budget, by the parameter that they exceed.")


class SweepRecord(PlanRecord, StartRecord):
    """A sweep in a store."""

    counts: StatusCounts = Field(description="Its runs by status.")


class NotRunGroup(Record):
    """Runs that no machine there is can run, for one reason."""

    runtime: str = Field(description="Their runtime.")
    device: str = Field(description="Their device.")
    dtype: str = Field(description="Their element type.")
    train: bool = Field(description="Whether a pass of theirs is a training step, not an inference pass.")
    reason: str = Field(description="Why they cannot be run.")
    runs: Count = Field(description="How many there are.")


class PlannedDocument(Document):
    """The result of `mnfpn sweep` where nothing is measured: what the space holds."""

    command: Literal["sweep"] = Field("sweep", description="The command that made the document.")
    runs: Count = Field(description="Valid runs, those over the budget included.")
    repeated: Count = Field(description="Runs that several combinations give.")
    invalid: tuple[InvalidRuns, ...] = Field(description="Combinations that are no network, most common reason first.")
    over_budget: dict[str, Count] = Field(description="Runs beyond the budget, by the parameter that they exceed.")
    measure: str = Field(description="Which runs are chosen: all, frontier, none, or how many.")
    chosen: Count = Field(description="Runs that are chosen.")
    expected_s: Seconds | None = Field(description="The least time that measuring takes; null where nothing is chosen.")
    frontier: tuple[PlannedRun, ...] = Field(description="The runs that keep the most for their MACs, cheapest first.")


class MeasuredDocument(Document):
    """The result of `mnfpn sweep` where runs were measured."""

    command: Literal["sweep"] = Field("sweep", description="The command that made the document.")
    store: str = Field(description="The store, as `store` has it.")
    sweeps: tuple[SweepRecord, ...] = Field(description="The sweeps that were measured.")
    counts: StatusCounts = Field(description="Their runs by status.")
    skipped: Count = Field(description="Runs that are too slow for `max_latency`, and were not measured.")
    not_run: tuple[NotRunGroup, ...] = Field(description="Runs that no machine there is can run.")
    baselines: Count = Field(description="How many times the baseline was timed.")
    keys: tuple[str, ...] = Field(description="The keys of the runs.")
    warnings: tuple[str, ...] = Field(description="What makes the figures less sure, and what went wrong.")


SweepDocument = PlannedDocument | MeasuredDocument
