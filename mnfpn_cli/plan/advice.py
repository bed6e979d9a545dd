"""Advise one change of the settings: estimate how fast each change makes the network, and choose one."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import sqrt
from typing import NamedTuple

from mnfpn_cli.errors import UsageError
from mnfpn_cli.plan.backbone import plan_widths
from mnfpn_cli.plan.levels import plan_levels
from mnfpn_cli.plan.network import plan_network
from mnfpn_cli.plan.roofline import LayerId, LayerOperation, LayerWork, network_work
from mnfpn_cli.plan.rules import network_input, resolve
from mnfpn_cli.settings.detection import AnchorSettings, DefaultBoxSettings
from mnfpn_cli.settings.input import NetworkInput
from mnfpn_cli.settings.network import ClassifierHead, LevelClassifiersHead, NetworkSettings, PyramidSettings
from mnfpn_cli.settings.overrides import parse_override
from mnfpn_cli.settings.sources import Source


class Law(NamedTuple):
    """The time of a layer: seconds per call, however small the layer is, and seconds per MAC and per byte."""

    per_call: float
    per_mac: float
    per_byte: float

    def seconds(self, work: LayerWork) -> float:
        """Return the time of a layer."""
        return self.per_call * work.calls + self.per_mac * work.macs + self.per_byte * work.bytes


LEAST_TIME = 1e-9
"""Seconds that no clock tells from nothing."""

NO_TIME = Law(0.0, 0.0, 0.0)


def fit_law(works: Sequence[LayerWork], seconds: Mapping[LayerId, float]) -> Law:
    """Fit a law to measured layers: non-negative least squares of the relative errors.

    Each column is left out or not, so that no part of the law is negative; there are few enough of them to try all.

    Args:
        works: the layers; those without time are left out.
        seconds: the time of each layer.
    """
    timed = [(work, seconds[work.id]) for work in works if seconds[work.id] > LEAST_TIME]
    rows = [(work.calls / time, work.macs / time, work.bytes / time) for work, time in timed]
    if not rows:
        return NO_TIME
    best, least = NO_TIME, float("inf")
    for kept in product((True, False), repeat=3):
        columns = [column for column, is_kept in enumerate(kept) if is_kept]
        found = _least_squares([[row[column] for column in columns] for row in rows])
        if found is None or min(found, default=0.0) < 0:
            continue
        parts = dict(zip(columns, found, strict=True))
        error = sum((sum(part * row[column] for column, part in parts.items()) - 1) ** 2 for row in rows)
        if error < least:
            best, least = Law(*(parts.get(column, 0.0) for column in range(3))), error
    return best


def _least_squares(rows: Sequence[Sequence[float]]) -> list[float] | None:
    """Return the factors with which the columns of rows come nearest to 1; None where many do so equally.

    Columns are scaled to the same length first: calls and bytes are far apart.
    """
    size = len(rows[0]) if rows else 0
    lengths = [sqrt(sum(row[column] ** 2 for row in rows)) for column in range(size)]
    if not all(lengths):
        return None
    scaled = [[value / length for value, length in zip(row, lengths, strict=True)] for row in rows]
    matrix = [
        [*(sum(row[i] * row[j] for row in scaled) for j in range(size)), sum(row[i] for row in scaled)]
        for i in range(size)
    ]
    for pivot in range(size):  # symmetric and positive: no rows need to be exchanged
        if matrix[pivot][pivot] < LEAST_PIVOT:
            return None
        for i in range(size):
            if i != pivot:
                factor = matrix[i][pivot] / matrix[pivot][pivot]
                matrix[i] = [one - factor * other for one, other in zip(matrix[i], matrix[pivot], strict=True)]
    return [matrix[i][size] / matrix[i][i] / lengths[i] for i in range(size)]


LEAST_PIVOT = 1e-9
"""Columns of length 1 that differ by less than this are the same, as MACs and bytes of a kind's only layer are."""


LEAST_LAYERS = 4
"""From so many layers of an operation its three rates can be distinguished."""


class TimeModel:
    """Estimates the time of a changed network from the measured times of the layers of the original one.

    The time of a layer is a fixed cost for each call of an operation, and time per MAC and per byte: a `Law`, fitted to
    the layers of the network with the same operation, in the runtime of the run. So what the fixed cost takes, as all
    of the time of a small map, is only saved by fewer calls. A new layer takes the time of the law, and a layer with
    other work its measured time times the ratio of the law's times. What it takes beyond the law falls with the square
    of that ratio: layers were measured to lose most of it where their maps got half as large.
    What a container takes outside its layers is a fixed cost for each of these.

    Args:
        works: the layers of the original network.
        seconds: the measured time of each layer and container, without the time of measuring it.

    Attributes:
        total: the sum of the measured times, in seconds.
    """

    def __init__(self, works: Sequence[LayerWork], seconds: Mapping[LayerId, float]) -> None:
        self._seconds = dict(seconds)
        self._works = {work.id: work for work in works}
        self.total = sum(seconds.values())
        self._law_of_all = fit_law(works, seconds)
        self._laws = {operation: self._law(operation) for operation in {work.operation for work in works}}

    def by_part(self, works: Sequence[LayerWork]) -> dict[str, float]:
        """Estimate the seconds of each part of a network with these layers."""
        parts = defaultdict[str, float](float)
        for work in works:
            parts[work.part] += self._estimate(work)
        now, before = (Counter(work.part for work in layers) for layers in (works, self._works.values()))
        for layer, seconds in self._seconds.items():
            if layer not in self._works:  # a container
                part = layer[1]
                known = part in before
                ratio = now[part] / before[part] if known else now.total() / before.total()
                parts[part] += seconds * ratio
        return dict(parts)

    def changed(self, works: Sequence[LayerWork]) -> int:
        """Return how many layers of the original network are missing or have different work."""
        now = {work.id: work for work in works}
        return sum(now.get(work.id) != work for work in self._works.values())

    def _law(self, operation: LayerOperation) -> Law:
        """Return the law of an operation; with few layers, that of all layers times what these take more."""
        works = [work for work in self._works.values() if work.operation == operation]
        if len(works) >= LEAST_LAYERS:
            return fit_law(works, self._seconds)
        expected = sum(self._law_of_all.seconds(work) for work in works)
        more = sum(self._seconds[work.id] for work in works) / expected if expected else 1.0
        return Law(*(more * part for part in self._law_of_all))

    def _estimate(self, work: LayerWork) -> float:
        before, law = self._works.get(work.id), self._laws.get(work.operation, self._law_of_all)
        if before is None or before.operation != work.operation:
            return law.seconds(work)
        seconds, expected = self._seconds[work.id], law.seconds(before)
        if work == before or not expected:
            return seconds
        ratio = law.seconds(work) / expected
        return min(seconds, expected) * ratio + max(0.0, seconds - expected) * ratio**2


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
        yield from _detection_changes(settings)
    yield (f"width_mult={settings.width_mult / 2:g}",)
    if isinstance(settings.head, LevelClassifiersHead) and settings.head.pool == "none":
        yield "head.size=null", "head.pool=average"
    if isinstance(settings.head, ClassifierHead) and settings.head.last_channels:
        yield (f"head.last_channels={settings.head.last_channels // 2}",)


def _pyramid_changes(settings: NetworkSettings, pyramid: PyramidSettings) -> Iterator[tuple[str, ...]]:
    levels = plan_levels(settings)
    coarser = levels.tapped[1:] + levels.extra
    if levels.tapped[1:]:
        yield (f"pyramid.levels={_level_text(coarser)}", *_anchors_without_finest(settings))
    if pyramid.smooth == "conv":
        yield ("pyramid.smooth=separable",)
    if pyramid.extra == "conv":
        yield ("pyramid.extra=separable",)
    yield (f"pyramid.channels={pyramid.channels // 2}",)


def _detection_changes(settings: NetworkSettings) -> Iterator[tuple[str, ...]]:
    head = settings.detection
    if head and head.depth:
        yield (f"head.depth={head.depth // 2}",)
        yield (f"head.channels={(head.channels or plan_widths(settings).levels) // 2}",)
    if head and not head.separable:
        yield ("head.separable=true",)


def _anchors_without_finest(settings: NetworkSettings) -> Iterator[str]:
    """Yield the overrides that leave out the anchors of the finest level, where the settings list them by level."""
    lists = dict[str, Sequence[object] | None]()
    match getattr(settings.detection, "anchors", None):
        case AnchorSettings() as anchors:
            lists = {"sizes": anchors.sizes}
        case DefaultBoxSettings() as boxes:
            ratios = boxes.ratios if len(boxes.ratios) > 1 else None  # one list is that of all levels
            lists = {"ratios": ratios, "scales": boxes.scales, "steps": boxes.steps}
    for key, values in lists.items():
        if values:
            yield f"head.anchors.{key}={json.dumps(values[1:], separators=(',', ':'))}"


def _level_text(levels: Sequence[str]) -> str:
    """Return levels as a range, ``p3-p5``, or as a list where the range would have more levels."""
    first, last = (int(name[1:]) for name in (levels[0], levels[-1]))
    return f"{levels[0]}-{levels[-1]}" if last - first == len(levels) - 1 > 0 else ",".join(levels)
