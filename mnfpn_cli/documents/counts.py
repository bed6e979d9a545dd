"""What there is to compute in a network, and what counters make of it."""

from pydantic import Field

from mnfpn_cli.documents.base import Amount, Count, Macs, Record


class WorkRecord(Record):
    """What there is to compute, for the whole input.

    MACs of products; of everything else the elements that it is computed for.
    """

    convolution_macs: Macs = Field(description="MACs of convolutions.")
    dense_macs: Macs = Field(description="MACs of dense layers, attention and other products.")
    bias_adds: Count = Field(description="Elements that a bias is added to.")
    batch_norm: Count = Field(description="Elements of batch norm.")
    other_norms: Count = Field(description="Elements of other norms.")
    activations: Count = Field(description="Elements of activations.")
    resized: Count = Field(description="Elements that upsampling and resizing return.")
    additions: Count = Field(description="Elements of additions and subtractions.")
    multiplications: Count = Field(description="Elements of multiplications and divisions.")
    pooled: Count = Field(description="Elements that pooling reads.")

    @property
    def macs(self) -> int:
        """MACs of all products."""
        return self.convolution_macs + self.dense_macs


class Term(Record):
    """A part of a counter's total: a quantity, and how often the counter adds it."""

    quantity: str = Field(description="What is added.")
    factor: Amount = Field(description="How often each is added; negative where the counter misses it.")
    amount: Count = Field(description="How many there are.")


class CounterTotal(Record):
    """What a counter printed for a network, and what it is made of."""

    tool: str = Field(description="Name of the counter.")
    version: str | None = Field(description="Version of its package; null where it is not installed.")
    total: Count | None = Field(description="What it printed; null where it is not installed or failed.")
    unit: str = Field(description="The unit as the counter calls it.")
    meaning: str = Field(description="What the total is, in words; empty where there is none.")
    exact: bool = Field(description="Whether the terms add up to the total.")
    terms: tuple[Term, ...] = Field(description="The quantities that the total is made of.")
    remainder: Amount | None = Field(description="The total less its terms; null where there is no total.")
    note: str = Field(description="Why there is no total, or what the counter does elsewhere; empty as a rule.")


class CountsRecord(Record):
    """The work of a network, and the totals of all counters."""

    work: WorkRecord = Field(description="What there is to compute.")
    tools: tuple[CounterTotal, ...] = Field(description="What each counter printed.")
