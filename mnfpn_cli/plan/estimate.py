"""Estimating the time of a network that was not built, from the measured times of one that differs from it."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from mnfpn_cli.plan.work import LayerWork, Row

LONG_ENOUGH = 0.01
"""The share of the whole time from which on a layer's rate is trusted."""


class TimeModel:
    """What the layers of a network took, as a time for the call, one for the MACs and one for the bytes.

    A call takes what the fastest layer with weights took, whatever it does: on a GPU with one small image that is most
    of the time. MACs run at the best rate that a layer of this network reached. What a layer took beyond these two goes
    with its bytes. So a layer near the best rate scales with its MACs, one far from it with its maps, which is what the
    roofline says of them too; but here all is measured, in the runtime that is used. A layer of a kind that was not
    there takes as much for a byte as those that do the same, and what containers and the network compute beside their
    layers goes with the bytes of those.
    """

    def __init__(self, works: Sequence[LayerWork], seconds: Mapping[Row, float]) -> None:
        self._seconds = dict(seconds)
        self._works = {work.row: work for work in works}
        self.total = sum(seconds.values())
        self._rate = self._best_rate()
        self._call = min((self._seconds[work.row] for work in works if work.macs), default=0.0)
        self._per_byte = {
            operation: self._beyond([work for work in works if work.operation == operation])
            for operation in {work.operation for work in works}
        }
        self._per_byte_of_all = self._beyond(works)

    def by_part(self, works: Sequence[LayerWork]) -> dict[str, float]:
        """The estimated seconds of each part of a network with these layers."""
        parts = defaultdict[str, float](float)
        for work in works:
            parts[work.part] += self._estimate(work)
        now, before = _bytes_by_part(works), _bytes_by_part(self._works.values())
        for row, seconds in self._seconds.items():
            if row not in self._works:
                part = row[1]
                known = part in before
                ratio = now[part] / before[part] if known else sum(now.values()) / sum(before.values())
                parts[part] += seconds * ratio
        return dict(parts)

    def changed(self, works: Sequence[LayerWork]) -> int:
        """How many layers of the measured network are gone, or have other work."""
        now = {work.row: work for work in works}
        return sum(now.get(work.row) != work for work in self._works.values())

    def _estimate(self, work: LayerWork) -> float:
        before = self._works.get(work.row)
        if before is None or before.operation != work.operation:
            per_byte = self._per_byte.get(work.operation, self._per_byte_of_all)
            return self._call + self._compute(work) + per_byte * work.bytes
        call, compute, beyond = self._parted(before)
        more_macs = work.macs / before.macs if before.macs else 0.0
        return call + compute * more_macs + beyond * work.bytes / before.bytes

    def _parted(self, work: LayerWork) -> tuple[float, float, float]:
        """The seconds of a measured layer: of its call, of its MACs, and beyond those."""
        seconds = self._seconds[work.row]
        call = min(seconds, self._call)
        compute = min(seconds - call, self._compute(work))
        return call, compute, seconds - call - compute

    def _best_rate(self) -> float:
        rates = {row: work.macs / self._seconds[row] for row, work in self._works.items() if self._seconds[row]}
        trusted = [rate for row, rate in rates.items() if self._seconds[row] >= LONG_ENOUGH * self.total]
        return max(trusted or rates.values(), default=0.0)

    def _compute(self, work: LayerWork) -> float:
        return work.macs / self._rate if self._rate else 0.0

    def _beyond(self, works: Sequence[LayerWork]) -> float:
        """The seconds for each byte that some layers took beyond their calls and their MACs."""
        return sum(self._parted(work)[2] for work in works) / sum(work.bytes for work in works)


def _bytes_by_part(works: Iterable[LayerWork]) -> defaultdict[str, int]:
    parts = defaultdict[str, int](int)
    for work in works:
        parts[work.part] += work.bytes
    return parts
