"""The work of each layer on a batch, and the least time that a device needs for it: its floor."""

from collections import Counter
from collections.abc import Iterator, Sequence
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
    NormStep,
    PoolStep,
    ReluStep,
    ResizeStep,
    Step,
    walk,
)
from mnfpn_cli.settings.input import NetworkInput, Size

LayerOperation = Literal["conv", "pointwise", "depthwise", "dense", "move"]
"""What a layer computes. ``conv`` is a convolution with a kernel above 1×1; ``pointwise`` has 1×1; ``depthwise`` has
groups; ``move`` has no MACs: it adds, resizes, concatenates, pools or normalises maps."""

LayerId = tuple[str, str]
"""The path and the part of a layer, or of a container that computes something outside its layers: together unique."""


@dataclass(frozen=True, slots=True)
class LayerWork:
    """The MACs and bytes of a layer for a batch.

    Attributes:
        path: the attribute path of its module in the network. What a container computes outside its layers has the
            path of the container: that of a block for its addition, ``pyramid`` for the top-down path.
        part: the part of the network that it belongs to: ``stem``, ``stages.0``, ``laterals``, ``top-down``,
            ``smooth p2``, ``extra p6``, ``head``, ``head p3`` of a detector.
        operation: what it computes.
        macs: MACs.
        bytes: bytes read and written.
        calls: the operations that run one after the other: of a convolution also its padding, norm and activation.
        repeated: bytes that are read and written once more where padding, norm and activation are operations of their
            own.
        channels: channels of the map that a convolution or a dense layer returns; 0 of other layers.
    """

    path: str
    part: str
    operation: LayerOperation
    macs: int
    bytes: int
    calls: int = 1
    repeated: int = 0
    channels: int = 0

    @property
    def id(self) -> LayerId:
        """The path and the part."""
        return self.path, self.part


class ImageWork(NamedTuple):
    """The work of one step on one image, as `LayerWork`.

    ``elements`` are read and written; ``weights`` are read once for a batch; ``repeated`` are elements.
    """

    operation: LayerOperation
    macs: int
    elements: int
    weights: int = 0
    calls: int = 1
    repeated: int = 0
    channels: int = 0


def network_work(plan: NetworkPlan, input: NetworkInput, item_bytes: int) -> tuple[LayerWork, ...]:
    """Return the work of each layer on a batch, in the order in which they run; each id occurs once.

    The MACs for one image add up to those of `network_cost`. The ReLU between extra levels is left out: its maps are
    the smallest ones.

    Args:
        plan: the network.
        input: the batch.
        item_bytes: bytes of an element.
    """
    works = dict[LayerId, LayerWork]()
    for (path, part), step in layer_steps(plan, input.size):
        work = step_work(step)
        macs = input.batch * work.macs
        size, operations = (input.batch * work.elements + work.weights) * item_bytes, work.calls
        repeated = input.batch * work.repeated * item_bytes
        before = works.get((path, part))
        if before:  # the resizes and additions of the top-down path are one layer
            macs, size, operations = macs + before.macs, size + before.bytes, operations + before.calls
            repeated += before.repeated
        channels = max(work.channels, before.channels if before else 0)
        works[path, part] = LayerWork(path, part, work.operation, macs, size, operations, repeated, channels)
    if copies := works.pop(("head", "head"), None):  # of all levels: their place is behind these
        works[copies.id] = copies
    return tuple(works.values())


def layer_steps(plan: NetworkPlan, size: Size) -> Iterator[tuple[LayerId, Step]]:
    """Yield each step on an image of ``size`` and the layer that it belongs to; without the ReLU of extra levels."""
    calls = Counter[str]()
    for step in walk(plan, size).steps:
        if isinstance(step, ReluStep):
            continue
        path = "pyramid" if isinstance(step, ResizeStep) else step.path
        yield (path, _part_of_call(plan, path, calls[path])), step
        calls[path] += 1


def network_part(path: str) -> str:
    """Return the part of the network that the module at a path belongs to."""
    names = path.split(".")
    match names:
        case ["stem" | "stem_pool"]:
            return "stem"
        case ["stages", index, *_]:
            return f"stages.{index}"
        case ["pyramid", "lateral" | "last", *_]:
            return "laterals"
        case ["pyramid", "smooth" | "extra" as kind, level, *_]:
            return f"{kind} {level}"
        case ["pyramid"]:
            return "top-down"
        case ["head", "cls" | "box" | "joint", "norms", level, *_] | ["head", "cls" | "box" | "joint", level, *_]:
            return f"head {level}"
        case _:
            return names[0]


def _part_of_call(plan: NetworkPlan, path: str, call: int) -> str:
    """Return the part that a module's call belongs to; levels that share a module call it one after the other."""
    if SHARED not in path or not plan.pyramid:
        return network_part(path)
    levels = plan.pyramid.names
    if path.startswith("pyramid."):
        levels = tuple(level.name for level in plan.pyramid.levels if level.smooth)
        levels = levels[::-1] if plan.pyramid.smoothed_down else levels
    return network_part(path.replace(SHARED, levels[call]))


def step_work(step: Step) -> ImageWork:
    """Return the work of a step on one image."""
    if isinstance(step, ConvStep):
        conv = step.conv
        elements = conv.in_channels * step.input.cells + step.makes
        weights, after = conv.parameters + conv.buffers, bool(conv.norm) + bool(conv.activation)
        repeated = 2 * (after * step.makes + conv.same * conv.in_channels * step.input.cells)
        calls, channels = 1 + conv.same + after, conv.out_channels
        return ImageWork(_operation(conv), conv.macs(step.output), elements, weights, calls, repeated, channels)
    if isinstance(step, NormStep):
        norm = step.norm
        weights, after = norm.parameters + norm.buffers, bool(norm.activation)
        return ImageWork("move", 0, 2 * step.makes, weights, 1 + after, 2 * after * step.makes)
    if isinstance(step, LinearStep):
        linear = step.linear
        elements, channels = linear.in_features + linear.out_features, linear.out_features
        return ImageWork("dense", linear.macs, elements, linear.parameters, channels=channels)
    if isinstance(step, ResizeStep):
        return ImageWork("move", 0, step.channels * step.input.cells + step.makes)
    if isinstance(step, PoolStep):
        return ImageWork("move", 0, step.channels * step.input.cells + step.makes)
    if isinstance(step, MaxPoolStep):  # with a 1×1 kernel, it reads only the cells that it returns
        read = step.makes if step.kernel == 1 else step.channels * step.input.cells
        return ImageWork("move", 0, read + step.makes)
    return ImageWork("move", 0, (3 if isinstance(step, AddStep) else 2) * step.makes)


def _operation(conv: ConvPlan) -> LayerOperation:
    if conv.groups > 1:
        return "depthwise"
    return "pointwise" if conv.kernel == 1 else "conv"


@dataclass(frozen=True, slots=True)
class Peaks:
    """The highest rates measured on a device in one dtype: MACs per second, and bytes read and written per second."""

    macs_per_s: float
    bytes_per_s: float


@dataclass(frozen=True, slots=True)
class LayerFloor:
    """The floor of a layer in seconds, what bounds it, and what some kernels need beyond it.

    Attributes:
        path: as that of `LayerWork`, and so are ``part``, ``macs`` and ``bytes``.
        seconds: the floor.
        bound: compute or memory.
        repeated_s: the seconds of the bytes that separate operations read and write once more.
        unfilled_s: by how much the floor is longer where each vector of channels takes as long as a full one.
    """

    path: str
    part: str
    macs: int
    bytes: int
    seconds: float
    bound: Bound
    repeated_s: float = 0.0
    unfilled_s: float = 0.0

    @property
    def id(self) -> LayerId:
        """The path and the part."""
        return self.path, self.part


@dataclass(frozen=True, slots=True)
class Roofline:
    """The floor of each layer, in the order in which they run, and the peaks that they follow from."""

    peaks: Peaks
    floors: tuple[LayerFloor, ...]

    @property
    def seconds(self) -> float:
        """The floor of the network in seconds: the sum of the floors of its layers."""
        return sum(floor.seconds for floor in self.floors)

    def reached(self, measured: float) -> float:
        """Return the share of the peaks that a pass of ``measured`` seconds reached: the floor over its time."""
        return self.seconds / measured


def roofline(works: Sequence[LayerWork], peaks: Peaks, vector: int = 1) -> Roofline:
    """Return the floor of each layer: its MACs over the peak or its bytes over the bandwidth, the larger of the two.

    The floor assumes direct convolution, layer by layer, with each map read from memory and written to it. A network
    can be faster: Winograd and FFT convolutions have fewer multiplications, fused layers keep the map between them in
    a cache, and small maps stay in a cache by themselves.

    Args:
        works: the layers.
        peaks: of the device.
        vector: how many elements a vector of the processor holds.
    """
    return Roofline(peaks, tuple(_floor(work, peaks, vector) for work in works))


def _floor(work: LayerWork, peaks: Peaks, vector: int) -> LayerFloor:
    compute, memory = work.macs / peaks.macs_per_s, work.bytes / peaks.bytes_per_s
    bound: Bound = "compute" if compute >= memory else "memory"
    seconds, channels = max(compute, memory), max(1, work.channels)
    whole = compute * (-(-channels // vector) * vector / channels) if work.channels else 0.0
    repeated, unfilled = work.repeated / peaks.bytes_per_s, max(0.0, whole - seconds)
    return LayerFloor(work.path, work.part, work.macs, work.bytes, seconds, bound, repeated, unfilled)
