"""The one change of the settings that would help most, and the time that it would save."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from mnfpn_cli.errors import UsageError
from mnfpn_cli.plan.levels import network_input, plan_levels, resolve
from mnfpn_cli.plan.network import plan_network
from mnfpn_cli.plan.roofline import LayerId, LayerWork, network_work
from mnfpn_cli.settings.input import NetworkInput
from mnfpn_cli.settings.network import ClassifierHead, LevelClassifiersHead, NetworkSettings, PyramidSettings
from mnfpn_cli.settings.overrides import parse_override
from mnfpn_cli.settings.sources import Source
from mnfpn_cli.text import as_arguments

LONG_ENOUGH = 0.01
"""The share of the whole time from which on a layer's rate is trusted."""


class TimeModel:
    """Estimate what other layers would take from what the layers of a network took.

    The time of a layer is split in three:

    * Its call: the time of the fastest layer with weights. On a GPU with one small image that is most of the time.
    * Its MACs, at the best rate that a layer of this network reached.
    * The rest, which grows with the bytes that it reads and writes.

    So a layer near the best rate scales with its MACs, and one far from it with its bytes, as in the roofline; but here
    everything is measured, in the runtime that is used. A new layer takes as long for a byte as the layers of the same
    operation. What a container computes beside its layers scales with the bytes of its part.
    """

    def __init__(self, works: Sequence[LayerWork], seconds: Mapping[LayerId, float]) -> None:
        self._seconds = dict(seconds)
        self._works = {work.id: work for work in works}
        self.total = sum(seconds.values())
        self._rate = self._best_rate()
        self._call = min((self._seconds[work.id] for work in works if work.macs), default=0.0)
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
        now = {work.id: work for work in works}
        return sum(now.get(work.id) != work for work in self._works.values())

    def _estimate(self, work: LayerWork) -> float:
        before = self._works.get(work.id)
        if before is None or before.operation != work.operation:
            per_byte = self._per_byte.get(work.operation, self._per_byte_of_all)
            return self._call + self._compute(work) + per_byte * work.bytes
        call, compute, beyond = self._parted(before)
        more_macs = work.macs / before.macs if before.macs else 0.0
        return call + compute * more_macs + beyond * work.bytes / before.bytes

    def _parted(self, work: LayerWork) -> tuple[float, float, float]:
        """The seconds of a measured layer: of its call, of its MACs, and beyond those."""
        seconds = self._seconds[work.id]
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


LEAST_PART_SHARE = 0.05
"""The share of the time from which on a part is worth advice."""
LEAST_SPEEDUP = 1.05
LEAST_RELIEF = 0.25
"""The share of a part's own time that a change must take off to count as a change of that part."""


@dataclass(frozen=True, slots=True)
class Advice:
    """A part, its share of the time, and the options that would make the whole network ``speedup`` times as fast."""

    part: str
    share: float
    option: str
    speedup: float


@dataclass(frozen=True, slots=True)
class _Change:
    """What an option would do, in estimated seconds of each part and of all, and to how many layers."""

    option: str
    parts: Mapping[str, float]
    changed: int

    @property
    def seconds(self) -> float:
        return sum(self.parts.values())


def best_advice(
    settings: NetworkSettings,
    works: Sequence[LayerWork],
    input: NetworkInput,
    item_bytes: int,
    seconds: Mapping[LayerId, float],
) -> Advice | None:
    """Find the change that helps the slowest part, or else the next slowest; None where no change helps.

    Of the changes that make that part clearly faster, choose the one that saves the most time for each layer that it
    changes, as it leaves most of the network as it was asked for. What a change saves is estimated (`TimeModel`).

    Args:
        settings: of the network.
        works: the work of its layers.
        input: of a pass.
        item_bytes: bytes of an element.
        seconds: the measured time of each layer, by path and part.
    """
    model = TimeModel(works, seconds)
    parts: dict[str, float] = {}
    for (_, part), time in seconds.items():
        parts[part] = parts.get(part, 0.0) + time
    changes = [
        _Change(options, model.by_part(changed), model.changed(changed))
        for options, changed in _changed_works(settings, input, item_bytes)
        if _macs(changed) < _macs(works)
    ]
    changes = [change for change in changes if model.total >= LEAST_SPEEDUP * change.seconds]
    for part, time in sorted(parts.items(), key=lambda item: -item[1]):
        if time < LEAST_PART_SHARE * model.total:
            break
        helping = [change for change in changes if change.parts.get(part, 0.0) <= (1 - LEAST_RELIEF) * time]
        if helping:
            best = max(helping, key=lambda change: (model.total - change.seconds) / change.changed)
            return Advice(part, time / model.total, best.option, model.total / best.seconds)
    return None


def _changed_works(
    settings: NetworkSettings, input: NetworkInput, item_bytes: int
) -> Iterator[tuple[str, tuple[LayerWork, ...]]]:
    """Give each change, as options of the command line, with the work of the network that it makes.

    A change that makes no network is left out.
    """
    given = Source("settings", settings.model_dump(mode="json"))
    for overrides in _changes(settings):
        try:
            changed = resolve([given, *(parse_override(text) for text in overrides)]).at(input.size)
            changed_input = network_input(changed, input.size, input.batch)
            plan = plan_network(changed)
        except UsageError:
            continue
        yield " ".join(as_arguments(("set", text) for text in overrides)), network_work(plan, changed_input, item_bytes)


def _macs(works: Sequence[LayerWork]) -> int:
    return sum(work.macs for work in works)


def _changes(settings: NetworkSettings) -> Iterator[tuple[str, ...]]:
    """Changes that make a network of the same kind faster; not all of them are possible."""
    if settings.pyramid:
        yield from _pyramid_changes(settings, settings.pyramid)
    yield (f"width_mult={settings.width_mult / 2:g}",)
    if isinstance(settings.head, LevelClassifiersHead) and settings.head.pool == "none":
        yield "head.size=null", "head.pool=average"
    if isinstance(settings.head, ClassifierHead) and settings.head.last_channels:
        yield (f"head.last_channels={settings.head.last_channels // 2}",)


def _pyramid_changes(settings: NetworkSettings, pyramid: PyramidSettings) -> Iterator[tuple[str, ...]]:
    levels = plan_levels(settings)
    coarser = levels.tapped[1:] + levels.extra
    if levels.tapped[1:]:
        yield (f"pyramid.levels={_written(coarser)}",)
    if pyramid.smooth == "conv":
        yield ("pyramid.smooth=separable",)
    if pyramid.extra == "conv":
        yield ("pyramid.extra=separable",)
    yield (f"pyramid.channels={pyramid.channels // 2}",)


def _written(levels: Sequence[str]) -> str:
    """Levels as people write them: ``p3-p5``, or one by one where some between them are left out."""
    first, last = (int(name[1:]) for name in (levels[0], levels[-1]))
    return f"{levels[0]}-{levels[-1]}" if last - first == len(levels) - 1 > 0 else ",".join(levels)
