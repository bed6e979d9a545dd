"""Advise one change of the settings: estimate how fast each change makes the network, and choose one."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from mnfpn_cli.errors import UsageError
from mnfpn_cli.plan.levels import plan_levels
from mnfpn_cli.plan.network import NetworkPlan, plan_network
from mnfpn_cli.plan.roofline import LayerId, LayerWork, network_work
from mnfpn_cli.plan.rules import network_input, resolve
from mnfpn_cli.settings.detection import DenseHead
from mnfpn_cli.settings.input import NetworkInput
from mnfpn_cli.settings.network import ClassifierHead, LevelClassifiersHead, NetworkSettings, PyramidSettings
from mnfpn_cli.settings.overrides import parse_override
from mnfpn_cli.settings.sources import Source

LEAST_LAYER_SHARE = 0.01
"""The rate of a layer is trusted if the layer takes at least this share of the total time."""


class TimeModel:
    """Estimates the time of a changed network from the measured times of the layers of the original one.

    The model splits the time of a layer into three parts:

    * Call: the time of the fastest layer with weights. On a GPU with one small image this is most of the time.
    * Compute: the MACs of the layer at the highest MACs per second that any layer of this network reached.
    * Memory: the rest, which is proportional to the bytes that the layer reads and writes.

    So the time of a layer near the highest rate scales with its MACs, and that of a layer far below that rate with its
    bytes, as in a roofline. Unlike there, all rates are measured in the runtime of the run. The memory time of a new
    layer is its bytes times the mean seconds per byte of the layers with the same operation. The time that a container
    takes outside its layers scales with the bytes of its part.

    Args:
        works: the layers of the original network.
        seconds: the measured time of each layer and container.

    Attributes:
        total: the sum of the measured times, in seconds.
    """

    def __init__(self, works: Sequence[LayerWork], seconds: Mapping[LayerId, float]) -> None:
        self._seconds = dict(seconds)
        self._works = {work.id: work for work in works}
        self.total = sum(seconds.values())
        self._rate = self._best_rate()
        self._call = min((self._seconds[work.id] for work in works if work.macs), default=0.0)
        self._per_byte = {
            operation: self._memory_per_byte([work for work in works if work.operation == operation])
            for operation in {work.operation for work in works}
        }
        self._per_byte_of_all = self._memory_per_byte(works)

    def by_part(self, works: Sequence[LayerWork]) -> dict[str, float]:
        """Estimate the seconds of each part of a network with these layers."""
        parts = defaultdict[str, float](float)
        for work in works:
            parts[work.part] += self._estimate(work)
        now, before = _bytes_by_part(works), _bytes_by_part(self._works.values())
        for layer, seconds in self._seconds.items():
            if layer not in self._works:  # a container
                part = layer[1]
                known = part in before
                ratio = now[part] / before[part] if known else sum(now.values()) / sum(before.values())
                parts[part] += seconds * ratio
        return dict(parts)

    def changed(self, works: Sequence[LayerWork]) -> int:
        """Return how many layers of the original network are missing or have different work."""
        now = {work.id: work for work in works}
        return sum(now.get(work.id) != work for work in self._works.values())

    def _estimate(self, work: LayerWork) -> float:
        before = self._works.get(work.id)
        if before is None or before.operation != work.operation:
            per_byte = self._per_byte.get(work.operation, self._per_byte_of_all)
            return self._call + self._compute(work) + per_byte * work.bytes
        call, compute, memory = self._split(before)
        ratio_of_macs = work.macs / before.macs if before.macs else 0.0
        return call + compute * ratio_of_macs + memory * work.bytes / before.bytes

    def _split(self, work: LayerWork) -> tuple[float, float, float]:
        """Split the seconds of a measured layer into call, compute and memory."""
        seconds = self._seconds[work.id]
        call = min(seconds, self._call)
        compute = min(seconds - call, self._compute(work))
        return call, compute, seconds - call - compute

    def _best_rate(self) -> float:
        """Return the highest MACs per second of a layer."""
        rates = {layer: work.macs / self._seconds[layer] for layer, work in self._works.items() if self._seconds[layer]}
        trusted = [rate for layer, rate in rates.items() if self._seconds[layer] >= LEAST_LAYER_SHARE * self.total]
        return max(trusted or rates.values(), default=0.0)

    def _compute(self, work: LayerWork) -> float:
        """Return the compute seconds of a layer."""
        return work.macs / self._rate if self._rate else 0.0

    def _memory_per_byte(self, works: Sequence[LayerWork]) -> float:
        """Return the mean memory seconds per byte of measured layers."""
        return sum(self._split(work)[2] for work in works) / sum(work.bytes for work in works)


def _bytes_by_part(works: Iterable[LayerWork]) -> defaultdict[str, int]:
    parts = defaultdict[str, int](int)
    for work in works:
        parts[work.part] += work.bytes
    return parts


LEAST_PART_SHARE = 0.05
"""The least share of the total time at which a part gets advice."""

LEAST_SPEEDUP = 1.05
"""The least speed_up of the whole network at which a change is advised."""

LEAST_RELIEF = 0.25
"""The least share of a part's own time that a change must save to be advice for that part."""


@dataclass(frozen=True, slots=True)
class Advice:
    """A change of the settings that makes the network faster.

    Attributes:
        part: the slowest part of the network that a change helps.
        share: its share of the time.
        overrides: the change, as values of the parameter `set`: ``pyramid.levels=p3-p5``.
        speed_up: the estimated factor by which the change makes the whole network faster.
    """

    part: str
    share: float
    overrides: tuple[str, ...]
    speed_up: float


@dataclass(frozen=True, slots=True)
class _Change:
    """Overrides of settings, the estimated seconds of each part with them, and the number of layers that change."""

    overrides: tuple[str, ...]
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
    """Choose the change that helps the slowest part, or else the next slowest; None where no change helps.

    Of the changes that make the part clearly faster, choose the one that saves the most time per layer that it changes:
    it keeps most of the network as the user set it. `TimeModel` estimates the time that a change saves.

    Args:
        settings: of the network.
        works: the work of its layers.
        input: of a pass.
        item_bytes: bytes of an element.
        seconds: the measured time of each layer and container.
    """
    model = TimeModel(works, seconds)
    parts = defaultdict[str, float](float)
    for (_, part), time in seconds.items():
        parts[part] += time
    changes = [
        _Change(overrides, model.by_part(changed), model.changed(changed))
        for overrides, changed in _changed_works(settings, input, item_bytes)
        if _macs(changed) < _macs(works)
    ]
    changes = [change for change in changes if model.total >= LEAST_SPEEDUP * change.seconds]
    for part, time in sorted(parts.items(), key=lambda item: -item[1]):
        if time < LEAST_PART_SHARE * model.total:
            break
        helping = [change for change in changes if change.parts.get(part, 0.0) <= (1 - LEAST_RELIEF) * time]
        if helping:
            best = max(helping, key=lambda change: (model.total - change.seconds) / change.changed)
            return Advice(part, time / model.total, best.overrides, model.total / best.seconds)
    return None


def _changed_works(
    settings: NetworkSettings, input: NetworkInput, item_bytes: int
) -> Iterator[tuple[tuple[str, ...], tuple[LayerWork, ...]]]:
    """Yield the overrides of each change, and the layers of the changed network.

    A change with which the settings are invalid is left out.
    """
    original = Source("settings", settings.model_dump(mode="json"))
    for overrides in _changes(settings):
        try:
            changed = resolve([original, *(parse_override(text) for text in overrides)]).at(input.size)
            changed_input = network_input(changed, input.size, input.batch)
            plan = plan_network(changed)
        except UsageError:
            continue
        yield overrides, network_work(plan, changed_input, item_bytes)


def _macs(works: Sequence[LayerWork]) -> int:
    return sum(work.macs for work in works)


def _changes(settings: NetworkSettings) -> Iterator[tuple[str, ...]]:
    """Yield the overrides of each change that may make the network faster; some may be invalid."""
    if settings.pyramid:
        yield from _pyramid_changes(settings, settings.pyramid)
    yield (f"width_mult={settings.width_mult / 2:g}",)
    if isinstance(settings.head, LevelClassifiersHead) and settings.head.pool == "none":
        yield "head.size=null", "head.pool=average"
    if isinstance(settings.head, ClassifierHead) and settings.head.last_channels:
        yield (f"head.last_channels={settings.head.last_channels // 2}",)
    if isinstance(settings.head, DenseHead):
        yield from _detection_changes(settings.head, plan_network(settings))


def _pyramid_changes(settings: NetworkSettings, pyramid: PyramidSettings) -> Iterator[tuple[str, ...]]:
    levels = plan_levels(settings)
    coarser = levels.tapped[1:] + levels.extra
    if levels.tapped[1:]:
        yield (f"pyramid.levels={_level_text(coarser)}",)
    if pyramid.smooth == "conv":
        yield ("pyramid.smooth=separable",)
    if pyramid.extra == "conv":
        yield ("pyramid.extra=separable",)
    yield (f"pyramid.channels={pyramid.channels // 2}",)


def _detection_changes(head: DenseHead, plan: NetworkPlan) -> Iterator[tuple[str, ...]]:
    """Yield changes of a detector's head; fewer levels are a change of the pyramid."""
    if head.depth:
        assert plan.pyramid
        yield (f"head.depth={head.depth // 2}",)
        yield (f"head.channels={(head.channels or plan.pyramid.channels) // 2}",)
    if not head.separable:
        yield ("head.separable=true",)


def _level_text(levels: Sequence[str]) -> str:
    """Return levels as a range, ``p3-p5``, or as a list where the range would have more levels."""
    first, last = (int(name[1:]) for name in (levels[0], levels[-1]))
    return f"{levels[0]}-{levels[-1]}" if last - first == len(levels) - 1 > 0 else ",".join(levels)
