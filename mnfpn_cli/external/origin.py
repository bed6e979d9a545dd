"""The origin of a network (settings, or an external module), its inputs, and how to build it."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

from mnfpn_cli.errors import Problem, UsageError
from mnfpn_cli.external.target import InputSpec, Target
from mnfpn_cli.settings.input import NetworkInput, Size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

    from mnfpn_cli.documents.base import Model  # imports pydantic, which `--help` must not pay for
    from mnfpn_cli.documents.records import InputRecord, WeightsRecord
    from mnfpn_cli.network.network import Network
    from mnfpn_cli.plan.network import NetworkPlan
    from mnfpn_cli.settings.detection import PreprocessSettings
    from mnfpn_cli.settings.network import NetworkSettings
    from mnfpn_cli.weights.file import WeightsFile


@dataclass(frozen=True, slots=True)
class TensorInputs:
    """Tensors of any shape and dtype, in the order in which a network takes them."""

    specs: tuple[InputSpec, ...]

    @property
    def batch(self) -> int:
        """The first dimension of the first tensor."""
        return self.specs[0].shape[0]

    @property
    def size(self) -> str:
        """All shapes and dtypes, as text: ``1×128 int64, 1×4``."""
        return describe_inputs(self)


Inputs = NetworkInput | TensorInputs


def specs_of(inputs: Inputs) -> tuple[InputSpec, ...]:
    """Return the tensors that a pass takes."""
    return (InputSpec(inputs.shape),) if isinstance(inputs, NetworkInput) else inputs.specs


def describe_inputs(inputs: Inputs) -> str:
    """Return the shapes, and the dtypes that were given, as text: ``1×3×600×900``."""
    return ", ".join(map(str, specs_of(inputs)))


def input_record(inputs: Inputs) -> InputRecord:
    """Return inputs as documents hold them."""
    from mnfpn_cli.documents.records import InputRecord, TensorInput

    if isinstance(inputs, NetworkInput):
        return InputRecord(batch=inputs.batch, channels=inputs.channels, **inputs.size._asdict(), shapes=None)
    shapes = tuple(TensorInput(shape=one.shape, dtype=one.dtype) for one in inputs.specs)
    return InputRecord(batch=inputs.batch, channels=None, height=None, width=None, shapes=shapes)


def recorded_inputs(record: InputRecord) -> Inputs:
    """Return the inputs that a document holds."""
    if record.channels and record.height and record.width:
        return NetworkInput(record.batch, record.channels, Size(record.height, record.width))
    return TensorInputs(tuple(InputSpec(one.shape, one.dtype) for one in record.shapes or ()))


TRACED_SEED = 0
"""The seed of random weights in a trace; the boxes that a detector finds, and so its work, depend on them."""


@dataclass(frozen=True)
class FromSettings:
    """A network from settings.

    Attributes:
        settings: the settings; at the size of its images, where a head is made for one size.
        weights: a checkpoint; None where all weights are random.
    """

    settings: NetworkSettings
    weights: WeightsFile | None = None
    name: ClassVar[str] = "the network of the settings"
    model: ClassVar[None] = None
    one_graph: ClassVar[bool] = True

    @cached_property
    def plan(self) -> NetworkPlan:
        """The plan of the network, worked out once.

        Raises:
            UsageError: where the settings break a rule together.
        """
        from mnfpn_cli.plan.network import plan_network

        return plan_network(self.settings)

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of the outputs."""
        return self.plan.outputs

    @property
    def preprocess(self) -> PreprocessSettings | None:
        """The mean and the deviation of pixels; None where the settings do not say."""
        return self.settings.preprocess

    @property
    def trained(self) -> bool:
        """Whether the weights may have been trained: a checkpoint is loaded."""
        return self.weights is not None

    @property
    def call(self) -> str:
        """The name; settings take no arguments."""
        return self.name

    def build(self, seed: int) -> tuple[Network, WeightsRecord | None]:
        """Build the network on the CPU, in float32 and eval mode; return it and how its checkpoint fits.

        Raises:
            UsageError: where the checkpoint is that of another network.
            MnfpnError: where the checkpoint cannot be read.
        """
        from mnfpn_cli.weights.load import build_with_weights

        return build_with_weights(self.plan, self.settings, seed, self.weights)

    def build_to_trace(self) -> Network:
        """Build the network on the meta device, where a pass computes nothing."""
        from mnfpn_cli.network.network import build_meta

        return build_meta(self.plan)

    def fit(self) -> WeightsRecord | None:
        """Return how the checkpoint fits, without memory for the network; None without a checkpoint.

        Raises:
            UsageError: where the file is not a checkpoint, or is that of another network.
            MnfpnError: where the file cannot be read.
        """
        if self.weights is None:
            return None
        from mnfpn_cli.weights.load import fit_weights

        return fit_weights(self.plan, self.settings, self.weights)


@dataclass(frozen=True)
class External:
    """A network that others wrote: it has no settings or plan, and only a pass shows what it does.

    Attributes:
        target: where the network is found.
        module: the network itself, where it was given from Python; it is never changed.
        trained: True: its code may load weights, which nothing here can know.
    """

    target: Target
    module: nn.Module | None = field(default=None, repr=False)
    settings: ClassVar[None] = None
    preprocess: ClassVar[None] = None
    trained: ClassVar[bool] = True
    outputs: ClassVar[tuple[str, ...]] = ()
    one_graph: ClassVar[bool] = False

    @property
    def name(self) -> str:
        """The target as it was written."""
        return self.target.text

    @property
    def call(self) -> str:
        """The target with its arguments, as a call."""
        return f"{self.name}({', '.join(f'{name}={value}' for name, value in self.target.arguments)})"

    @property
    def model(self) -> Model:
        """The target as documents hold it."""
        return self.target.record()

    def build(self, seed: int) -> tuple[nn.Module, None]:
        """Run the code of the network, with random weights from a seed; copy a module that was given.

        Raises:
            UsageError: where the target does not name a network.
            ModelError: where the code fails, or the module cannot be copied.
        """
        if self.module is not None:
            from mnfpn_cli.external.copies import copy_network
            from mnfpn_cli.external.guard import external_code

            with external_code(f"copying {self.name}"):
                return copy_network(self.module), None
        from mnfpn_cli.external.load import load_model

        return load_model(self.target, seed), None

    def build_to_trace(self) -> nn.Module:
        """Run the code of the network, with the same random weights each time; return a module that was given.

        Raises:
            UsageError: where the target does not name a network.
            ModelError: where the code fails.
        """
        return self.module if self.module is not None else self.build(TRACED_SEED)[0]

    def fit(self) -> WeightsRecord | None:
        """Return None: the code of the network sets its weights."""
        return None


Origin = FromSettings | External


def external_module(module: nn.Module) -> External:
    """Return the origin of a module that is there already; its class names it."""
    kind = type(module)
    return External(Target(f"{kind.__module__}:{kind.__qualname__}", kind.__module__, kind.__qualname__), module)


def recorded_origin(settings: NetworkSettings | None, model: Model | None) -> Origin:
    """Return the origin of the network of a document.

    Raises:
        UsageError: where the document has neither settings nor a model.
    """
    if settings is not None:
        return FromSettings(settings)
    if model is None:
        raise UsageError(Problem("settings", "must be there where there is no model", "null"))
    source, _, attribute = model.target.rpartition(":")
    return External(Target(model.target, source, attribute, tuple(model.arguments.items())))


@dataclass(frozen=True)
class Workload:
    """A network, and the images or tensors of a pass.

    Attributes:
        origin: where the network comes from.
        inputs: the inputs of the pass.
        others: the inputs of further passes, for an audit over all of them.
    """

    origin: Origin
    inputs: Inputs
    others: tuple[Inputs, ...] = ()

    @property
    def specs(self) -> tuple[InputSpec, ...]:
        """The tensors that the first pass takes."""
        return specs_of(self.inputs)

    @property
    def passes(self) -> tuple[tuple[InputSpec, ...], ...]:
        """The tensors that each pass takes."""
        return tuple(map(specs_of, (self.inputs, *self.others)))


def only_here(origin: Origin, workloads: Sequence[Workload]) -> str:
    """Return why no other process can build a network and its inputs; empty where one can."""
    if isinstance(origin, External) and origin.module is not None:
        return "a module is of this process alone; give a target, as package.module:attribute"
    given = any(spec.value is not None for one in workloads for spec in one.specs)
    return "tensors are of this process alone; give shapes" if given else ""


def all_passes(workloads: Sequence[Workload]) -> Workload:
    """Return a workload of the passes of several, all of one network."""
    first, *others = workloads
    return Workload(first.origin, first.inputs, tuple(inputs for one in others for inputs in (one.inputs, *one.others)))


def planned_cases(
    settings: NetworkSettings, sizes: Sequence[str | None], batch: int, weights: WeightsFile | None
) -> list[tuple[FromSettings, NetworkInput]]:
    """Return the network from settings and its input, for each size; None stands for the default size.

    Raises:
        UsageError: where the network cannot take a size.
    """
    from mnfpn_cli.plan.rules import choose_size, network_input

    cases = [choose_size(settings, size) for size in sizes]
    origins = {at_size: FromSettings(at_size, weights) for at_size, _ in cases}  # planned once for all sizes
    return [(origins[at_size], network_input(at_size, image, batch)) for at_size, image in cases]
