"""Sums of times, work and floors by layer and by part of a network."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from mnfpn_cli.documents.bench import Bound, PartTime
from mnfpn_cli.measure.layer_times import LayerTimes
from mnfpn_cli.plan.roofline import LayerId, LayerWork, Roofline


@dataclass(frozen=True)
class LayerSum:
    """A sum over layers.

    Attributes:
        seconds: their time.
        macs: their MACs.
        bytes: their bytes.
        bounds: the seconds of their floors, by what sets these.
        faults: their page faults in a pass; None where they were not counted.
        repeated: the seconds of the bytes that separate operations read and write once more.
        unfilled: the seconds that vectors which channels do not fill take.
    """

    seconds: float = 0.0
    macs: int = 0
    bytes: int = 0
    bounds: Mapping[Bound, float] = field(default_factory=dict)
    faults: float | None = None
    repeated: float = 0.0
    unfilled: float = 0.0

    @property
    def floor(self) -> float:
        """The sum of the floors in seconds."""
        return sum(self.bounds.values())

    def __add__(self, other: "LayerSum") -> "LayerSum":
        """Add two sums; page faults are known where they are known of one."""
        kinds = {**self.bounds, **other.bounds}
        bounds = {kind: self.bounds.get(kind, 0.0) + other.bounds.get(kind, 0.0) for kind in kinds}
        known = [one for one in (self.faults, other.faults) if one is not None]
        return LayerSum(
            self.seconds + other.seconds,
            self.macs + other.macs,
            self.bytes + other.bytes,
            bounds,
            sum(known) if known else None,
            self.repeated + other.repeated,
            self.unfilled + other.unfilled,
        )

    def record(self, part: str, timed: bool, floored: bool) -> PartTime:
        """Make the record of a part or a layer, with its time and its floor where these were measured."""
        return PartTime(
            part=part,
            seconds=self.seconds if timed else None,
            macs=self.macs,
            bytes=self.bytes,
            floor_s=self.floor if floored else None,
            bound=max(self.bounds, key=lambda kind: self.bounds[kind], default=None),
            page_faults=self.faults,
        )


def sum_rows(
    works: Sequence[LayerWork], times: LayerTimes | None, roof: Roofline | None
) -> dict[tuple[LayerId, ...], LayerSum]:
    """Return the sums by layer, first those with work in the order in which they run, then containers.

    Layers that a runtime joined are one row, in the place of the one with most work. The work of a layer is in its own
    row where it has one, else in the first that it was joined into.
    """
    rows, owners = dict[tuple[LayerId, ...], LayerSum](), dict[LayerId, tuple[LayerId, ...]]()
    for row in sorted(times.rows, key=lambda row: bool(row.joined)) if times else ():
        ids = (row.id, *row.joined)
        rows[ids] = LayerSum(row.seconds, faults=row.faults)
        for layer in ids:
            owners.setdefault(layer, ids)
    floors = {floor.id: floor for floor in roof.floors} if roof else {}
    for work in works:
        ids, one = owners.get(work.id, (work.id,)), LayerSum(0.0, work.macs, work.bytes)
        if floor := floors.get(work.id):
            bounds = {floor.bound: floor.seconds}
            one = replace(one, bounds=bounds, repeated=floor.repeated_s, unfilled=floor.unfilled_s)
        rows[ids] = rows.get(ids, LayerSum()) + one
    places = {work.id: place for place, work in enumerate(works)}
    return dict(sorted(rows.items(), key=lambda item: places.get(item[0][0], len(places))))


def sum_parts(rows: Mapping[tuple[LayerId, ...], LayerSum]) -> dict[str, LayerSum]:
    """Return the sums by part, in the order in which they run."""
    parts = dict[str, LayerSum]()
    for ((_, part), *_), layer in sorted(rows.items(), key=lambda item: _place(item[0][0][1])):
        parts[part] = parts.get(part, LayerSum()) + layer
    return parts


def _place(part: str) -> int:
    """Return the place of a part in the order of parts: what a head does for all levels is behind its levels."""
    return {"head": 1, "rest": 2}.get(part, 0)
