"""The work of each layer on a batch, and the least time that a device needs for it."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from mnfpn_cli.documents.bench import Bound
from mnfpn_cli.plan.layers import ConvPlan
from mnfpn_cli.plan.network import NetworkPlan
from mnfpn_cli.plan.pyramid import SHARED
from mnfpn_cli.plan.steps import (
    AddStep,
    ConvStep,
    LinearStep,
    MaxPoolStep,
    PoolStep,
    ReluStep,
    ResizeStep,
    Step,
    walk,
)
from mnfpn_cli.settings.input import NetworkInput

LayerOperation = Literal["conv", "pointwise", "depthwise", "dense", "move"]
"""What a layer does: a convolution over several cells, over one, or channel by channel; a dense layer; or it only moves
a map: it adds, resizes, joins or pools."""

LayerId = tuple[str, str]
"""The path and the part of a layer, or of a container that computes something beside its layers: unique together."""


@dataclass(frozen=True, slots=True)
class LayerWork:
    """What a layer does with a batch.

    Attributes:
        path: its module's attribute path in the network. What a module computes beside its children goes by its own
            path: a block's addition by the block's, the top-down path by ``pyramid``.
        part: the part of the network that it belongs to: ``stem``, ``stages.0``, ``laterals``, ``top-down``,
            ``smooth p2``, ``extra p6``, ``head``.
        operation: what it does.
        macs: multiply-accumulates.
        bytes: read and written.
    """

    path: str
    part: str
    operation: LayerOperation
    macs: int
    bytes: int

    @property
    def id(self) -> LayerId:
        """The path and the part."""
        return self.path, self.part


class _Moved(NamedTuple):
    """A layer's work on one image, in elements; weights are read once for the whole batch."""

    path: str
    operation: LayerOperation
    macs: int
    elements: int
    weights: int = 0


def network_work(plan: NetworkPlan, input: NetworkInput, item_bytes: int) -> tuple[LayerWork, ...]:
    """The work of every layer on a batch, in the order in which they run; each pair of path and part comes once.

    ``item_bytes`` are those of one element. The MACs add up to `network_cost`'s for each image. The ReLU between extra
    levels is left out: it goes over the smallest maps.
    """
    shared = [level.name for level in plan.pyramid.levels if level.smooth] if plan.pyramid else []
    calls = Counter[str]()
    found: dict[LayerId, LayerWork] = {}
    for step in walk(plan, input.size).steps:
        if isinstance(step, ReluStep):
            continue
        moved = _moved(step)
        part = _part(moved.path, shared[calls[moved.path] :])
        calls[moved.path] += 1
        macs = input.batch * moved.macs
        size = (input.batch * moved.elements + moved.weights) * item_bytes
        before = found.get((moved.path, part))
        if before:  # the resizes and additions of the top-down path
            macs, size = macs + before.macs, size + before.bytes
        found[moved.path, part] = LayerWork(moved.path, part, moved.operation, macs, size)
    return tuple(found.values())


def network_part(path: str) -> str:
    """The part of the network that a module or its own computation belongs to, by its path."""
    names = path.split(".")
    match names:
        case ["stem" | "stem_pool"]:
            return "stem"
        case ["stages", index, *_]:
            return f"stages.{index}"
        case ["pyramid", "lateral", *_]:
            return "laterals"
        case ["pyramid", "smooth" | "extra" as kind, level, *_]:
            return f"{kind} {level}"
        case ["pyramid"]:
            return "top-down"
        case _:
            return names[0]


def _part(path: str, shared: list[str]) -> str:
    """The part of a call; ``shared`` begins with the level that a smoothing shared by all is called for."""
    of_all = f"pyramid.smooth.{SHARED}"
    return network_part(path.replace(of_all, f"pyramid.smooth.{shared[0]}") if path.startswith(of_all) else path)


def _moved(step: Step) -> _Moved:
    if isinstance(step, ConvStep):
        conv = step.conv
        elements = conv.in_channels * step.input.cells + step.makes
        return _Moved(step.path, _operation(conv), conv.macs(step.output), elements, conv.parameters + conv.buffers)
    if isinstance(step, LinearStep):
        linear = step.linear
        return _Moved(step.path, "dense", linear.macs, linear.in_features + linear.out_features, linear.parameters)
    if isinstance(step, ResizeStep):
        return _Moved("pyramid", "move", 0, step.channels * step.input.cells + step.makes)
    if isinstance(step, PoolStep):
        return _Moved(step.path, "move", 0, step.channels * step.input.cells + step.makes)
    if isinstance(step, MaxPoolStep):  # of 1×1, it reads only the cells that it keeps
        read = step.makes if step.kernel == 1 else step.channels * step.input.cells
        return _Moved(step.path, "move", 0, read + step.makes)
    return _Moved(step.path, "move", 0, (3 if isinstance(step, AddStep) else 2) * step.makes)


def _operation(conv: ConvPlan) -> LayerOperation:
    if conv.groups > 1:
        return "depthwise"
    return "pointwise" if conv.kernel == 1 else "conv"


@dataclass(frozen=True, slots=True)
class Peaks:
    """The most that a device was seen to do in one dtype: MACs a second, and bytes read and written a second."""

    macs_per_s: float
    bytes_per_s: float


@dataclass(frozen=True, slots=True)
class LayerFloor:
    """The floor of a layer's time in seconds, and what sets it: its MACs at the peak, or its bytes."""

    path: str
    part: str
    macs: int
    bytes: int
    seconds: float
    kind: Bound

    @property
    def id(self) -> LayerId:
        """The path and the part."""
        return self.path, self.part


@dataclass(frozen=True, slots=True)
class Roofline:
    """The floor of every layer, in the order in which they run, and the peaks that they follow from."""

    peaks: Peaks
    floors: tuple[LayerFloor, ...]

    @property
    def seconds(self) -> float:
        """The network's floor: its layers' one after the other."""
        return sum(floor.seconds for floor in self.floors)

    def reached(self, measured: float) -> float:
        """The share of what the device can do that a pass of so many seconds reached."""
        return self.seconds / measured


def roofline(works: Sequence[LayerWork], peaks: Peaks) -> Roofline:
    """The floor of each layer: its MACs over the peak, or its bytes over the bandwidth, the larger.

    It is that of direct convolution, layer by layer, every map read from memory and written to it. So it can be beaten:
    Winograd's and Fourier convolutions multiply less, joined layers keep the map between them in a cache, and so do
    small maps by themselves.
    """
    return Roofline(peaks, tuple(_floor(work, peaks) for work in works))


def _floor(work: LayerWork, peaks: Peaks) -> LayerFloor:
    compute, memory = work.macs / peaks.macs_per_s, work.bytes / peaks.bytes_per_s
    kind: Bound = "compute" if compute >= memory else "memory"
    return LayerFloor(work.path, work.part, work.macs, work.bytes, max(compute, memory), kind)
