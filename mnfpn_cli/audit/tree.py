"""Build the layer tree of a traced network: a row for each module, and one for each functional step."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import inf, prod

from torch import nn

from mnfpn_cli.audit.unregistered import unregistered_in_use
from mnfpn_cli.documents.summary import LayerRecord, LayerStatus
from mnfpn_cli.trace.hidden import module_expressions
from mnfpn_cli.trace.observe import ModuleCall, Operation, TensorShape
from mnfpn_cli.trace.trace import Trace, has_forward, numel


@dataclass(frozen=True, slots=True)
class LayerTree:
    """Every row of a network, parents before children; the first row is the network itself.

    Attributes:
        rows: the rows, siblings in the order in which they began.
        called: registered modules that took part. A container without a forward is not counted.
        registered: registered modules with a forward.
        peak_bytes: the most bytes of inputs and activations that were alive together in inference.
        state_bytes: bytes of parameters and buffers.
    """

    rows: tuple[LayerRecord, ...]
    called: int
    registered: int
    peak_bytes: int
    state_bytes: int

    @property
    def same(self) -> bool:
        """Whether all that took part is registered, and all that is registered and has parameters took part."""
        return all(row.registered and not (row.status == "never_called" and row.parameters) for row in self.rows)


@dataclass(eq=False)
class _Node:
    """A row while events are added to it; ``first`` is the index of its first event, infinite where it has none."""

    path: str
    type: str
    parameters: int = 0
    module: nn.Module | None = None
    registered: bool = True
    calls: int = 0
    outputs: tuple[TensorShape, ...] = ()
    macs: int = 0
    first: float = inf
    children: list["_Node"] = field(default_factory=list)


def layer_tree(trace: Trace) -> LayerTree:
    """Return the layer tree of a traced network."""
    nodes = _registered_nodes(trace)
    root = nodes[trace.network]
    _add_unregistered(trace, nodes)
    _add_events(trace, nodes)
    state = {id(one): one.nbytes for one in (*trace.network.parameters(), *trace.network.buffers())}
    rows, (called, registered) = tuple(_rows(root, trace, 0)), trace.registration
    return LayerTree(rows, called, registered, trace.eval_pass.peak_bytes, sum(state.values()))


def _registered_nodes(trace: Trace) -> dict[nn.Module, _Node]:
    """Return the nodes of registered modules, each added to its parent."""
    nodes: dict[nn.Module, _Node] = {}
    for module, path in trace.paths.items():
        nodes[module] = _Node(path, type(module).__name__, numel(list(module.parameters())), module)
        if path:
            nodes[trace.network.get_submodule(path.rpartition(".")[0])].children.append(nodes[module])
    return nodes


def _add_unregistered(trace: Trace, nodes: dict[nn.Module, _Node]) -> None:
    """Add nodes for hidden modules under the modules that hide them: ``smooth[2]`` where ``smooth`` is a list."""
    expressions = {module: path for path, module in module_expressions(trace.network)}
    for one in unregistered_in_use(trace):
        if not isinstance(one.hidden.value, nn.Module):
            continue
        holder = nodes[one.hidden.holder]
        start = (holder.path + one.hidden.path.removeprefix(expressions[one.hidden.holder])).removeprefix(".")
        for name, module in one.hidden.value.named_modules():
            path = f"{start}.{name}" if name else start
            node = _Node(path, type(module).__name__, numel(list(module.parameters())), module, registered=False)
            above = one.hidden.value.get_submodule(name.rpartition(".")[0]) if name else one.hidden.holder
            nodes[module] = node
            nodes[above].children.append(node)


def _add_events(trace: Trace, nodes: dict[nn.Module, _Node]) -> None:
    """Add each call and operation to the node of its module; a module without a node is added first."""
    names = Counter[str]()
    for index, event in enumerate(trace.eval_pass.events):
        if isinstance(event, Operation):
            node = nodes[event.inside]
            if node.children or node.module is not event.inside:
                node.children.append(_function_node(event, node, names, index))
            else:
                node.macs += event.macs
                node.first = min(node.first, index)
            continue
        if event.module not in nodes:
            _adopt(event, nodes)
        if nodes[event.module].module is event.module:
            _add_call(nodes[event.module], event, index)


def _adopt(call: ModuleCall, nodes: dict[nn.Module, _Node]) -> None:
    """Give a module that no attribute leads to a node if it has parameters; else count it as its caller."""
    caller = nodes[call.caller] if call.caller else next(iter(nodes.values()))
    parameters = numel(list(call.module.parameters()))
    if not parameters:
        nodes[call.module] = caller
        return
    kind = type(call.module).__name__
    path = f"{caller.path}.forward(): {kind}".removeprefix(".")
    nodes[call.module] = _Node(path, kind, parameters, call.module, registered=False)
    caller.children.append(nodes[call.module])


def _add_call(node: _Node, call: ModuleCall, index: int) -> None:
    node.calls += 1
    node.outputs += call.outputs
    node.first = min(node.first, index)


def _function_node(event: Operation, node: _Node, names: Counter[str], index: int) -> _Node:
    """Return a node for an operation in the forward of a module; the second of a name gets ``#2``."""
    path = f"{node.path}.{event.name}()".removeprefix(".")
    names[path] += 1
    numbered = path if names[path] == 1 else f"{path}#{names[path]}"
    return _Node(numbered, "function", calls=1, outputs=(event.output,), macs=event.macs, first=index)


def _first_event(node: _Node) -> float:
    """Return the index of the first event in or below a node; infinite where nothing took part."""
    return min([node.first, *map(_first_event, node.children)])


def _macs(node: _Node) -> int:
    return node.macs + sum(map(_macs, node.children))


def _rows(node: _Node, trace: Trace, depth: int) -> Iterator[LayerRecord]:
    """Yield the row of a node, then those below it in the order in which they begin; idle ones come last."""
    yield LayerRecord(
        path=node.path,
        type=node.type,
        depth=depth,
        status=_status(node, trace),
        registered=node.registered,
        calls=node.calls,
        leaf=not node.children,
        output_shape=node.outputs[0] if len(node.outputs) == 1 else node.outputs or None,
        parameters=node.parameters,
        macs=_macs(node),
        activations=sum(map(prod, node.outputs)),
    )
    for child in sorted(node.children, key=_first_event):
        yield from _rows(child, trace, depth + 1)


def _status(node: _Node, trace: Trace) -> LayerStatus:
    if node.module is None:
        return "function"
    if node.calls:
        return "called"
    if trace.took_part(node.module):
        return "used"
    if _first_event(node) < inf or not has_forward(node.module) or node.module in trace.in_use:
        return "holds"
    return "never_called"
