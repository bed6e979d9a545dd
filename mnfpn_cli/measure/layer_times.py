"""The times of a network's layers in a pass, and which layer an operator of a runtime belongs to."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from mnfpn_cli.plan.roofline import LayerId, LayerWork, network_part

REST = "rest"
"""The part of the time outside all layers: what the network itself computes, next to nothing, and the marks' time."""

TimedLayers = tuple[LayerId, ...]
"""The layers whose time is taken together: first the one with most work."""

OUTSIDE: TimedLayers = (("", REST),)
"""The layers of what runs outside all layers."""

Calls = Mapping[str, Sequence[TimedLayers]]
"""For the path of each module that is timed: the layers that its calls compute, one call after the other."""


@dataclass(frozen=True, slots=True)
class LayerCall:
    """Where in the network an operator comes from: the path of a module, and which call of it, from 0 on."""

    path: str
    call: int = 0


@dataclass(frozen=True, slots=True)
class LayerOperator:
    """An operator of a pass as `OperatorTime`, with the layers that it computes: first the one with most work."""

    name: str
    kind: str
    start: float
    seconds: float
    layers: TimedLayers


@dataclass(frozen=True, slots=True)
class LayerTime:
    """The median time of a layer in seconds, scaled so that all add up to the median pass.

    ``path`` and ``part`` are those of `LayerWork`.

    Attributes:
        stretches: how often its time was taken in a pass: once for each call of a layer, or for each operator.
        joined: the other layers that the same operators compute.
        faults: page faults in a pass; None where they were not counted.
    """

    path: str
    part: str
    seconds: float
    stretches: int = 1
    joined: tuple[LayerId, ...] = ()
    faults: float | None = None

    @property
    def id(self) -> LayerId:
        """The path and the part."""
        return self.path, self.part


@dataclass(frozen=True, slots=True)
class LayerTimes:
    """The times of the layers of a pass in the order in which they run, and of a pass with and without marks.

    Attributes:
        rows: the layers, and what their containers compute outside them; no two have the same id and joined layers.
        marked: the median time of the passes with marks, in seconds.
        undisturbed: the median time of as many passes without marks, each directly before one with marks.
        operators: those of the pass with marks whose time was the median, in order.
    """

    rows: tuple[LayerTime, ...]
    marked: float
    undisturbed: float
    operators: tuple[LayerOperator, ...] = ()

    @property
    def seconds(self) -> float:
        """The sum of the rows' times."""
        return sum(row.seconds for row in self.rows)

    @property
    def without_marks(self) -> dict[LayerId, float]:
        """The rows' times less what taking them took, so that they add up to no more than a pass without that.

        Each time that is taken costs the same, and nothing takes less than no time: containers are often little else.
        """
        return _less_each(self.rows, self.seconds - self.undisturbed)


def layer_times(
    passes: Sequence[Mapping[TimedLayers, float]],
    stretches: Mapping[TimedLayers, int],
    marked: Sequence[float],
    undisturbed: Sequence[float],
    operators: Sequence[Sequence[LayerOperator]],
) -> LayerTimes:
    """Return the median time of each layer.

    They are scaled to add up to the median pass: on a busy machine the medians of layers add up to less.

    Args:
        passes: for each pass with marks, the seconds of all layers and of what runs outside them.
        stretches: how often their time was taken in a pass.
        marked: the seconds of each pass with marks.
        undisturbed: the seconds of each pass without marks.
        operators: those of each pass with marks.
    """
    rows = defaultdict[TimedLayers, list[float]](list)
    for one in passes:
        for layers, seconds in one.items():
            rows[layers].append(seconds)
    medians = {layers: median(seconds) for layers, seconds in rows.items()}
    total = sum(medians.values())
    scale = median(marked) / total if total else 1.0
    times = (
        LayerTime(*layers[0], scale * seconds, stretches.get(layers, 1), joined=layers[1:])
        for layers, seconds in medians.items()
    )
    typical = sorted(range(len(marked)), key=lambda index: marked[index])[len(marked) // 2]
    return LayerTimes(tuple(times), median(marked), median(undisturbed), tuple(operators[typical]))


def _less_each(rows: Sequence[LayerTime], surplus: float) -> dict[LayerId, float]:
    """Return the rows' times less a surplus that is shared by stretches; rows with less than their share become 0."""
    left, surplus = dict.fromkeys((row.id for row in rows), 0.0), max(0.0, surplus)
    shares = sum(row.stretches for row in rows)
    for row in sorted(rows, key=lambda row: row.seconds / row.stretches):  # what one lacks, those above it share
        taken = min(row.seconds, surplus * row.stretches / shares)
        left[row.id] += row.seconds - taken
        surplus, shares = surplus - taken, shares - row.stretches
    return left


class Layers:
    """The layers and containers of a network by the paths of their modules.

    Attributes:
        parts: the parts of each path, in the order of the calls of its module.
    """

    def __init__(self, works: Sequence[LayerWork]) -> None:
        parts = defaultdict[str, list[str]](list)
        for work in works:
            parts[work.path].append(work.part)
        for path in list(parts):
            container = ".".join(path.split(".")[: 2 if path.startswith("stages.") else 1])
            parts.setdefault(container, [network_part(container)])
        self.parts: Mapping[str, Sequence[str]] = parts
        self._work = {work.id: (work.macs, work.bytes) for work in works}

    def calls(self) -> Calls:
        """Return the layer of each call of each module: a shared smoothing is called once for each level."""
        return {path: [((path, part),) for part in parts] for path, parts in self.parts.items()}

    def of(self, source: LayerCall) -> LayerId:
        """Return the layer that a module belongs to, itself or the nearest above it; what is in none is the rest."""
        path = source.path
        while path not in self.parts:
            if not path:
                return OUTSIDE[0]
            path = path.rpartition(".")[0]
        parts = self.parts[path]
        return path, parts[source.call % len(parts)]

    def joined(self, sources: Sequence[LayerCall]) -> TimedLayers:
        """Return the layers of an operator: first the one with most work, then the others in order."""
        layers = dict.fromkeys(map(self.of, sources))
        known = [layer for layer in layers if layer[1] != REST] or list(OUTSIDE)
        first = max(known, key=lambda layer: self._work.get(layer, (0, 0)))
        return first, *(layer for layer in known if layer != first)
