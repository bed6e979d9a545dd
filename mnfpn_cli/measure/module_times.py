"""The times of layers by hooks around each call of their modules, in torch's eager mode."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from itertools import accumulate
from typing import Any

from torch import nn

from mnfpn_cli.devices.allocator import page_faults
from mnfpn_cli.devices.timers import HostMarks, Marks
from mnfpn_cli.measure.layer_times import OUTSIDE, Calls, LayerOperator, Layers, LayerTimes, TimedLayers, layer_times
from mnfpn_cli.plan.roofline import LayerWork

FAULT_PASSES = 3
"""The passes in which page faults are counted."""

_Stretch = tuple[TimedLayers, float]
"""The layers that the time between two marks belongs to, and its seconds."""


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
    calls = Layers(works).calls() if calls is None else calls
    undisturbed, recorded = list[float](), list[list[_Stretch]]()
    for done in range(passes + 1):
        marks.take()  # wait for queued work, and forget the marks of a pass that failed
        alone = sum(_pass(run, marks))
        with _Recorder(network, calls, marks).hooked() as owners:
            marks.get_ahead()
            stretches = _pass(run, marks)
        undisturbed.append(alone)
        recorded.append(list(zip([OUTSIDE, *owners], stretches, strict=True)))
        progress((done + 1) / (passes + 1))
    counted = recorded[1:]
    by_layers = [_by_layers(one) for one in counted]
    times = layer_times(
        by_layers,
        Counter(layers for layers, _ in counted[-1]),
        [sum(one.values()) for one in by_layers],
        undisturbed[1:],
        [list(_as_operators(one)) for one in counted],
    )
    if not faults or page_faults() is None:
        return times
    counts = _count_faults(run, network, calls)
    rows = (replace(row, faults=counts.get((row.id, *row.joined), 0.0)) for row in times.rows)
    return replace(times, rows=tuple(rows))


def _count_faults(run: Callable[[], object], network: nn.Module, calls: Calls) -> dict[TimedLayers, float]:
    """Return the mean page faults of all layers in a pass: between two marks the number of faults has grown."""
    marks, total = HostMarks(clock=lambda: float(page_faults() or 0)), Counter[TimedLayers]()
    for _ in range(FAULT_PASSES):
        with _Recorder(network, calls, marks).hooked() as owners:
            stretches = _pass(run, marks)
        for layers, count in zip([OUTSIDE, *owners], stretches, strict=True):
            total[layers] += round(count)
    return {layers: count / FAULT_PASSES for layers, count in total.items()}


def _pass(run: Callable[[], object], marks: Marks) -> list[float]:
    marks.mark()
    run()
    marks.mark()
    return marks.take()


def _by_layers(stretches: Sequence[_Stretch]) -> dict[TimedLayers, float]:
    total = defaultdict[TimedLayers, float](float)
    for layers, seconds in stretches:
        total[layers] += seconds
    return total


def _as_operators(stretches: Sequence[_Stretch]) -> Iterator[LayerOperator]:
    """Yield the stretches of a pass that belong to a layer or a container."""
    starts = accumulate((seconds for _, seconds in stretches), initial=0.0)
    for start, (layers, seconds) in zip(starts, stretches, strict=False):
        if layers != OUTSIDE:
            yield LayerOperator(layers[0][0], "module", start, seconds, layers)


class _Recorder:
    """Marks every call of some modules, and records which layers own the time after each mark."""

    def __init__(self, network: nn.Module, calls: Calls, marks: Marks) -> None:
        self._network, self._layers, self._marks = network, calls, marks
        self._calls = Counter[str]()
        self._open: list[TimedLayers] = [OUTSIDE]
        self._owners: list[TimedLayers] = []

    @contextmanager
    def hooked(self) -> Iterator[list[TimedLayers]]:
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
