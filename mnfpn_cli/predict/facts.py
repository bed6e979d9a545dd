"""What a plan says about each layer of a run that its time may depend on."""

from functools import lru_cache
from typing import NamedTuple

from mnfpn_cli.plan.network import plan_network
from mnfpn_cli.plan.roofline import LayerId, LayerOperation, layer_steps, step_work
from mnfpn_cli.plan.steps import AddStep, ConvStep, LinearStep, MaxPoolStep, NormStep, PoolStep, ResizeStep, Step
from mnfpn_cli.predict.heap import fresh_bytes, mapped_bytes
from mnfpn_cli.settings.input import ITEM_BYTES
from mnfpn_cli.settings.measuring import DEFAULT_ALLOCATOR
from mnfpn_cli.space.runs import Run

ON_HEAP = frozenset(("eager", "channels-last"))
"""The runtimes whose maps are PyTorch's tensors, which come from the C library's heap on a CPU and are freed in a pass.

Other runtimes plan the memory of a pass once, or most of it.
"""

GROUPS: tuple[LayerOperation, ...] = ("depthwise", "pointwise", "conv", "dense", "move")
"""The operations of layers; the kinds of each are alike."""


class LayerFacts(NamedTuple):
    """One layer, as a batch goes through it.

    Attributes:
        id: of the layer.
        kind: what it does; layers of one kind have one law of time.
        group: the index of its operation in `GROUPS`.
        calls: operations in it: 1, but for the resizes and additions of a top-down path.
        macs: MACs.
        moved: elements of maps that it reads and writes.
        weights: elements of its weights.
        inputs: channels of the map that it reads.
        outputs: channels of the map that it writes.
        cells: cells of the map that it writes, of all images of a batch.
        fresh: bytes of its maps that come from the system in each pass (`mnfpn_cli/predict/heap.py`), in a process
            that measures this run alone.
        mapped: the same in a process that has measured others and kept their memory: those of the largest maps.
    """

    id: LayerId
    kind: str
    group: int
    calls: int
    macs: int
    moved: int
    weights: int
    inputs: int
    outputs: int
    cells: int
    fresh: int
    mapped: int


# Models are fitted and runs chosen over and over while a sweep goes on: a run takes a millisecond the first time.
@lru_cache(maxsize=4096)
def run_facts(run: Run) -> tuple[LayerFacts, ...]:
    """Return the facts of each layer of a run, in the order in which they run; each id occurs once."""
    plan, execution = plan_network(run.settings), run.execution
    batch, element_bytes = execution.batch, execution.batch * ITEM_BYTES[execution.dtype]
    upsample = plan.pyramid.upsample if plan.pyramid else ""
    facts = dict[LayerId, LayerFacts]()
    on_heap = execution.runtime in ON_HEAP and execution.allocator == DEFAULT_ALLOCATOR
    steps = list(layer_steps(plan, run.size))
    fresh = [0] * len(steps)
    if on_heap:
        fresh = fresh_bytes([step for _, step in steps], element_bytes)
    for (id, step), new in zip(steps, fresh, strict=True):
        work, (inputs, outputs, cells) = step_work(step), _channels(step)
        one = LayerFacts(
            id=id,
            kind=_kind(step, id, upsample),
            group=GROUPS.index(work.operation),
            calls=1,
            macs=batch * work.macs,
            moved=batch * work.elements,
            weights=work.weights,
            inputs=inputs,
            outputs=outputs,
            cells=batch * cells,
            fresh=new,
            mapped=mapped_bytes(step, element_bytes) if on_heap else 0,
        )
        facts[id] = _joined(facts[id], one) if id in facts else one
    return tuple(facts.values())


def _joined(one: LayerFacts, other: LayerFacts) -> LayerFacts:
    return one._replace(
        calls=one.calls + other.calls,
        macs=one.macs + other.macs,
        moved=one.moved + other.moved,
        weights=one.weights + other.weights,
        cells=one.cells + other.cells,
        fresh=one.fresh + other.fresh,
        mapped=one.mapped + other.mapped,
    )


def _kind(step: Step, id: LayerId, upsample: str) -> str:
    if isinstance(step, ConvStep):
        conv = step.conv
        stride = f" /{conv.stride}" if conv.stride > 1 else ""
        after = f" {conv.activation or 'linear'}" if conv.norm or conv.activation else ""
        if conv.groups > 1:
            return f"depthwise {conv.kernel}×{conv.kernel}{stride}{after}"
        return f"{conv.kernel}×{conv.kernel}{stride}{after}"
    if id[1] == "top-down":
        return f"top-down {upsample}"
    match step:
        case AddStep():
            return "add"
        case LinearStep():
            return "dense"
        case PoolStep():
            return "average"
        case MaxPoolStep():
            return f"max {step.kernel}×{step.kernel}"
        case NormStep():
            return "norm"
        case ResizeStep():
            return f"resize {upsample}"
        case _:
            return "copy"


def _channels(step: Step) -> tuple[int, int, int]:
    """Return the channels that a step reads and writes, and the cells that it writes, for one image."""
    match step:
        case ConvStep():
            return step.conv.in_channels, step.conv.out_channels, step.output.cells
        case LinearStep():
            return step.linear.in_features, step.linear.out_features, 1
        case NormStep():
            return step.norm.channels, step.norm.channels, max(1, step.makes // step.norm.channels)
        case PoolStep() | MaxPoolStep():
            return step.channels, step.channels, max(1, step.makes // step.channels)
        case ResizeStep():
            return step.channels, step.channels, step.output.cells
        case _:
            return 1, 1, step.makes
