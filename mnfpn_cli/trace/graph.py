"""Follow gradients from the outputs of a pass to the tensors that they reach, through the graph of autograd."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.autograd.function import BackwardCFunction

Edge = tuple[Any, int]
"""A node of the graph, and the position of one of its inputs."""


@dataclass(frozen=True, slots=True)
class GradientGraph:
    """What gradients of some outputs reach.

    Attributes:
        leaves: the leaf tensors that they reach.
        functions: the nodes of custom functions, in Python, on the way: their code decides what gets a gradient.
        failure: why gradients cannot be followed; empty where they can.
    """

    leaves: tuple[Tensor, ...]
    functions: tuple[Any, ...] = ()
    failure: str = ""


def follow_graph(outputs: Sequence[Tensor], without: Collection[Edge] = ()) -> GradientGraph:
    """Follow the graph of some outputs. ``without``: edges that no gradient takes."""
    leaves = [tensor for tensor in outputs if tensor.is_leaf and tensor.requires_grad]
    nodes: list[Any] = [tensor.grad_fn for tensor in outputs if tensor.grad_fn is not None]
    if not leaves and not nodes:
        return GradientGraph(
            (), failure="no output requires a gradient, as under no_grad, or where outputs are whole numbers"
        )
    return _follow_nodes(nodes, leaves, without)


def _follow_nodes(nodes: list[Any], leaves: list[Tensor], without: Collection[Edge]) -> GradientGraph:
    """Follow the graph below some nodes; ``leaves``: those that are reached already."""
    seen, functions = set(nodes), []
    while nodes:
        node = nodes.pop()
        if type(node).__name__ == "CheckpointFunctionBackward":
            failure = "reentrant checkpoints build the graph of their layers only in a backward pass"
            return GradientGraph(tuple(leaves), failure=failure)
        if isinstance(node, BackwardCFunction):
            functions.append(node)
        if hasattr(node, "variable"):
            leaves.append(node.variable)
        following = {
            below
            for index, (below, _) in enumerate(node.next_functions)
            if below is not None and (node, index) not in without
        }
        nodes += following - seen
        seen |= following
    return GradientGraph(tuple(leaves), tuple(functions))


def leaves_below(node: Any, index: int) -> tuple[Tensor, ...]:
    """Return the leaf tensors below an input of a node."""
    below, _ = node.next_functions[index]
    return _follow_nodes([below], [], ()).leaves


def function_name(node: Any) -> str:
    """Return the name of the custom function, or of the custom operation, of a node."""
    return type(node).__name__.removesuffix("Backward").removeprefix("GeneratedBackwardFor_")
