"""A network to be exported: from settings or of others, with named inputs and outputs."""

import inspect
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mnfpn_cli.audit.unregistered import lacking_in_state_dict
from mnfpn_cli.documents.records import WeightsRecord
from mnfpn_cli.export.program import INPUT, NamedOutputs, name_outputs
from mnfpn_cli.external.guard import external_code
from mnfpn_cli.external.load import check_arguments
from mnfpn_cli.external.move import move_network
from mnfpn_cli.external.origin import External, FromSettings, Inputs, Origin, specs_of
from mnfpn_cli.measure.memory import Needed, check_fits, check_needed, out_of_memory_explained
from mnfpn_cli.network.network import Network
from mnfpn_cli.plan.network import NetworkPlan
from mnfpn_cli.settings.input import NetworkInput
from mnfpn_cli.trace.inputs import traced_input
from mnfpn_cli.trace.trace import trace_network

LEAST_SIDE = 32
"""The least side that a file of a network of others must accept where sides are open: most have stride 32."""

CPU = torch.device("cpu")


@dataclass(frozen=True)
class NamedNetwork:
    """A network on the CPU in float32 and eval mode, which returns a dictionary of tensors by name.

    Attributes:
        network: the network.
        inputs: the inputs of a pass.
        input_names: a name for each.
        output_names: the names of the outputs, in order.
        least: the least side of an image that it takes, in pixels.
        origin: where it comes from.
        weights: the checkpoint that was loaded; None where there was none.
        lacking: the paths of layers and parameters that it uses, and its state dict lacks.
    """

    network: nn.Module
    inputs: Inputs
    input_names: tuple[str, ...]
    output_names: tuple[str, ...]
    least: int
    origin: Origin
    weights: WeightsRecord | None = None
    lacking: tuple[str, ...] = ()

    @property
    def plan(self) -> NetworkPlan | None:
        """The plan of a network from settings; None for one of others."""
        return self.origin.plan if isinstance(self.origin, FromSettings) else None


def guarded(origin: Origin, doing: str) -> AbstractContextManager[None]:
    """Return what guards a block that runs the code of an external network; a network from settings needs none."""
    return external_code(doing) if isinstance(origin, External) else nullcontext()


def build_to_export(origin: Origin, inputs: Inputs, seed: int) -> NamedNetwork:
    """Build a network: with weights from a seed and then from its checkpoint, or by the code of others.

    Raises:
        UsageError: where network and inputs cannot fit the free memory, or do not fit each other.
        MnfpnError: where memory runs out nevertheless, a checkpoint cannot be read, or the code of others fails.
    """
    if isinstance(origin, External):
        return _build_external(origin, inputs, seed)
    assert isinstance(inputs, NetworkInput)  # settings take images alone
    return _build_planned(origin, inputs, seed)


def _build_planned(origin: FromSettings, input: NetworkInput, seed: int) -> NamedNetwork:
    plan = origin.plan
    check_fits(plan, input, "float32", CPU)
    with out_of_memory_explained("building the network"):
        network, weights = origin.build(seed)
    return named_network(network, origin, input, weights)


def named_network(
    network: Network, origin: FromSettings, input: NetworkInput, weights: WeightsRecord | None = None
) -> NamedNetwork:
    """Return a network that was built from settings, with its names."""
    names, least = tuple(map(str, network.outputs)), network.plan.backbone.stride
    return NamedNetwork(NamedOutputs(network), input, (INPUT,), names, least, origin, weights)


def _build_external(origin: External, inputs: Inputs, seed: int) -> NamedNetwork:
    network, _ = origin.build(seed)
    specs = specs_of(inputs)
    check_arguments(network, len(specs))
    with torch.inference_mode(False), guarded(origin, f"running {origin.name}"):
        move_network(network.eval(), CPU, torch.float32)
        traced = trace_network(network, [traced_input(spec) for spec in specs], gradients=False)
        lacking = tuple(lacking_in_state_dict(traced))
    seen = traced.eval_pass
    state = {id(one): one for one in network.state_dict().values()}.values()
    weights = sum(one.nbytes for one in state if isinstance(one, Tensor))
    check_needed(Needed(weights, seen.peak_bytes), inputs, "float32", CPU)
    # By keys and positions in what the network returns, as ``out`` or ``boxes.1``.
    names = tuple(name or "0" for name, _, _ in seen.outputs)
    name_outputs(network, names)
    sides = [side for spec in specs if len(spec.shape) == len(DIMENSIONS) for side in spec.shape[2:]]
    taken = _input_names(network, len(specs), names)
    return NamedNetwork(network, inputs, taken, names, min([LEAST_SIDE, *sides]), origin, lacking=lacking)


DIMENSIONS = ("n", "channels", "height", "width")
"""The dimensions of a tensor of images."""


def _input_names(network: nn.Module, count: int, outputs: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the parameters of the forward; numbers where it has none, or an output has the same."""
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(network.forward).parameters.values()
    names = tuple(one.name for one in parameters if one.kind in positional)[:count]
    usable = len(names) == count and not set(names) & set(outputs)
    return names if usable else tuple(f"input_{index}" for index in range(count))
