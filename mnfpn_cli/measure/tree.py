"""The layer tree of a network, from torchinfo, with what torchinfo does not see: functional steps and true MACs."""

from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torchinfo
from torch import nn
from torchinfo.layer_info import LayerInfo

from mnfpn_cli.measure.observe import FunctionCall, ModuleCall, Observer, Shape


@dataclass(frozen=True, slots=True)
class LayerRow:
    """A module or a functional step. Parameters and MACs include everything below; MACs are for the whole input."""

    path: str
    type: str
    depth: int
    outputs: tuple[Shape, ...]
    parameters: int
    macs: int


@dataclass(frozen=True, slots=True)
class LayerTree:
    """Every row of a network, parents before children; the first row is the network itself.

    ``called`` and ``registered`` count distinct modules that have a forward of their own: an ``nn.ModuleList`` or
    ``nn.ModuleDict`` holds modules, and is never called.
    """

    rows: tuple[LayerRow, ...]
    called: int
    registered: int
    same: bool

    @property
    def depth(self) -> int:
        """The depth of the deepest row; that of the network itself is 0."""
        return max(row.depth for row in self.rows)


@dataclass
class _Node:
    """A row in the making."""

    path: str
    type: str
    parameters: int = 0
    outputs: tuple[Shape, ...] = ()
    macs: int = 0


def layer_tree(network: nn.Module, shape: Shape) -> LayerTree:
    """Run a network on the meta device on an input of ``shape`` (n, c, h, w), and list what ran.

    The network must be on the meta device and thrown away: torchinfo moves and changes what it is given.
    """
    observer = Observer()
    with observer.watching():
        image = torch.empty(shape, device="meta")
        statistics = torchinfo.summary(network, input_data=image, device="meta", verbose=0, cache_forward_pass=False)
    called = {call.module for call in observer.calls if isinstance(call, ModuleCall)}
    registered = {module for module in network.modules() if _has_forward(module)}
    # torchinfo lists no module that is not registered: the counts tell of it, the rows cannot.
    nodes = _nodes(statistics.summary_list, [call for call in observer.calls if call.module in registered])
    return LayerTree(tuple(_rows(nodes)), len(called), len(registered), same=called == registered)


def _nodes(layers: list[LayerInfo], calls: Sequence[ModuleCall | FunctionCall]) -> list[_Node]:
    """Nodes in order of first call. Both lists are in that order; only torchinfo's has containers, only ours functions.

    A module that is called again adds its MACs to its node.
    """
    nodes: dict[str, _Node] = {}
    paths: dict[nn.Module, str] = {}
    pending = deque(calls)
    for layer in layers:
        _take_functions(pending, paths, nodes)
        path = paths.setdefault(layer.module, _path(layer))
        node = nodes.setdefault(path, _Node(path, layer.class_name, layer.num_params))
        if _has_forward(layer.module):
            call = pending.popleft()
            if not isinstance(call, ModuleCall) or call.module is not layer.module:
                raise RuntimeError(f"torchinfo lists {path}, but that was not the next call")
            node.outputs = call.outputs
            node.macs += call.macs
    _take_functions(pending, paths, nodes)
    return list(nodes.values())


def _take_functions(
    pending: deque[ModuleCall | FunctionCall], paths: dict[nn.Module, str], nodes: dict[str, _Node]
) -> None:
    """Move the functional steps that come next from the pending calls to the nodes."""
    while pending and isinstance(call := pending[0], FunctionCall):
        name = path = f"{paths[call.module]}.{call.name}()".removeprefix(".")
        number = 1
        while path in nodes:
            number += 1
            path = f"{name}#{number}"
        nodes[path] = _Node(path, "function", outputs=(call.output,))
        pending.popleft()


def _path(layer: LayerInfo) -> str:
    names: list[str] = []
    while layer.parent_info is not None:
        names.append(layer.var_name)
        layer = layer.parent_info
    return ".".join(reversed(names))


def _rows(nodes: Sequence[_Node]) -> Iterator[LayerRow]:
    """Rows with each node directly before its children, and MACs rolled up."""
    children: dict[str, list[_Node]] = {}
    macs: Counter[str] = Counter()
    for node in nodes:
        above = node.path
        macs[above] += node.macs
        if above:
            children.setdefault(above.rpartition(".")[0], []).append(node)
        while above:
            above = above.rpartition(".")[0]
            macs[above] += node.macs

    def below(node: _Node, depth: int) -> Iterator[LayerRow]:
        yield LayerRow(node.path, node.type, depth, node.outputs, node.parameters, macs[node.path])
        for child in children.get(node.path, ()):
            yield from below(child, depth + 1)

    return below(nodes[0], 0)


def _has_forward(module: nn.Module) -> bool:
    return type(module).forward is not nn.Module.forward
