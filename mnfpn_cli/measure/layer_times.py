"""Time each layer of a network: hooks mark the time before and after each layer's call."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any

from torch import nn

from mnfpn_cli.devices.timers import Marks
from mnfpn_cli.plan.roofline import LayerId, LayerWork, network_part

REST = "rest"
"""The part of the time outside all layers: what the network itself computes, next to nothing, and the hooks' time."""


@dataclass(frozen=True, slots=True)
class LayerTime:
    """The median time of a layer in seconds; ``path`` and ``part`` are those of `LayerWork`.

    Attributes:
        stretches: between how many pairs of neighbouring marks its time was: one for each call of a layer.
    """

    path: str
    part: str
    seconds: float
    stretches: int = 1

    @property
    def id(self) -> LayerId:
        """The path and the part."""
        return self.path, self.part


@dataclass(frozen=True, slots=True)
class LayerTimes:
    """The times of the layers of a pass in the order in which they run, and of a pass with and without marks.

    Attributes:
        rows: the layers, and what their containers compute outside them.
        marked: the median time of the passes with marks, in seconds.
        undisturbed: the median time of as many passes without marks, each directly before one with marks.
    """

    rows: tuple[LayerTime, ...]
    marked: float
    undisturbed: float

    @property
    def seconds(self) -> float:
        """The sum of the rows' times."""
        return sum(row.seconds for row in self.rows)

    @property
    def by_id(self) -> dict[LayerId, float]:
        """The rows' times by path and part."""
        return {time.id: time.seconds for time in self.rows}

    @property
    def without_marks(self) -> dict[LayerId, float]:
        """The rows' times less what the marks took, so that they add up to a pass without marks.

        Each mark takes the same, and nothing takes less than no time: containers are often little but marks.
        """
        return _less_each(self.rows, self.seconds - self.undisturbed)


def time_layers(
    run: Callable[[], object],
    network: nn.Module,
    works: Sequence[LayerWork],
    marks: Marks,
    passes: int,
    progress: Callable[[float], None] = lambda _: None,
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
    """
    rows = defaultdict[LayerId, list[float]](list)
    marked, undisturbed = list[float](), list[float]()
    for done in range(passes + 1):
        marks.take()  # wait for queued work, and forget the marks of a pass that failed
        alone = sum(_pass(run, marks))
        with _Recorder(network, works, marks).hooked() as owners:
            marks.get_ahead()
            stretches = _pass(run, marks)
        progress((done + 1) / (passes + 1))
        if not done:
            continue
        undisturbed.append(alone)
        marked.append(sum(stretches))
        for row, seconds in _by_id([("", REST), *owners], stretches).items():
            rows[row].append(seconds)
    counts = Counter([("", REST), *owners])
    times = tuple(LayerTime(*row, median(seconds), counts[row]) for row, seconds in rows.items())
    return LayerTimes(times, median(marked), median(undisturbed))


def _less_each(rows: Sequence[LayerTime], surplus: float) -> dict[LayerId, float]:
    """Return the rows' times less a surplus that is shared by stretches; rows with less than their share become 0."""
    if surplus <= 0:
        return {row.id: row.seconds for row in rows}
    left = dict[LayerId, float]()
    shares = sum(row.stretches for row in rows)
    for row in sorted(rows, key=lambda row: row.seconds / row.stretches):  # what one lacks, those above it share
        taken = min(row.seconds, surplus * row.stretches / shares)
        left[row.id] = row.seconds - taken
        surplus, shares = surplus - taken, shares - row.stretches
    return {row.id: left[row.id] for row in rows}


def _pass(run: Callable[[], object], marks: Marks) -> list[float]:
    marks.mark()
    run()
    marks.mark()
    return marks.take()


def _by_id(owners: Sequence[LayerId], stretches: Sequence[float]) -> dict[LayerId, float]:
    total = defaultdict[LayerId, float](float)
    for owner, seconds in zip(owners, stretches, strict=True):
        total[owner] += seconds
    return total


class _Recorder:
    """Marks every call of the layers and their containers, and records which row owns the time after each mark."""

    def __init__(self, network: nn.Module, works: Sequence[LayerWork], marks: Marks) -> None:
        self._network, self._marks = network, marks
        self._parts = defaultdict[str, list[str]](list)
        for work in works:
            self._parts[work.path].append(work.part)
        for path in list(self._parts):
            container = ".".join(path.split(".")[: 2 if path.startswith("stages.") else 1])
            self._parts.setdefault(container, [network_part(container)])
        self._calls = Counter[str]()
        self._open: list[LayerId] = [("", REST)]
        self._owners: list[LayerId] = []

    @contextmanager
    def hooked(self) -> Iterator[list[LayerId]]:
        """Register the hooks for this block, and yield the list that they record into."""
        with ExitStack() as hooks:
            for path in self._parts:
                module = self._network.get_submodule(path)
                before, after = self._entering(path), self._leaving
                hooks.callback(module.register_forward_pre_hook(before).remove)
                hooks.callback(module.register_forward_hook(after).remove)
            yield self._owners

    def _entering(self, path: str) -> Callable[[nn.Module, Any], None]:
        parts = self._parts[path]

        def enter(_module: nn.Module, _args: Any) -> None:
            self._marks.mark()
            part = parts[self._calls[path] % len(parts)]  # a shared smoothing is called once for each level
            self._calls[path] += 1
            self._open.append((path, part))
            self._owners.append(self._open[-1])

        return enter

    def _leaving(self, _module: nn.Module, _args: Any, _output: Any) -> None:
        self._marks.mark()
        self._open.pop()
        self._owners.append(self._open[-1])
