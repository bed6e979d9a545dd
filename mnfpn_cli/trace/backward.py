"""Find the parameters that gradients reach: by the graph, and by a backward pass where it has custom functions.

The graph of autograd leads through a ``torch.autograd.Function`` to all of its inputs, but its ``backward`` may return
None for some of them. Only its code knows, so it is run.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from mnfpn_cli.external.guard import ModelError
from mnfpn_cli.trace.graph import Edge, follow_graph, function_name, leaves_below
from mnfpn_cli.trace.observe import named_tensors
from mnfpn_cli.trace.passes import Input, Mode, Pass, make_input, prepared, run_pass
from mnfpn_cli.trace.storages import storage_key

SMALL_SIDE = 128
"""The longest side of images in a backward pass, which computes on real tensors."""


@dataclass(frozen=True)
class Gradients:
    """What gradients of the outputs of passes reach. *Keys* are those of storages.

    Attributes:
        reached: the keys that they reach.
        cut: the keys that they would reach but for custom functions whose backward returns None, with the names of
            these.
        failures: why custom functions could not be checked, a sentence each.
    """

    reached: frozenset[int] = frozenset()
    cut: dict[int, str] = field(default_factory=dict)
    failures: tuple[str, ...] = ()

    def __or__(self, other: "Gradients") -> "Gradients":
        """Return what the gradients of either reach; what one reaches, the other does not cut."""
        reached = self.reached | other.reached
        cut = {key: name for key, name in (self.cut | other.cut).items() if key not in reached}
        return Gradients(reached, cut, tuple(dict.fromkeys((*self.failures, *other.failures))))


def gradient_pass(
    network: nn.Module,
    inputs: Sequence[Input],
    mode: Mode,
    hidden_modules: Sequence[nn.Module] = (),
    train: bool = False,
) -> tuple[Pass, Gradients | None]:
    """Record a pass with gradients; return it, and what gradients reach, or None where they cannot be followed.

    Raises:
        ModelError: where the network fails.
    """
    observed = run_pass(network, inputs, mode, hidden_modules, gradients=True, train=train)
    if observed.reached is None:
        return observed, None
    if not observed.functions:
        return observed, Gradients(observed.reached)
    try:
        ran = _run_backward(network, inputs, hidden_modules, train)
    except ModelError as error:
        names = ", ".join(observed.functions)
        return observed, Gradients(
            observed.reached, failures=(f"The backward of {names} could not be checked: {error.message.rstrip('.')}.",)
        )
    cut = {key: name for key, name in ran.cut.items() if key not in ran.reached}
    return observed, Gradients((observed.reached | ran.reached) - cut.keys(), cut)


def _run_backward(
    network: nn.Module, inputs: Sequence[Input], hidden_modules: Sequence[nn.Module], train: bool
) -> Gradients:
    """Run a backward pass on real tensors, on a small image where the network takes one.

    Raises:
        ModelError: where the network fails.
    """
    first, *others = inputs or [Input(())]
    if len(first.shape) == 4 and max(first.shape[2:]) > SMALL_SIDE and first.value is None and not others:
        small = replace(first, shape=(*first.shape[:2], *(min(side, SMALL_SIDE) for side in first.shape[2:])))
        with suppress(ModelError):  # it may be made for one size
            return _backward(network, [small], hidden_modules, train)
    return _backward(network, inputs, hidden_modules, train)


def _backward(
    network: nn.Module, inputs: Sequence[Input], hidden_modules: Sequence[nn.Module], train: bool
) -> Gradients:
    """Run a backward pass, and see for which inputs the custom functions return None."""
    without: set[Edge] = set()
    with prepared(network, "real", hidden_modules, train), torch.enable_grad():
        result = network(*(make_input(spec, network, "real") for spec in inputs))
        outputs = [tensor for _, tensor in named_tensors(result) if tensor.requires_grad]
        graph = follow_graph(outputs)
        if not graph.functions:
            return Gradients()
        hooks = [_watch(node, without) for node in graph.functions]
        # Not .backward(): that would run what is hooked to the gradients of parameters, as an optimiser's step.
        torch.autograd.grad(outputs, graph.leaves, list(map(torch.ones_like, outputs)), allow_unused=True)
        for hook in hooks:  # they refer to their nodes, which would stay alive
            hook.remove()
        kept = follow_graph(outputs, without).leaves
        # Functions that run layers again in their backward, as checkpoints do, call .backward() themselves.
        filled = [tensor for tensor in network.parameters() if tensor.grad is not None]
        cut = [(leaf, function_name(node)) for node, index in without for leaf in leaves_below(node, index)]
    return Gradients(
        reached=frozenset(map(storage_key, (*kept, *filled))), cut={storage_key(leaf): name for leaf, name in cut}
    )


def _watch(node: Any, without: set[Edge]) -> RemovableHandle:
    """Add to a set the edges of a node for which its backward returns None, once it runs; return the hook."""

    def add_missing(gradients: tuple[Tensor | None, ...], of_outputs: tuple[Tensor | None, ...]) -> None:
        if not any(gradient is not None and bool(gradient.any()) for gradient in of_outputs):
            return  # None may stand for the zeros that would follow from zeros
        edges = zip(node.next_functions, gradients, strict=False)
        without.update(
            (node, index)
            for index, ((below, _), gradient) in enumerate(edges)
            if below is not None and gradient is None
        )

    handle: RemovableHandle = node.register_hook(add_missing)
    return handle
