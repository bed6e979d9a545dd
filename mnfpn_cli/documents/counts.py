"""What there is to compute in a network, and what counters print for it."""

from pydantic import Field

from mnfpn_cli.documents.base import Count, Macs, Record


class WorkRecord(Record):
    """What there is to compute, for the whole input."""

    convolution_macs: Macs = Field(description="Of convolutions.")
    dense_macs: Macs = Field(description="Of dense layers, attention and other products.")
    bias_adds: Count = Field(description="Elements that a bias is added to.")
    batch_norm: Count = Field(description="Elements of batch norm.")
    other_norms: Count = Field(description="Elements of other norms.")
    activations: Count = Field(description="Elements of activation functions.")
    resized: Count = Field(description="Elements that come out of upsampling and resizing.")
    additions: Count = Field(description="Elements of additions and subtractions.")
    multiplications: Count = Field(description="Elements of multiplications and divisions.")
    pooled: Count = Field(description="Elements that pooling reads.")


class ToolRecord(Record):
    """What a counter prints for a network."""

    tool: str = Field(description="Name of the counter.")
    version: str = Field(description="Its version.")
    total: Count | None = Field(description="Its total, in its own unit; null where it has none.")
    unit: str = Field(description="The unit, as the counter calls it.")
    meaning: str = Field(description="What the total really is.")
    exact: bool = Field(description="Whether the counter prints just that.")
    note: str = Field(description="Why there is no total, or why it may be another.")


class CountsRecord(Record):
    """The operations of a network, and the totals of counters."""

    work: WorkRecord = Field(description="What there is to compute.")
    tools: tuple[ToolRecord, ...] = Field(description="What counters print for it.")
