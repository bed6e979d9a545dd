"""The times of a network's layers: by hooks around each call, or from a runtime's own profile of its operators."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import accumulate
from statistics import mean, median
from typing import Any

from torch import nn

from mnfpn_cli.devices.allocator import page_faults
from mnfpn_cli.devices.timers import HostMarks, Marks, Timer
from mnfpn_cli.errors import MnfpnError
from mnfpn_cli.plan.roofline import LayerId, LayerWork, network_part

REST = "rest"
"""The part of the time outside all layers: what the network itself computes, next to nothing, and the hooks' time."""

OUTSIDE: tuple[LayerId, ...] = (("", REST),)
"""The layers of what runs outside all layers."""

FAULT_PASSES = 3
"""The passes in which page faults are counted."""

_Stretch = tuple[tuple[LayerId, ...], float]
"""The layers that the time between two marks belongs to, and its seconds."""


@dataclass(frozen=True, slots=True)
class LayerCall:
    """Where in the network an operator comes from: the path of a module, and which call of it, from 0 on."""

    path: str
    call: int = 0


@dataclass(frozen=True, slots=True)
class OperatorTime:
    """An operator that a runtime executed in a pass.

    Attributes:
        name: as the runtime has it.
        kind: the type of operator, as the runtime has it, as ``Conv``.
        start: when it began, in seconds from the beginning of the pass.
        seconds: how long it took.
        sources: the modules whose work it does; of one that has no work of its own, such as a change of the layout,
            those that it serves; empty where they are not known.
    """

    name: str
    kind: str
    start: float
    seconds: float
    sources: tuple[LayerCall, ...]


@dataclass(frozen=True, slots=True)
class LayerOperator:
    """An operator of a pass as `OperatorTime`, with the layers that it computes: first the one with most work."""

    name: str
    kind: str
    start: float
    seconds: float
    layers: tuple[LayerId, ...]


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
    def by_id(self) -> dict[LayerId, float]:
        """The rows' times by path and part."""
        times = defaultdict[LayerId, float](float)
        for row in self.rows:
            times[row.id] += row.seconds
        return dict(times)

    @property
    def without_marks(self) -> dict[LayerId, float]:
        """The rows' times less what taking them took, so that they add up to no more than a pass without that.

        Each time that is taken costs the same, and nothing takes less than no time: containers are often little else.
        """
        return _less_each(self.rows, self.seconds - self.undisturbed)


Calls = Mapping[str, Sequence[tuple[LayerId, ...]]]
"""For the path of each module that is timed: the layers that its calls compute, one call after the other."""


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

    def joined(self, sources: Sequence[LayerCall]) -> tuple[LayerId, ...]:
        """Return the layers of an operator: first the one with most work, then the others in order."""
        layers = dict.fromkeys(map(self.of, sources))
        known = [layer for layer in layers if layer[1] != REST] or list(OUTSIDE)
        first = max(known, key=lambda layer: self._work.get(layer, (0, 0)))
        return first, *(layer for layer in known if layer != first)


@dataclass(frozen=True)
class Profiler:
    """A runtime's own profile of its operators.

    Attributes:
        undisturbed: runs a pass without profiling.
        profiled: runs a pass while its operators are timed.
        read: returns the operators of all profiled passes so far, in the order of the passes.
        before: is called before each profiled pass, outside of its time.
        after: is called after it, likewise.
        averaged: whether each of the passes that ``read`` returns has the mean of all that were counted, as a runtime
            knows no more: their operators are then scaled to the times of the passes.
    """

    undisturbed: Callable[[], object]
    profiled: Callable[[], object]
    read: Callable[[], Sequence[Sequence[OperatorTime]]]
    before: Callable[[], object] = lambda: None
    after: Callable[[], object] = lambda: None
    averaged: bool = False


def time_operators(
    profiler: Profiler,
    works: Sequence[LayerWork],
    timer: Timer,
    passes: int,
    progress: Callable[[float], None] = lambda _: None,
) -> LayerTimes:
    """Return the median time of each layer by a runtime's own profile over ``passes`` passes, after one not counted.

    An operator that computes several layers is a row of its own. The time of a pass outside its operators is the rest.

    Args:
        profiler: the passes, and how to read their profile.
        works: the layers.
        timer: times each pass.
        passes: how many profiled passes are counted.
        progress: is called after each pass with the share that is done, from 0 to 1.

    Raises:
        MnfpnError: where the profile has another number of passes than ran.
    """
    marked, undisturbed = list[float](), list[float]()
    for done in range(passes + 1):
        undisturbed.append(timer(profiler.undisturbed).seconds)
        profiler.before()
        marked.append(timer(profiler.profiled).seconds)
        profiler.after()
        progress((done + 1) / (passes + 1))
    recorded = profiler.read()
    if len(recorded) != len(marked):
        raise MnfpnError(f"its profile has {len(recorded)} passes, and {len(marked)} ran")
    counted, seconds = recorded[1:], marked[1:]
    if profiler.averaged:
        scales = (one / mean(seconds) for one in seconds)
        counted = [[_scaled(one, by) for one in operators] for operators, by in zip(counted, scales, strict=True)]
    return _of_operators(counted, Layers(works), seconds, undisturbed[1:])


def _scaled(one: OperatorTime, by: float) -> OperatorTime:
    return replace(one, start=by * one.start, seconds=by * one.seconds)


def _of_operators(
    recorded: Sequence[Sequence[OperatorTime]], layers: Layers, marked: Sequence[float], undisturbed: Sequence[float]
) -> LayerTimes:
    passes = [[_placed(one, layers) for one in operators] for operators in recorded]
    rows = defaultdict[tuple[LayerId, ...], list[float]](list)
    for operators, seconds in zip(passes, marked, strict=True):
        total = defaultdict[tuple[LayerId, ...], float](float)
        for operator in operators:
            total[operator.layers] += operator.seconds
        outside = seconds - sum(total.values())
        total[OUTSIDE] += max(0.0, outside)
        for row, time in total.items():
            rows[row].append(time)
    counts = Counter(operator.layers for operator in passes[-1])
    times = _of_median_pass({ids: median(time) for ids, time in rows.items()}, counts, median(marked))
    return LayerTimes(times, median(marked), median(undisturbed), tuple(passes[_typical(marked)]))


def _placed(one: OperatorTime, layers: Layers) -> LayerOperator:
    return LayerOperator(one.name, one.kind, one.start, one.seconds, layers.joined(one.sources))


def time_modules(
    run: Callable[[], object],
    network: nn.Module,
    works: Sequence[LayerWork],
    marks: Marks,
    passes: int,
    progress: Callable[[float], None] = lambda _: None,
    calls: Calls | None = None,
    faults: bool = False,
) -> LayerTimes:
    """Return the median time of each layer of a network over ``passes`` passes, after one that is not counted.

    A module's time is that of its call, less that of the layers below it. The hooks are removed before this returns or
    raises.

    Args:
        run: one forward pass of the network in torch's eager mode, in any dtype and layout.
        network: its modules get the hooks.
        works: the layers to time.
        marks: those of the network's device.
        passes: how many passes with marks are counted.
        progress: is called after each pass with the share that is done, from 0 to 1.
        calls: what its modules compute; None where each is a layer of its own.
        faults: whether to count the page faults of each layer too, in passes of their own.
    """
    rows = defaultdict[tuple[LayerId, ...], list[float]](list)
    calls = Layers(works).calls() if calls is None else calls
    undisturbed, recorded = list[float](), list[list[_Stretch]]()
    for done in range(passes + 1):
        marks.take()  # wait for queued work, and forget the marks of a pass that failed
        alone = sum(_pass(run, marks))
        with _Recorder(network, calls, marks).hooked() as owners:
            marks.get_ahead()
            stretches = _pass(run, marks)
        progress((done + 1) / (passes + 1))
        if not done:
            continue
        undisturbed.append(alone)
        recorded.append(list(zip([OUTSIDE, *owners], stretches, strict=True)))
        for row, seconds in _by_id(recorded[-1]).items():
            rows[row].append(seconds)
    marked = [sum(seconds for _, seconds in one) for one in recorded]
    counts = Counter(row for row, _ in recorded[-1])
    times = _of_median_pass({ids: median(seconds) for ids, seconds in rows.items()}, counts, median(marked))
    if faults and page_faults() is not None:
        counted = _count_faults(run, network, calls)
        times = tuple(replace(row, faults=counted.get((row.id, *row.joined), 0.0)) for row in times)
    operators = tuple(_as_operators(recorded[_typical(marked)]))
    return LayerTimes(times, median(marked), median(undisturbed), operators)


def _count_faults(run: Callable[[], object], network: nn.Module, calls: Calls) -> dict[tuple[LayerId, ...], float]:
    """Return the mean page faults of each row in a pass: between two marks the number of faults has grown."""
    marks, total = HostMarks(clock=lambda: float(page_faults() or 0)), Counter[tuple[LayerId, ...]]()
    for _ in range(FAULT_PASSES):
        with _Recorder(network, calls, marks).hooked() as owners:
            stretches = _pass(run, marks)
        for row, count in zip([OUTSIDE, *owners], stretches, strict=True):
            total[row] += round(count)
    return {row: count / FAULT_PASSES for row, count in total.items()}


def _of_median_pass(
    medians: Mapping[tuple[LayerId, ...], float], stretches: Mapping[tuple[LayerId, ...], int], marked: float
) -> tuple[LayerTime, ...]:
    """Return rows that add up to the median pass: on a busy machine the medians of rows add up to less."""
    total = sum(medians.values())
    scale = marked / total if total else 1.0
    return tuple(
        LayerTime(*ids[0], scale * seconds, stretches.get(ids, 1), joined=ids[1:]) for ids, seconds in medians.items()
    )


def _typical(marked: Sequence[float]) -> int:
    """Return the index of the median."""
    return sorted(range(len(marked)), key=lambda index: marked[index])[len(marked) // 2]


def _as_operators(stretches: Sequence[_Stretch]) -> Iterator[LayerOperator]:
    """Yield the stretches of a pass that belong to a layer or a container."""
    starts = accumulate((seconds for _, seconds in stretches), initial=0.0)
    for start, (layers, seconds) in zip(starts, stretches, strict=False):
        if layers != OUTSIDE:
            yield LayerOperator(layers[0][0], "module", start, seconds, layers)


def _less_each(rows: Sequence[LayerTime], surplus: float) -> dict[LayerId, float]:
    """Return the rows' times less a surplus that is shared by stretches; rows with less than their share become 0."""
    left, surplus = dict.fromkeys((row.id for row in rows), 0.0), max(0.0, surplus)
    shares = sum(row.stretches for row in rows)
    for row in sorted(rows, key=lambda row: row.seconds / row.stretches):  # what one lacks, those above it share
        taken = min(row.seconds, surplus * row.stretches / shares)
        left[row.id] += row.seconds - taken
        surplus, shares = surplus - taken, shares - row.stretches
    return left


def _pass(run: Callable[[], object], marks: Marks) -> list[float]:
    marks.mark()
    run()
    marks.mark()
    return marks.take()


def _by_id(stretches: Sequence[_Stretch]) -> dict[tuple[LayerId, ...], float]:
    total = defaultdict[tuple[LayerId, ...], float](float)
    for owner, seconds in stretches:
        total[owner] += seconds
    return total


class _Recorder:
    """Marks every call of some modules, and records which layers own the time after each mark."""

    def __init__(self, network: nn.Module, calls: Calls, marks: Marks) -> None:
        self._network, self._layers, self._marks = network, calls, marks
        self._calls = Counter[str]()
        self._open: list[tuple[LayerId, ...]] = [OUTSIDE]
        self._owners: list[tuple[LayerId, ...]] = []

    @contextmanager
    def hooked(self) -> Iterator[list[tuple[LayerId, ...]]]:
        """Register the hooks for this block, and yield the list that they record into."""
        with ExitStack() as hooks:
            for path in self._layers:
                module = self._network.get_submodule(path)
                before, after = self._entering(path), self._leaving
                hooks.callback(module.register_forward_pre_hook(before).remove)
                hooks.callback(module.register_forward_hook(after).remove)
            yield self._owners

    def _entering(self, path: str) -> Callable[[nn.Module, Any], None]:
        layers = self._layers[path]

        def enter(_module: nn.Module, _args: Any) -> None:
            self._marks.mark()
            self._open.append(layers[self._calls[path] % len(layers)])
            self._calls[path] += 1
            self._owners.append(self._open[-1])

        return enter

    def _leaving(self, _module: nn.Module, _args: Any, _output: Any) -> None:
        self._marks.mark()
        self._open.pop()
        self._owners.append(self._open[-1])
