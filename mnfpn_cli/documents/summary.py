"""The document of `mnfpn summary`: layers, memory, and the totals of counters."""

from typing import Literal

from pydantic import Field

from mnfpn_cli.documents.audit import Audit, ObservedLevel
from mnfpn_cli.documents.base import Amount, Bytes, Count, Document, Macs, Parameters, Record
from mnfpn_cli.documents.records import ImageInput, ScoreRecord, TensorInput, WeightsRecord


class WorkRecord(Record):
    """The work of a pass, for the whole input: MACs of products, and elements of all other operations."""

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
    """A term of a counter's total: a quantity, and the factor that the counter adds it with."""

    quantity: str = Field(description="Name of the quantity.")
    factor: Amount = Field(description="Times that the counter adds the quantity; negative where it misses some of it.")
    amount: Count = Field(description="Amount of the quantity.")


class CounterTotal(Record):
    """The total that a counter printed for a network, and its terms."""

    tool: str = Field(description="Name of the counter.")
    version: str | None = Field(description="Version of its package; null where it is not installed.")
    total: Count | None = Field(description="Total that the counter printed; null where it is not installed or failed.")
    unit: str = Field(description="Unit of the total, as the counter calls it.")
    meaning: str = Field(description="Meaning of the total, in words; empty where there is none.")
    exact: bool = Field(description="Whether the terms add up to the total.")
    terms: tuple[Term, ...] = Field(description="Terms of the total.")
    remainder: Amount | None = Field(description="Total less its terms; null where there is no total.")
    note: str = Field(description="Why there is no total, or another remark on the counter; usually empty.")


class CountsRecord(Record):
    """The work of a network, and the totals of all counters."""

    work: WorkRecord = Field(description="Work of a pass.")
    tools: tuple[CounterTotal, ...] = Field(description="Total of each counter.")


LayerStatus = Literal["called", "used", "holds", "never_called", "function"]

Shape = tuple[Count, ...]
OutputShape = Shape | tuple[Shape, ...] | None
"""The shape of an output; of several outputs, all shapes; None where there is no output."""


def _shapes(output: OutputShape) -> tuple[Shape, ...]:
    if output is None:
        return ()
    several = tuple(one for one in output if isinstance(one, tuple))
    return several or (tuple(side for side in output if isinstance(side, int)),)


class Totals(Record):
    """The totals of the whole network."""

    parameters: Parameters = Field(description="Number of parameters, each counted once.")
    macs: Macs = Field(description="MACs for the whole input; FLOPs are twice that.")
    type: str = Field(description="Class of the network.")
    output_shape: OutputShape = Field(
        description="Shape of the output, batch included; a list of shapes where there are several outputs."
    )
    leaves: Count = Field(description="Number of layers that have no layer below them.")
    depth: Count = Field(description="Depth of the deepest layer; that of the network itself is 0.")

    @property
    def outputs(self) -> tuple[Shape, ...]:
        """The shapes of all outputs."""
        return _shapes(self.output_shape)


class InferenceMemory(Record):
    """The memory of an inference pass."""

    model_bytes: Bytes = Field(description="Parameters and buffers, in bytes.")
    activation_bytes: Bytes = Field(description="Input and all maps that are alive at the peak, in bytes.")

    @property
    def peak(self) -> int:
        """The sum of both, in bytes."""
        return self.model_bytes + self.activation_bytes


class Registration(Record):
    """The modules that ran in a pass compared with those that the network registers."""

    called: Count = Field(description="Registered modules that took part in the pass.")
    registered: Count = Field(description="Registered modules that have a forward.")
    same: bool = Field(
        description="Whether every module that ran is registered, and every registered parameter took part."
    )


class LayerRecord(Record):
    """A module, or a functional step."""

    path: str = Field(description="Attribute path of the module in the network; empty for the network itself.")
    type: str = Field(description="Class of the module, or function.")
    depth: Count = Field(description="Depth in the tree; 0 for the network itself.")
    status: LayerStatus = Field(
        description="What it did in the pass: called; used, by another that took its parameters; holds others; "
        "never_called; or function, a functional step."
    )
    registered: bool = Field(description="Whether the module is in the network's tree of modules.")
    calls: Count = Field(description="Number of calls in a pass.")
    leaf: bool = Field(description="Whether no layer is below it.")
    output_shape: OutputShape = Field(
        description="Shape of the output, batch included; a list of shapes where there are several outputs or calls; "
        "null where it was never called."
    )
    parameters: Parameters = Field(description="Parameters of the module and of all below it, each counted once.")
    macs: Macs = Field(description="MACs of the module and of all below it, for the whole input.")
    activations: Count = Field(description="Number of elements of all outputs.")

    @property
    def outputs(self) -> tuple[Shape, ...]:
        """The shapes of all outputs."""
        return _shapes(self.output_shape)


class SummaryDocument(Document):
    """The layers of a network and their totals: the result of `mnfpn summary`."""

    command: Literal["summary"] = Field("summary", description="The command that made the document.")
    input: ImageInput | None = Field(description="Batch of images; null where the input is of other tensors.")
    inputs: tuple[TensorInput, ...] = Field(description="All inputs as tensors.")
    totals: Totals = Field(description="Totals of the whole network, whichever layers are listed.")
    memory: InferenceMemory = Field(description="Memory of an inference pass.")
    accuracy: ScoreRecord | None = Field(
        description="Score that was published of the network at this size, or is estimated between published ones, in "
        "per cent and in float32; not one of the checkpoint in `weights`; null where there is none."
    )
    registration: Registration = Field(description="Modules that ran compared with those that are registered.")
    layers: tuple[LayerRecord, ...] = Field(description="Layers that were asked for, parents before children.")
    counts: CountsRecord | None = Field(description="Work of a pass and the totals of counters; null without `counts`.")
    audit: Audit | None = Field(description="Result of the audit; null where the network is not audited.")
    levels: tuple[ObservedLevel, ...] | None = Field(
        description="Maps that the network returns; null where there is only one, or the network is not audited."
    )
    weights: WeightsRecord | None = Field(description="How the checkpoint fits; null without `weights`.")
