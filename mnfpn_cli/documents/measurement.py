"""What was measured, and on what: latencies, warnings, environments."""

from typing import Annotated, Literal

from pydantic import Field

from mnfpn_cli.documents.base import Bytes, Count, Record, Seconds

Interval = tuple[Seconds, Seconds]
Sample = Annotated[Seconds, Field(ge=1e-12, le=1e9)]
"""The time of a pass: whatever is worked out of some of them stays finite."""
Samples = Annotated[tuple[Sample, ...], Field(min_length=1)]
Ended = Literal["precision", "noise", "max_time", "runs", "min_time", "interrupted", "failed"]
"""What ended a measurement."""


class LatencyRecord(Record):
    """The time of one pass: its samples, and statistics of them; null where they are too few for one."""

    median: Sample = Field(description="Median.")
    ci95: Interval | None = Field(description="95 % confidence interval of the median.")
    quartiles: Interval = Field(description="First and third quartile.")
    iqr: Seconds = Field(description="Interquartile range.")
    min: Seconds = Field(description="The fastest sample.")
    mad: Seconds = Field(description="Median absolute deviation.")
    p90: Seconds | None = Field(description="90th percentile.")
    p99: Seconds | None = Field(description="99th percentile.")
    outliers: tuple[Count, ...] = Field(description="Positions of outliers in samples.")
    samples: Samples = Field(description="All samples, in the order in which they were taken.")


class WarningRecord(Record):
    """Something that makes a measurement less sure than it seems."""

    kind: str = Field(description="The cause in one word: load, steal, cpu_quota, threads, clock, ….")
    cause: str = Field(description="What was seen, with figures.")
    helps: str = Field(description="What to do about it.")


class EnvironmentRecord(Record):
    """The machine and the software of a measurement; null is what could not be read, or is not there."""

    cpu: str = Field(description="Model of the processor.")
    cores: Count | None = Field(description="Physical cores.")
    memory_bytes: Bytes = Field(description="Memory of the machine.")
    gpu: str | None = Field(description="Name of the GPU.")
    driver: str | None = Field(description="Version of its driver.")
    cuda: str | None = Field(description="Version of CUDA that torch was built for.")
    tf32: bool | None = Field(description="Whether float32 convolutions on the GPU may round to 10 bits of fraction.")
    torch: str = Field(description="Version of torch.")
    python: str = Field(description="Version of Python.")
    platform: str = Field(description="Operating system.")
    mnfpn: str = Field(description="Version of mnfpn.")
    date: str = Field(description="When it was measured, in ISO 8601 with the offset from UTC.")
