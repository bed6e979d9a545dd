"""Looking at networks in tests."""

from torch import nn

from mnfpn_cli.audit.audit import Inspection, inspect_network
from mnfpn_cli.audit.tree import LayerTree, layer_tree
from mnfpn_cli.trace.observe import TensorShape
from mnfpn_cli.trace.passes import Input
from mnfpn_cli.trace.trace import trace_network


def tree_of(network: nn.Module, *shapes: TensorShape) -> LayerTree:
    """The layer tree of a network on inputs of these shapes."""
    return layer_tree(trace_network(network, [Input(shape) for shape in shapes], gradients=False))


def inspected(network: nn.Module, *shapes: TensorShape) -> Inspection:
    """The whole inspection of a network on inputs of these shapes."""
    return inspect_network(network, [[Input(shape) for shape in shapes]])
