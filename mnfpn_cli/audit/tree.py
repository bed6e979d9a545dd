"""The layer tree of a network: each module under its path, and functional steps at their place."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import inf, prod

from torch import nn

from mnfpn_cli.audit.registration import outside
from mnfpn_cli.documents.summary import LayerRecord, Status
from mnfpn_cli.trace.hidden import module_expressions
from mnfpn_cli.trace.observe import ModuleCall, Operation, Shape
from mnfpn_cli.trace.trace import Trace, has_forward, numel


@dataclass(frozen=True, slots=True)
class LayerRow:
    """A module or a functional step.

    Attributes:
        path: of attributes, as it is in the network.
        type: of the module, or ``function``.
        depth: in the tree; that of the network is 0.
        status: what it did in the pass.
        calls: how often.
        outputs: the shapes of all that it returned, of all calls.
        parameters: of it and all that is registered below it, each once.
        macs: of it and all below it, for the whole input.
        registered: whether the network has it in its tree.
        leaf: whether no row is below it.
    """

    path: str
    type: str
    depth: int
    status: Status
    calls: int
    outputs: tuple[Shape, ...]
    parameters: int
    macs: int
    registered: bool
    leaf: bool

    @property
    def activations(self) -> int:
        """Elements of all outputs."""
        return sum(map(prod, self.outputs))

    def record(self) -> LayerRecord:
        """The row in a document."""
        return LayerRecord(
            path=self.path,
            type=self.type,
            depth=self.depth,
            status=self.status,
            registered=self.registered,
            calls=self.calls,
            output_shape=self.outputs[0] if len(self.outputs) == 1 else self.outputs or None,
            parameters=self.parameters,
            macs=self.macs,
            activations=self.activations,
        )


@dataclass(frozen=True, slots=True)
class LayerTree:
    """Every row of a network, parents before children; the first row is the network itself.

    Attributes:
        rows: in the order in which they began.
        called: registered modules that took part. A container that has no forward is not counted.
        registered: all of those.
        peak_bytes: of the inputs and all that was made, alive together in inference.
        state_bytes: of parameters and buffers.
    """

    rows: tuple[LayerRow, ...]
    called: int
    registered: int
    peak_bytes: int
    state_bytes: int

    @property
    def same(self) -> bool:
        """Whether all that took part is registered, and all that is registered and holds parameters took part."""
        return all(row.registered and not (row.status == "never_called" and row.parameters) for row in self.rows)

    @property
    def depth(self) -> int:
        """The depth of the deepest row; that of the network itself is 0."""
        return max(row.depth for row in self.rows)


@dataclass(eq=False)
class _Node:
    """A row in the making; ``first`` is the place of its first event."""

    path: str
    type: str
    parameters: int = 0
    module: nn.Module | None = None
    registered: bool = True
    calls: int = 0
    outputs: tuple[Shape, ...] = ()
    macs: int = 0
    first: float = inf
    children: list["_Node"] = field(default_factory=list)


def layer_tree(trace: Trace) -> LayerTree:
    """The rows of a network that was looked at."""
    nodes = _registered(trace)
    root = nodes[trace.network]
    _add_outside(trace, nodes)
    _add_events(trace, nodes)
    state = {id(one): one.nbytes for one in (*trace.network.parameters(), *trace.network.buffers())}
    rows, (called, registered) = tuple(_rows(root, trace, 0)), trace.registration
    return LayerTree(rows, called, registered, trace.eval_pass.peak_bytes, sum(state.values()))


def _registered(trace: Trace) -> dict[nn.Module, _Node]:
    nodes: dict[nn.Module, _Node] = {}
    for module, path in trace.paths.items():
        nodes[module] = _Node(path, type(module).__name__, numel(list(module.parameters())), module)
        if path:
            nodes[trace.network.get_submodule(path.rpartition(".")[0])].children.append(nodes[module])
    return nodes


def _add_outside(trace: Trace, nodes: dict[nn.Module, _Node]) -> None:
    """Rows for modules outside the tree, under the one that they hang on: ``smooth[2]`` where ``smooth`` is a list."""
    written = {module: path for path, module in module_expressions(trace.network)}
    for one in outside(trace):
        if not isinstance(one.hidden.value, nn.Module):
            continue
        holder = nodes[one.hidden.holder]
        start = (holder.path + one.hidden.path.removeprefix(written[one.hidden.holder])).removeprefix(".")
        for name, module in one.hidden.value.named_modules():
            path = f"{start}.{name}" if name else start
            node = _Node(path, type(module).__name__, numel(list(module.parameters())), module, registered=False)
            above = one.hidden.value.get_submodule(name.rpartition(".")[0]) if name else one.hidden.holder
            nodes[module] = node
            nodes[above].children.append(node)


def _add_events(trace: Trace, nodes: dict[nn.Module, _Node]) -> None:
    """Calls and operations, each to the node that it belongs to; what has no node belongs to its caller."""
    names = Counter[str]()
    for place, event in enumerate(trace.eval_pass.events):
        if isinstance(event, Operation):
            node = nodes[event.inside]
            if node.children or node.module is not event.inside:
                node.children.append(_function(event, node, names, place))
            else:
                node.macs += event.macs
                node.first = min(node.first, place)
            continue
        if event.module not in nodes:
            _adopt(event, nodes)
        if nodes[event.module].module is event.module:
            _called(nodes[event.module], event, place)


def _adopt(call: ModuleCall, nodes: dict[nn.Module, _Node]) -> None:
    """A module that no attribute leads to: a row of its own where it has parameters, else part of its caller."""
    caller = nodes[call.caller] if call.caller else next(iter(nodes.values()))
    parameters = numel(list(call.module.parameters()))
    if not parameters:
        nodes[call.module] = caller
        return
    kind = type(call.module).__name__
    path = f"{caller.path}.forward(): {kind}".removeprefix(".")
    nodes[call.module] = _Node(path, kind, parameters, call.module, registered=False)
    caller.children.append(nodes[call.module])


def _called(node: _Node, call: ModuleCall, place: int) -> None:
    node.calls += 1
    node.outputs += call.outputs
    node.first = min(node.first, place)


def _function(event: Operation, node: _Node, names: Counter[str], place: int) -> _Node:
    path = f"{node.path}.{event.name}()".removeprefix(".")
    names[path] += 1
    numbered = path if names[path] == 1 else f"{path}#{names[path]}"
    return _Node(numbered, "function", calls=1, outputs=(event.output,), macs=event.macs, first=place)


def _begins(node: _Node) -> float:
    """The place of the first event in or below a node; none where nothing took part."""
    return min([node.first, *map(_begins, node.children)])


def _macs(node: _Node) -> int:
    return node.macs + sum(map(_macs, node.children))


def _rows(node: _Node, trace: Trace, depth: int) -> Iterator[LayerRow]:
    """A node's row, then those below it in the order in which they begin; what never did comes last."""
    yield LayerRow(
        path=node.path,
        type=node.type,
        depth=depth,
        status=_status(node, trace),
        calls=node.calls,
        outputs=node.outputs,
        parameters=node.parameters,
        macs=_macs(node),
        registered=node.registered,
        leaf=not node.children,
    )
    for child in sorted(node.children, key=_begins):
        yield from _rows(child, trace, depth + 1)


def _status(node: _Node, trace: Trace) -> Status:
    if node.module is None:
        return "function"
    if node.calls:
        return "called"
    if trace.took_part(node.module):
        return "used"
    if _begins(node) < inf or not has_forward(node.module) or node.module in trace.in_use:
        return "holds"
    return "never_called"
