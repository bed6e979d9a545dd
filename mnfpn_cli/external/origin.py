"""Where a network comes from (settings, or someone else's module), and what goes into it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

from mnfpn_cli.errors import Problem, UsageError
from mnfpn_cli.external.target import InputSpec, Target
from mnfpn_cli.settings.input import NetworkInput, Size

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

    from mnfpn_cli.documents.base import Model
    from mnfpn_cli.documents.records import (
        InputRecord,  # pydantic, which help need not pay for
        WeightsRecord,
    )
    from mnfpn_cli.network.network import Network
    from mnfpn_cli.plan.network import NetworkPlan
    from mnfpn_cli.settings.network import NetworkSettings


@dataclass(frozen=True, slots=True)
class TensorInputs:
    """Tensors of any shapes and element types, in the order in which a network takes them."""

    specs: tuple[InputSpec, ...]

    @property
    def batch(self) -> int:
        """The first dimension of the first."""
        return self.specs[0].shape[0]

    @property
    def size(self) -> str:
        """All of them in words: ``1×128 int64, 1×4``."""
        return describe_inputs(self)


Inputs = NetworkInput | TensorInputs


def specs_of(inputs: Inputs) -> tuple[InputSpec, ...]:
    """The tensors that a pass is given."""
    return (InputSpec(inputs.shape),) if isinstance(inputs, NetworkInput) else inputs.specs


def describe_inputs(inputs: Inputs) -> str:
    """The shapes, and element types where they were said: ``1×3×600×900``."""
    return ", ".join(map(str, specs_of(inputs)))


def input_record(inputs: Inputs) -> InputRecord:
    """Say in a document what a pass takes."""
    from mnfpn_cli.documents.records import InputRecord, TensorInput

    if isinstance(inputs, NetworkInput):
        return InputRecord(batch=inputs.batch, channels=inputs.channels, **inputs.size._asdict(), shapes=None)
    shapes = tuple(TensorInput(shape=one.shape, dtype=one.dtype) for one in inputs.specs)
    return InputRecord(batch=inputs.batch, channels=None, height=None, width=None, shapes=shapes)


def recorded_inputs(record: InputRecord) -> Inputs:
    """Read from a document what a pass takes."""
    if record.channels and record.height and record.width:
        return NetworkInput(record.batch, record.channels, Size(record.height, record.width))
    return TensorInputs(tuple(InputSpec(one.shape, one.dtype) for one in record.shapes or ()))


TRACED_SEED = 0
"""Of random weights in a trace: what a detector finds, and so computes, depends on them."""


@dataclass(frozen=True)
class FromSettings:
    """A network from settings.

    Attributes:
        settings: for the size of its images, where a head is made for one.
        weights: a checkpoint; None where a seed gives all weights.
    """

    settings: NetworkSettings
    weights: Path | None = None
    name: ClassVar[str] = "the network of the settings"
    model: ClassVar[None] = None
    one_graph: ClassVar[bool] = True

    @cached_property
    def plan(self) -> NetworkPlan:
        """Every layer of it, worked out once.

        Raises:
            UsageError: where the settings break a rule together.
        """
        from mnfpn_cli.plan.network import plan_network

        return plan_network(self.settings)

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of what comes out."""
        return self.plan.outputs

    @property
    def call(self) -> str:
        """Its name."""
        return self.name

    def build(self, seed: int) -> tuple[Network, WeightsRecord | None]:
        """Build it on the CPU, in float32 and eval mode; also say what became of its checkpoint.

        Raises:
            UsageError: where the checkpoint is another network's.
            MnfpnError: where it cannot be read.
        """
        from mnfpn_cli.weights.load import build_with_weights

        return build_with_weights(self.plan, self.settings, seed, self.weights)

    def build_to_trace(self) -> Network:
        """Build it on the meta device, where a pass takes neither time nor memory."""
        from mnfpn_cli.network.network import build_meta

        return build_meta(self.plan)

    def fit(self) -> WeightsRecord | None:
        """Say how its checkpoint fits, without memory for the network; None where there is none.

        Raises:
            UsageError: where the file is no checkpoint, or one of another network.
            MnfpnError: where it cannot be read.
        """
        if self.weights is None:
            return None
        from mnfpn_cli.weights.load import fit_weights

        return fit_weights(self.plan, self.settings, self.weights)


@dataclass(frozen=True)
class External:
    """A network that someone else wrote: no settings describe it, and what it does is seen in a pass."""

    target: Target
    settings: ClassVar[None] = None
    outputs: ClassVar[tuple[str, ...]] = ()
    one_graph: ClassVar[bool] = False

    @property
    def name(self) -> str:
        """The target as it was written."""
        return self.target.text

    @property
    def call(self) -> str:
        """The target with its arguments."""
        return f"{self.name}({', '.join(f'{name}={value}' for name, value in self.target.arguments)})"

    @property
    def model(self) -> Model:
        """Where it is, for a document."""
        return self.target.record()

    def build(self, seed: int) -> tuple[nn.Module, None]:
        """Run its code, which draws random weights from the seed.

        Raises:
            UsageError: where the target is none.
            ModelError: where its code fails.
        """
        from mnfpn_cli.external.load import load_model

        return load_model(self.target, seed), None

    def build_to_trace(self) -> nn.Module:
        """Build it as its code has it, with random weights that are the same every time.

        Raises:
            UsageError: where the target is none.
            ModelError: where its code fails.
        """
        return self.build(TRACED_SEED)[0]

    def fit(self) -> WeightsRecord | None:
        """It has the weights that its code gave it, and no checkpoint."""
        return None


Origin = FromSettings | External


def recorded_origin(settings: NetworkSettings | None, model: Model | None) -> Origin:
    """Read from a document where its network comes from.

    Raises:
        UsageError: where it says neither.
    """
    if settings is not None:
        return FromSettings(settings)
    if model is None:
        raise UsageError(Problem("settings", "must be there where there is no model", "null"))
    place, _, attribute = model.target.rpartition(":")
    return External(Target(model.target, place, attribute, tuple(model.arguments.items())))


@dataclass(frozen=True)
class Workload:
    """What a command looks at: a network, and the images or tensors of a pass."""

    origin: Origin
    inputs: Inputs

    @property
    def specs(self) -> tuple[InputSpec, ...]:
        """The tensors of a pass."""
        return specs_of(self.inputs)
