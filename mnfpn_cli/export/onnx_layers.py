"""The layers of an ONNX graph: their paths in the network, their MACs, and where an optimiser put them.

torch's exporter names nodes by numbers, and ONNX Runtime renames them. Here each layer's node gets the path of its
module as its name, and the nodes of a graph that was optimised are led back to these.
"""

import math
import re
from ast import literal_eval
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import nn

from mnfpn_cli.measure.layer_times import LayerCall

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto
    from torch.export import ExportedProgram

CONVOLUTIONS = frozenset({"Conv", "FusedConv", "NhwcFusedConv", "QLinearConv", "ConvInteger"})
TRANSPOSED = frozenset({"ConvTranspose"})
PRODUCTS = frozenset({"Gemm", "MatMul", "FusedGemm", "FusedMatMul", "QGemm", "QLinearMatMul", "MatMulInteger"})
PRODUCTS |= {"MatMulIntegerToFloat", "DynamicQuantizeMatMul"}
MULTIPLYING = CONVOLUTIONS | TRANSPOSED | PRODUCTS
"""Operators with MACs, of ONNX and of ONNX Runtime."""

IN_INTEGERS = frozenset({"QLinearConv", "ConvInteger", "QGemm", "QLinearMatMul", "MatMulInteger"})
IN_INTEGERS |= {"MatMulIntegerToFloat", "DynamicQuantizeMatMul"}
"""Those of them that compute in 8-bit integers."""

FACTOR_AT_3 = frozenset({"QLinearConv", "QGemm", "QLinearMatMul"})
"""Their second factor is the fourth input: behind the first come its scale and its zero point."""

SCOPES = "pkg.torch.onnx.name_scopes"
"""The metadata of a node with the modules it comes from, outermost first."""

TRACED = "pkg.torch.onnx.fx_node"
"""The metadata of a node with the node of torch's graph that it was made of, as ``%relu : …``."""

RENAMED = re.compile(r"(?:/MatMulAddFusion)?(?:_nchwc)?(?:_token_[0-9]+)?$")
"""What ONNX Runtime appends to a name: of what it joined, of a layout, and a number to make it unique."""

LAYER_TYPES = (nn.modules.conv._ConvNd, nn.Linear)


@dataclass(frozen=True, slots=True)
class OnnxLayer:
    """A node that multiplies and adds.

    Attributes:
        node: its name in the graph, which no other node has.
        path: the path of its module, which several nodes have where it is called more than once; else the node's name.
        macs: of a pass, for the whole batch.
    """

    node: str
    path: str
    macs: int


def name_layers(model: "ModelProto", network: nn.Module) -> dict[str, str]:
    """Name the nodes that have MACs by the paths of their modules, each differently; return the paths by name."""
    modules = {path for path, module in network.named_modules() if isinstance(module, LAYER_TYPES)}
    others = {node.name for node in model.graph.node if node.op_type not in MULTIPLYING}
    paths = dict[str, str]()
    for node in model.graph.node:
        if node.op_type in MULTIPLYING:
            path = _path(node, modules) or node.name
            node.name = next(name for name in _numbered(path) if name not in paths and name not in others)
            paths[node.name] = path
    return paths


def onnx_calls(model: "ModelProto", program: "ExportedProgram") -> dict[str, LayerCall]:
    """Return the modules that the nodes of a model come from, by the names of the nodes; those that are known.

    Args:
        model: as torch's exporter made it.
        program: the graph that it was made of.
    """
    from mnfpn_cli.export.program import source_of  # takes two seconds to import

    traced = {node.name: source_of(node) for node in program.graph.nodes}
    found = dict[str, LayerCall]()
    for node in model.graph.node:
        text = next((one.value for one in node.metadata_props if one.key == TRACED), "")
        name = re.match(r"%(\w+)", text)
        if name and (source := traced.get(name[1])):
            found[node.name] = source
    return found


def _numbered(name: str) -> Iterator[str]:
    yield name
    number = 2
    while True:
        yield f"{name}:{number}"
        number += 1


def _path(node: "NodeProto", modules: set[str]) -> str | None:
    """Return the path of a node's module: by where torch traced it, or by its weight.

    A convolution into which batch norm was folded was traced as the norm. A weight that two modules share has the name
    of one of them.
    """
    scopes: Sequence[str] = next((literal_eval(one.value) for one in node.metadata_props if one.key == SCOPES), ())
    weights = (name.removesuffix(".weight") for name in node.input)
    return next((path for path in (*reversed(scopes), *weights) if path in modules), None)


def layers_of(model: "ModelProto", paths: Mapping[str, str]) -> tuple[OnnxLayer, ...]:
    """Return the layers of a model that `name_layers` named, of fixed shapes, in the order of the graph."""
    from onnx.shape_inference import infer_shapes

    shapes = tensor_shapes(infer_shapes(model))
    return tuple(
        OnnxLayer(node.name, paths[node.name], onnx_macs(node, shapes))
        for node in model.graph.node
        if node.op_type in MULTIPLYING
    )


def tensor_shapes(model: "ModelProto") -> dict[str, tuple[int, ...]]:
    """Return the shapes of the tensors of a graph by name, as far as it has them; an open side is 0."""
    graph = model.graph
    values = (*graph.input, *graph.value_info, *graph.output)
    shapes = {one.name: tuple(side.dim_value for side in one.type.tensor_type.shape.dim) for one in values}
    return shapes | {one.name: tuple(one.dims) for one in graph.initializer}


def factor_of(node: "NodeProto") -> str:
    """Return the tensor of a node's second factor: the weights of a layer."""
    name: str = node.input[3 if node.op_type in FACTOR_AT_3 else 1]
    return name


def onnx_macs(node: "NodeProto", shapes: Mapping[str, tuple[int, ...]]) -> int:
    """Return the MACs of a node; 0 where its shapes are not known."""
    first, second, made = (shapes.get(name, ()) for name in (node.input[0], factor_of(node), node.output[0]))
    if not (first and second and made):
        return 0
    if node.op_type in CONVOLUTIONS:  # weights (out, in / groups, …)
        return math.prod(made) * math.prod(second[1:])
    if node.op_type in TRANSPOSED:  # weights (in, out / groups, …)
        return math.prod(first) * math.prod(second[1:])
    transposed = any(one.name == "transA" and one.i for one in node.attribute)
    return math.prod(made) * first[0 if transposed else -1]


def input_channels(node: "NodeProto", weights: Sequence[int]) -> int:
    """Return the channels of a layer's input, its second dimension, by the shape of its weights."""
    attributes: dict[str, int] = {one.name: one.i for one in node.attribute}
    if node.op_type in CONVOLUTIONS:
        return weights[1] * attributes.get("group", 1)
    if node.op_type == "Gemm" and attributes.get("transB"):
        return weights[1]
    return weights[0]


def origins(derived: Iterable["NodeProto"], model: "ModelProto", names: Iterable[str]) -> list[str | None]:
    """Return from which layer of a model each node of a graph derived from it comes; None where that is not known.

    A node has the name of its layer, with what ONNX Runtime appends; or that of a tensor which is computed from the
    layer alone, as of the activation that was fused into it. Of the two convolutions that a sum may be fused into,
    it is the one that has no other node.
    """
    unclaimed, producers = set(names), {made: node for node in model.graph.node for made in node.output}
    derived = list(derived)
    found: list[str | None] = [_known(node.name, unclaimed) for node in derived]
    unclaimed.difference_update(filter(None, found))
    layers = frozenset(names)
    for most in (1, len(unclaimed)):  # those first that have no choice
        for index, node in enumerate(derived):
            if found[index] is None:
                tensors = [name for name in (node.name, *node.output) for name in (name, RENAMED.sub("", name))]
                nearest = dict.fromkeys(layer for name in tensors for layer in _behind(name, producers, layers))
                free = [layer for layer in nearest if layer in unclaimed]
                if 0 < len(free) <= most:
                    found[index] = free[0]
                    unclaimed.discard(free[0])
    return found


def _known(name: str, names: set[str]) -> str | None:
    return next((one for one in (name, RENAMED.sub("", name)) if one in names), None)


def _behind(tensor: str, producers: Mapping[str, "NodeProto"], layers: frozenset[str]) -> Iterator[str]:
    """Yield the layers that a tensor is computed from with no other layer between."""
    seen, ahead = set[str](), [tensor]
    while ahead:
        name = ahead.pop(0)
        node = producers.get(name)
        if node is None or name in seen:
            continue
        seen.add(name)
        if node.name in layers:
            yield node.name
        else:
            ahead.extend(node.input)


def operator_sources(
    derived: "ModelProto", model: "ModelProto", layers: Iterable[str], sources: Mapping[str, LayerCall]
) -> list[tuple[LayerCall, ...]]:
    """Return the modules that each node of a derived graph executes.

    Nodes of the model that have no node of their own in the derived graph were joined into another: into the one of a
    neighbour in the same module, or else into that which runs last of those that they read. A node that executes
    nothing of the model, such as a change of the layout, belongs to what it reads, or else to what reads it.

    Args:
        derived: the graph that a session made of the model.
        model: the model.
        layers: the names of its nodes that have MACs.
        sources: the modules that its nodes come from, by the names of the nodes.
    """
    nodes, owners = list(derived.graph.node), _Owners(model, sources)
    for index, node in enumerate(nodes):
        owners.claim(index, node)
    multiplying = [index for index, node in enumerate(nodes) if node.op_type in MULTIPLYING]
    for index, layer in zip(multiplying, origins([nodes[i] for i in multiplying], model, layers), strict=True):
        if layer:
            owners.by_node[layer] = index
    owners.join()
    found = [list[LayerCall]() for _ in nodes]
    for name, index in owners.by_node.items():
        found[index] += [sources[name]] if name in sources else []
    _take_from_neighbours(nodes, found)
    return [tuple(dict.fromkeys(one)) for one in found]


class _Owners:
    """Which node of a derived graph executes each node of a model, by index; ``by_node`` has them by name."""

    def __init__(self, model: "ModelProto", sources: Mapping[str, LayerCall]) -> None:
        self.by_node = dict[str, int]()
        self._nodes = list(model.graph.node)
        self._named = {node.name: node for node in self._nodes}
        self._producers = {made: node for node in self._nodes for made in node.output}
        self._consumers = defaultdict[str, list[str]](list)
        for node in self._nodes:
            for name in node.input:
                self._consumers[name].append(node.name)
        self._modules = {name: (source.path.rpartition(".")[0], source.call) for name, source in sources.items()}

    def claim(self, index: int, derived: "NodeProto") -> None:
        """Note the node that a derived one has the name of, or of whose output it has the name or makes it."""
        short = RENAMED.sub("", derived.name)
        claimed = (self._named.get(name) for name in (derived.name, short))
        made = (self._producers.get(name) for name in (derived.name, short, *derived.output))
        for node in (*claimed, *made):
            if node is not None and node.name not in self.by_node:
                self.by_node[node.name] = index
                return

    def join(self) -> None:
        """Find the owners of the nodes that are left: of two neighbours in the same module first."""
        for nodes, last in ((self._nodes, False), (self._nodes, True), (self._nodes[::-1], True)):
            for node in nodes:
                if node.name not in self.by_node:
                    before, after = self._before(node), self._after(node)
                    same = [one for one in (*before, *after) if self._modules.get(one) == self._modules.get(node.name)]
                    near = same if not last else before or after
                    if near:
                        self.by_node[node.name] = max(self.by_node[one] for one in near)

    def _before(self, node: "NodeProto") -> list[str]:
        names = (self._producers[name].name for name in node.input if name in self._producers)
        return [name for name in names if name in self.by_node]

    def _after(self, node: "NodeProto") -> list[str]:
        names = (name for made in node.output for name in self._consumers[made])
        return [name for name in names if name in self.by_node]


def _take_from_neighbours(nodes: "Sequence[NodeProto]", found: Sequence[list[LayerCall]]) -> None:
    """Give nodes without a module those of what they read, or else of what reads them."""
    makers = {made: index for index, node in enumerate(nodes) for made in node.output}
    for index, node in enumerate(nodes):
        before = [found[makers[name]] for name in node.input if name in makers]
        if not found[index]:
            found[index] += next((one for one in before if one), [])
    for index in reversed(range(len(nodes))):
        for name in nodes[index].input:
            if name in makers and not found[makers[name]]:
                found[makers[name]] += found[index]
