"""The times of layers by a runtime's own profile of its operators."""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import mean

from mnfpn_cli.devices.timers import Timer
from mnfpn_cli.errors import MnfpnError
from mnfpn_cli.measure.layer_times import (
    OUTSIDE,
    LayerCall,
    LayerOperator,
    Layers,
    LayerTimes,
    TimedLayers,
    layer_times,
)
from mnfpn_cli.plan.roofline import LayerWork


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
    layers = Layers(works)
    placed = [[_placed(one, layers) for one in operators] for operators in counted]
    return layer_times(
        [_by_layers(operators, one) for operators, one in zip(placed, seconds, strict=True)],
        Counter(operator.layers for operator in placed[-1]),
        seconds,
        undisturbed[1:],
        placed,
    )


def _scaled(one: OperatorTime, by: float) -> OperatorTime:
    return replace(one, start=by * one.start, seconds=by * one.seconds)


def _placed(one: OperatorTime, layers: Layers) -> LayerOperator:
    return LayerOperator(one.name, one.kind, one.start, one.seconds, layers.joined(one.sources))


def _by_layers(operators: Sequence[LayerOperator], seconds: float) -> dict[TimedLayers, float]:
    """Return the seconds of all layers in a pass, and what the pass took beyond its operators."""
    total = defaultdict[TimedLayers, float](float)
    for operator in operators:
        total[operator.layers] += operator.seconds
    total[OUTSIDE] += max(0.0, seconds - sum(total.values()))
    return total
