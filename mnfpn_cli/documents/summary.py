"""What `mnfpn summary` returns: layers, memory, and what counters make of the network."""

from typing import Literal

from pydantic import Field

from mnfpn_cli.documents.audit import Audit, ObservedLevel
from mnfpn_cli.documents.base import Amount, Bytes, Count, Document, Macs, Parameters, Record
from mnfpn_cli.documents.records import ImageInput, TensorInput, WeightsRecord


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


Status = Literal["called", "used", "holds", "never_called", "function"]

Shape = tuple[Count, ...]


class Totals(Record):
    """The whole network."""

    parameters: Parameters = Field(description="Parameters, each once.")
    macs: Macs = Field(description="MACs for the whole input; FLOPs are twice that.")


class InferenceMemory(Record):
    """Memory of inference."""

    weights_bytes: Bytes = Field(description="Parameters and buffers.")
    peak_activation_bytes: Bytes = Field(description="The input and all maps that are alive together, at the peak.")


class Registration(Record):
    """Whether the layers that run are the layers that the network registers."""

    called: Count = Field(description="Registered modules that took part in the pass.")
    registered: Count = Field(description="Registered modules that have a forward.")
    same: bool = Field(description="Whether all that ran is registered, and all registered parameters took part.")


class LayerRecord(Record):
    """A module, or a functional step."""

    path: str = Field(description="Attribute path in the network; empty for the network itself.")
    type: str = Field(description="Class of the module, or function.")
    depth: Count = Field(description="Depth in the tree; 0 for the network itself.")
    status: Status = Field(
        description="What it did in the pass: called; used, by another that took its parameters; holds others; "
        "never_called; or function, a functional step."
    )
    registered: bool = Field(description="Whether the network has it in its tree.")
    calls: Count = Field(description="How often it was called.")
    output_shape: Shape | tuple[Shape, ...] | None = Field(
        description="Shape of the output, batch included; a list of shapes where there are several outputs or calls; "
        "null where it was never called."
    )
    parameters: Parameters = Field(description="Parameters of it and of all below it, each once.")
    macs: Macs = Field(description="MACs of it and of all below it, for the whole input.")
    activations: Count = Field(description="Elements of all outputs.")


class SummaryDocument(Document):
    """The result of `mnfpn summary`: the layers of a network, and what they add up to."""

    command: Literal["summary"] = Field("summary", description="The command that made the document.")
    input: ImageInput | None = Field(description="The batch of images; null where the input is something else.")
    inputs: tuple[TensorInput, ...] = Field(description="All inputs as tensors.")
    totals: Totals = Field(description="Totals of the whole network, whichever layers are listed.")
    memory: InferenceMemory = Field(description="Memory that inference takes.")
    registration: Registration = Field(description="Modules that took part, and modules that are registered.")
    layers: tuple[LayerRecord, ...] = Field(description="The layers that were asked for, parents before children.")
    counts: CountsRecord | None = Field(description="Operations and counters; null without `counts`.")
    audit: Audit | None = Field(description="What the audit found; null where `audit` is off.")
    levels: tuple[ObservedLevel, ...] | None = Field(
        description="The maps that come out; null where there is one, or where `audit` is off."
    )
    weights: WeightsRecord | None = Field(description="How the checkpoint fits; null without `weights`.")
