"""What there is to compute in a network, by kind, and the totals that counters print for it."""

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass

import torch.nn.functional as F  # noqa: N812
from torch import nn

from mnfpn_cli.audit.counters import fvcore, ptflops
from mnfpn_cli.audit.counters.calflops import count_calflops
from mnfpn_cli.audit.counters.functions import doubts_of_patches
from mnfpn_cli.audit.counters.fvcore import count_fvcore
from mnfpn_cli.audit.counters.ptflops import count_ptflops
from mnfpn_cli.audit.counters.record import CountError, Record
from mnfpn_cli.audit.counters.thop import count_thop
from mnfpn_cli.audit.counters.torchinfo import count_torchinfo
from mnfpn_cli.documents.counts import CountsRecord, ToolRecord, WorkRecord
from mnfpn_cli.trace.facts import Facts
from mnfpn_cli.trace.observe import Operation
from mnfpn_cli.trace.operations import Kind


@dataclass(frozen=True, slots=True)
class WorkCounts:
    """What there is to compute, for the whole input.

    MACs of products; of everything else the elements that it is computed for: those of the output, of pooling those
    that are read.
    """

    convolution_macs: int
    dense_macs: int
    bias_adds: int
    batch_norm: int
    other_norms: int
    activations: int
    resized: int
    additions: int
    multiplications: int
    pooled: int

    @property
    def macs(self) -> int:
        """MACs of all products."""
        return self.convolution_macs + self.dense_macs


def count_work(facts: Facts) -> WorkCounts:
    """Every operation that was seen, wherever the layer that computes it is kept."""
    seen = [event for event in facts.seen.events if isinstance(event, Operation)]

    def elements(kind: Kind) -> int:
        return sum(one.elements for one in seen if one.kind == kind)

    return WorkCounts(
        convolution_macs=_macs(one for one in seen if one.kind == "convolution"),
        dense_macs=_macs(one for one in seen if one.kind != "convolution"),
        bias_adds=sum(one.bias for one in seen),
        batch_norm=elements("batch_norm"),
        other_norms=elements("norm"),
        activations=elements("activation"),
        resized=elements("resize"),
        additions=elements("addition"),
        multiplications=elements("product"),
        pooled=sum(one.read for one in seen if one.kind == "pooling"),
    )


def _macs(operations: Iterable[Operation]) -> int:
    return sum(one.macs for one in operations)


@dataclass(frozen=True, slots=True)
class ToolTotal:
    """What a tool prints for a network.

    Attributes:
        tool: its name.
        version: that its rules were read from.
        total: None where it fails, or where its number cannot be derived.
        unit: as the tool calls it.
        meaning: what it really is.
        exact: whether the tool prints just that.
        note: why there is no total, or why it may be another.
    """

    tool: str
    version: str
    total: int | None
    unit: str
    meaning: str
    exact: bool
    note: str


UNFORESEEN = (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError)


@dataclass(frozen=True, slots=True)
class _Tool:
    name: str
    version: str
    unit: str
    meaning: str
    count: Callable[[Record], int]
    doubts: Callable[[Record], tuple[str, ...]] = lambda _: ()


def tool_totals(facts: Facts) -> tuple[ToolTotal, ...]:
    """The total of each tool, by the tool's own rules; the network is run once more, to see what they see."""
    seen = Record(facts)
    return tuple(_total(tool, seen) for tool in TOOLS)


def _total(tool: _Tool, seen: Record) -> ToolTotal:
    total: int | None = None
    notes: list[str] = []
    try:
        total = tool.count(seen)
        notes += tool.doubts(seen)
    except CountError as reason:
        notes.append(str(reason))
    except UNFORESEEN as error:  # anybody's network: a tool's rules meet arguments that they do not expect
        notes.append(f"its rules do not fit this network ({type(error).__name__})")
    return ToolTotal(tool.name, tool.version, total, tool.unit, tool.meaning, not notes, "; ".join(notes))


def count_flop_counter(seen: Record) -> int:
    """What torch's ``FlopCounterMode`` gives on the meta device: 2 for each MAC (torch/utils/flop_counter.py)."""
    return 2 * count_work(seen.facts).macs


def _kernels(seen: Record) -> tuple[str, ...]:
    """Kernels that do the work of several operations, and for which ``FlopCounterMode`` has no formula on a CPU."""
    fused = {F.multi_head_attention_forward, F.scaled_dot_product_attention}
    hides = any(call.function in fused for call in seen.functions)
    hides |= any(isinstance(call.module, nn.RNNBase) for call in seen.calls)
    return ("on a CPU it misses fused attention and recurrent layers",) if hides else ()


TOOLS = (
    _Tool(
        "fvcore",
        "0.1.5",
        "flops",
        "MACs + 2 per batch-norm element (other norms 5) + 4 per bilinear element (nearest 1); no fused attention",
        count_fvcore,
        fvcore.doubts,
    ),
    _Tool(
        "torchinfo",
        "1.8.0",
        "mult-adds",
        "MACs + biases + batch-norm parameters, of modules in the tree",
        count_torchinfo,
    ),
    _Tool("FlopCounterMode", "torch 2.13", "FLOPs", "2 × MACs", count_flop_counter, _kernels),
    _Tool(
        "ptflops",
        "0.7.5",
        "MACs",
        "MACs + biases + 2 per batch-norm element + activations (nn.ReLU twice) + upsampled elements",
        count_ptflops,
        ptflops.doubts,
    ),
    _Tool("thop", "0.1.1", "MACs", "MACs + 4 per batch-norm element, of modules in the tree", count_thop),
    _Tool(
        "calflops",
        "0.3.2",
        "FLOPs",
        "2 × MACs + biases + 2 per batch-norm element + activations (ReLU6 not) + upsampled places, channels forgotten",
        count_calflops,
        doubts_of_patches,
    ),
)
"""The tools, in the order in which they are shown."""


def counts_record(facts: Facts) -> CountsRecord:
    """Say in a document what there is to compute, and what counters print for it."""
    tools = tuple(ToolRecord(**asdict(one)) for one in tool_totals(facts))
    return CountsRecord(work=WorkRecord(**asdict(count_work(facts))), tools=tools)
