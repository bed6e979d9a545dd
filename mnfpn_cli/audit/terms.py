"""Explain the total of each counter as a sum of terms: quantities of a trace, each times a factor.

fvcore = MACs + 2 × batch-norm elements + 4 × bilinear elements + …
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import prod

from torch import nn

from mnfpn_cli.documents.summary import Term
from mnfpn_cli.trace.observe import ModuleCall, Operation
from mnfpn_cli.trace.trace import Trace

CONVOLUTIONS = (nn.modules.conv._ConvNd,)
RECURRENT = (nn.RNNBase, nn.RNNCellBase)
LAYERS = (*CONVOLUTIONS, nn.Linear, *RECURRENT)
"""The modules with products that counters know by their class."""
NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm)
ADAPTIVE = (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)
POOLINGS = (*ADAPTIVE, nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)
TWICE = (nn.ReLU, nn.PReLU, nn.ELU, nn.GELU)
"""Activations that ptflops counts as a module, and once more as the function that the module calls."""


@dataclass(frozen=True, slots=True)
class Quantity:
    """Something that counters add; ``of`` returns how much of it a trace has."""

    name: str
    of: Callable[[Trace], int]


def operations(trace: Trace) -> Iterable[Operation]:
    """Return all operations of a trace, whether their module is registered or not."""
    return (event for event in trace.eval_pass.events if isinstance(event, Operation))


def calls(trace: Trace, *types: type[nn.Module]) -> Iterable[ModuleCall]:
    """Return the calls of registered modules of some types that took and returned tensors."""
    events = (
        event for event in trace.eval_pass.events if isinstance(event, ModuleCall) and event.module in trace.paths
    )
    return (event for event in events if isinstance(event.module, types) and event.inputs and event.outputs)


def _inside(trace: Trace, one: Operation, types: tuple[type[nn.Module], ...]) -> bool:
    """Return whether an operation ran in a registered module of one of some types."""
    return isinstance(one.inside, types) and one.inside in trace.paths


def _elements(name: str, *kernels: str) -> Quantity:
    """Return the quantity of elements that kernels return."""
    return Quantity(name, lambda trace: sum(one.elements for one in operations(trace) if one.kernel in kernels))


def _macs(name: str, counted: Callable[[Trace, Operation], bool]) -> Quantity:
    """Return the quantity of MACs of the operations for which a predicate holds."""
    return Quantity(name, lambda trace: sum(one.macs for one in operations(trace) if counted(trace, one)))


def _read(name: str, *types: type[nn.Module]) -> Quantity:
    """Return the quantity of elements that registered modules take."""
    return Quantity(name, lambda trace: sum(prod(one.inputs[0]) for one in calls(trace, *types)))


def _returned(name: str, *types: type[nn.Module]) -> Quantity:
    """Return the quantity of elements that registered modules return."""
    return Quantity(name, lambda trace: sum(prod(one.outputs[0]) for one in calls(trace, *types)))


def _kind(name: str, kind: str) -> Quantity:
    """Return the quantity of elements that operations of a kind return."""
    return Quantity(name, lambda trace: sum(one.elements for one in operations(trace) if one.kind == kind))


def _states(name: str, layer: type[nn.RNNBase], cell: type[nn.RNNCellBase]) -> Quantity:
    """Return the quantity of hidden-state elements of recurrent layers, over steps, layers and directions."""

    def of(trace: Trace) -> int:
        total = 0
        for one in calls(trace, layer, cell):
            module, steps = one.module, prod(one.inputs[0][:-1])
            layers = module.num_layers * (1 + module.bidirectional) if isinstance(module, nn.RNNBase) else 1
            assert isinstance(module, RECURRENT)
            total += steps * layers * module.hidden_size
        return total

    return Quantity(name, of)


def _recurrent_biases(trace: Trace) -> int:
    """Return the bias elements of recurrent layers, over all steps."""
    total = 0
    for one in calls(trace, *RECURRENT):
        biases = (each.numel() for name, each in one.module.named_parameters() if name.startswith("bias"))
        total += prod(one.inputs[0][:-1]) * sum(biases)
    return total


def _norm_parameters(trace: Trace) -> int:
    """Return the parameters of norms, once for each image of the batch."""
    norms = calls(trace, *NORMS)
    return sum(one.outputs[0][0] * sum(each.numel() for each in one.module.parameters()) for one in norms)


def _further_positions(trace: Trace) -> int:
    """Return the MACs and biases of dense layers on sequences, without those of the first position."""
    total = 0
    for one in calls(trace, nn.Linear):
        positions = prod(one.outputs[0][:-1]) - one.outputs[0][0]
        total += positions * sum(each.numel() for each in one.module.parameters())
    return total


def _biases(name: str, counted: Callable[[Trace, Operation], bool]) -> Quantity:
    """Return the quantity of elements that a bias is added to, outside recurrent layers."""
    return Quantity(
        name,
        lambda trace: sum(
            one.bias for one in operations(trace) if not isinstance(one.inside, RECURRENT) and counted(trace, one)
        ),
    )


MACS = _macs("MACs", lambda _trace, _one: True)
LOOSE = _macs("MACs outside known layers", lambda trace, one: not _inside(trace, one, LAYERS))
LOOSE_CONVOLUTIONS = _macs(
    "convolution MACs outside known layers",
    lambda trace, one: one.kind == "convolution" and not _inside(trace, one, CONVOLUTIONS),
)
ATTENTION = _macs("MACs of fused attention", lambda _trace, one: one.name == "attention")
RECURRENT_MACS = _macs("MACs of recurrent layers", lambda _trace, one: isinstance(one.inside, nn.RNNBase))
LSTM_MACS = _macs("MACs of nn.LSTM", lambda _trace, one: isinstance(one.inside, nn.LSTM))
POSITIONS = Quantity("MACs and biases of dense layers after the first position", _further_positions)
BIASES = _biases("biases", lambda _trace, _one: True)
CONVOLUTION_BIASES = _biases("biases of convolutions", lambda _trace, one: one.kind == "convolution")
LOOSE_BIASES = _biases("biases outside known layers", lambda trace, one: not _inside(trace, one, LAYERS))
RECURRENT_BIASES = Quantity("biases of recurrent layers", _recurrent_biases)
BATCH_NORM = _kind("batch-norm elements", "batch_norm")
LOOSE_BATCH_NORM = Quantity(
    "batch-norm elements outside known layers",
    lambda trace: sum(
        one.elements for one in operations(trace) if one.kind == "batch_norm" and not _inside(trace, one, NORMS)
    ),
)
OTHER_NORMS = _kind("elements of other norms", "norm")
LAYER_NORM = _elements("layer-norm elements", "native_layer_norm")
GROUP_NORM = _elements("group-norm elements", "native_group_norm")
NORM_PARAMETERS = Quantity("norm parameters", _norm_parameters)
BILINEAR = _elements("bilinear elements", "upsample_bilinear2d")
NEAREST = _elements("nearest elements", "upsample_nearest2d")
UPSAMPLED = _kind("upsampled elements", "resize")
RESIZED_POSITIONS = Quantity(
    "upsampled positions",
    lambda trace: sum(prod(one.output[2:]) for one in operations(trace) if one.kind == "resize"),
)
_BOTH = ("relu", "relu_", "silu", "silu_", "gelu", "elu", "elu_", "_prelu_kernel", "leaky_relu", "leaky_relu_")
ACTIVATIONS = _elements("activations", *_BOTH, "hardtanh", "hardtanh_", "_softmax")
PLAIN_ACTIVATIONS = _elements("activations but ReLU6", *_BOTH, "_softmax")
ACTIVATIONS_TWICE = _returned("activations that are both module and function", *TWICE)
POOLED = _read("pooled elements", *POOLINGS)
ADAPTIVE_READ = _read("elements that adaptive pooling reads", *ADAPTIVE)
AVERAGED = _returned("averaged elements", *ADAPTIVE, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)
LSTM = _states("LSTM states", nn.LSTM, nn.LSTMCell)
GRU = _states("GRU states", nn.GRU, nn.GRUCell)
RNN = _states("RNN states", nn.RNN, nn.RNNCell)

Terms = tuple[tuple[int, Quantity], ...]

RULES: dict[str, Terms] = {
    "fvcore": (
        (1, MACS),
        (-1, ATTENTION),
        (-1, RECURRENT_MACS),
        (2, BATCH_NORM),
        (5, OTHER_NORMS),
        (4, BILINEAR),
        (1, NEAREST),
        (1, ADAPTIVE_READ),
    ),
    "torchinfo": (
        (1, MACS),
        (-1, LOOSE),
        (1, BIASES),
        (-1, LOOSE_BIASES),
        (1, RECURRENT_BIASES),
        (1, NORM_PARAMETERS),
        (-1, POSITIONS),
    ),
    "FlopCounterMode": ((2, MACS), (-2, ATTENTION), (-2, LSTM_MACS)),
    "ptflops": (
        (1, MACS),
        (-1, LOOSE_CONVOLUTIONS),
        (-1, ATTENTION),
        (1, BIASES),
        (-1, LOOSE_BIASES),
        (1, RECURRENT_BIASES),
        (2, BATCH_NORM),
        (1, LAYER_NORM),
        (2, GROUP_NORM),
        (1, ACTIVATIONS),
        (1, ACTIVATIONS_TWICE),
        (1, UPSAMPLED),
        (2, POOLED),
        (10, LSTM),
        (7, GRU),
        (1, RNN),
    ),
    "thop": (
        (1, MACS),
        (-1, LOOSE),
        (4, BATCH_NORM),
        (-4, LOOSE_BATCH_NORM),
        (4, LAYER_NORM),
        (1, ADAPTIVE_READ),
        (1, AVERAGED),
        (1, RECURRENT_BIASES),
        (8, LSTM),
        (7, GRU),
        (1, RNN),
    ),
    "calflops": (
        (2, MACS),
        (-2, ATTENTION),
        (1, CONVOLUTION_BIASES),
        (1, RECURRENT_BIASES),
        (2, BATCH_NORM),
        (5, OTHER_NORMS),
        (1, PLAIN_ACTIVATIONS),
        (1, RESIZED_POSITIONS),
        (1, POOLED),
        (2, LSTM),
        (1, GRU),
        (-1, RNN),
    ),
}
"""The factors and quantities of each counter, by its name: MACs first, then what it misses, then what it adds."""


def terms_of(counter: str, trace: Trace) -> tuple[Term, ...]:
    """Return the terms of the total of a counter, without those that are 0 for a network."""
    terms = (Term(quantity=one.name, factor=factor, amount=one.of(trace)) for factor, one in RULES[counter])
    return tuple(term for term in terms if term.amount)


def format_terms(terms: Iterable[Term], remainder: int) -> str:
    """Return terms and a remainder as text: ``MACs + 2 × batch-norm elements − 3 unexplained``."""
    parts = [(term.factor, _multiple(term)) for term in terms]
    if remainder:
        parts.append((remainder, f"{abs(remainder):,} unexplained"))
    text = " ".join(f"{'−' if sign < 0 else '+'} {part}" for sign, part in parts)
    return text.removeprefix("+ ") or "nothing that it counts"


def _multiple(term: Term) -> str:
    return term.quantity if abs(term.factor) == 1 else f"{abs(term.factor)} × {term.quantity}"
