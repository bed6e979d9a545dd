"""The least time that a network can take on a device, from the work of its layers and what the device can do.

Source: Williams, Waterman and Patterson 2009, "Roofline: An Insightful Visual Performance Model for Multicore
Architectures". Here it is turned around: not the rate that a kernel can reach, but the time that it cannot beat.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from mnfpn_cli.plan.work import LayerWork, Row

Bound = Literal["compute", "memory"]


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
    def row(self) -> Row:
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
