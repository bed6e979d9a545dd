"""What ONNX Runtime executes: the graph that a session made of a model, its layers led back to the model's."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mnfpn_cli.export.onnx_layers import (
    IN_INTEGERS,
    MULTIPLYING,
    OnnxLayer,
    factor_of,
    onnx_macs,
    origins,
    tensor_shapes,
)
from mnfpn_cli.runtimes.runtime import ExecutedGraph, Operator

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

CONVERSIONS = ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear")


def executed_graph(optimized: "ModelProto", model: "ModelProto", layers: Sequence[OnnxLayer]) -> ExecutedGraph:
    """Return what a session executes.

    Args:
        optimized: the graph that the session made.
        model: the model that it was given.
        layers: the layers of the model. MACs are counted there: in its own graph a session rounds channels up to
            blocks. A layer that it made itself has the name that it has there, and the MACs of its own shapes.
    """
    nodes = [node for node in optimized.graph.node if node.op_type in MULTIPLYING]
    known = {layer.node: layer for layer in layers}
    found = [known.get(name or "") for name in origins(nodes, model, known)]
    types, shapes = element_types(optimized), tensor_shapes(optimized) if None in found else {}
    operators = tuple(
        Operator(
            layer.path if layer else node.name,
            _dtype(node, types),
            layer.macs if layer else onnx_macs(node, shapes),
        )
        for node, layer in zip(nodes, found, strict=True)
    )
    return ExecutedGraph(operators, sum(node.op_type in CONVERSIONS for node in optimized.graph.node))


def element_types(model: "ModelProto") -> dict[str, str]:
    """Return the element types of the tensors of a graph by name, as torch names them."""
    from onnx import TensorProto

    graph = model.graph
    types = {one.name: one.type.tensor_type.elem_type for one in (*graph.input, *graph.value_info, *graph.output)}
    types |= {one.name: one.data_type for one in graph.initializer}
    names = {TensorProto.FLOAT: "float32", TensorProto.DOUBLE: "float64"}
    return {tensor: names.get(type, TensorProto.DataType.Name(type).lower()) for tensor, type in types.items()}


def _dtype(node: "NodeProto", types: dict[str, str]) -> str:
    """Return what a node computes in: the type of its weights."""
    if node.op_type in IN_INTEGERS:
        return "int8"
    return types.get(factor_of(node)) or types.get(node.input[0], "float32")
