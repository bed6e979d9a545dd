"""What `mnfpn summary` returns."""

from typing import Literal

from pydantic import Field

from mnfpn_cli.documents.audit import Audit, ObservedLevel
from mnfpn_cli.documents.base import Bytes, Count, Document, Macs, Parameters, Record
from mnfpn_cli.documents.counts import CountsRecord
from mnfpn_cli.documents.inputs import ImageInput, TensorInput
from mnfpn_cli.documents.weights import WeightsRecord

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
    counts: CountsRecord | None = Field(description="Operations and counters; null without --counts.")
    audit: Audit | None = Field(description="What the audit found; null with --no-audit.")
    levels: tuple[ObservedLevel, ...] | None = Field(
        description="The maps that come out; null where there is one, or with --no-audit."
    )
    weights: WeightsRecord | None = Field(description="How the checkpoint fits; null without --weights.")
