"""Choose the few layers to leave in float32: those that gain the most signal to noise for few MACs."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

MOST_MACS = 0.05
"""The largest share of the MACs that advice leaves in float32."""

LEAST_GAIN_DB = 1.0
"""The least that each further layer in float32 must gain, in dB."""

MOST_TRIED = 4
"""The moves that a step measures: those that should gain the most, by what they gained when measured first."""

MOST_STEPS = 8
"""The most steps of the advice."""

LEAST_NOISE = 1e-20
"""The noise that counts as none: float32 itself has more."""

FloatMove = frozenset[str]
"""The paths of layers that are left in float32 together, as a layer and those that read its map."""


@dataclass(frozen=True)
class FloatStep:
    """A step of the advice.

    Attributes:
        paths: the layers that it adds to those in float32.
        gain_db: the signal to noise that this gains.
        noise: the noise-to-signal ratio then.
    """

    paths: tuple[str, ...]
    gain_db: float
    noise: float


def choose_float(
    noise_with: Callable[[FloatMove], float], moves: Sequence[FloatMove], asked: FloatMove, macs: Mapping[str, int]
) -> list[FloatStep]:
    """Choose layers step by step: each time the move with the largest gain, less ``LEAST_GAIN_DB`` for each layer.

    Args:
        noise_with: measures the noise-to-signal ratio with some layers in float32.
        moves: the moves to choose from.
        asked: the layers that are in float32 already.
        macs: the MACs of each layer, in the order in which layers run.
    """
    order, most = list(macs), MOST_MACS * sum(macs.values())
    kept, current, steps = asked, noise_with(asked), list[FloatStep]()
    few = [move for move in moves if _macs(move - asked, macs) <= most]
    removed = {move: current - noise_with(asked | move) for move in few}
    while len(steps) < MOST_STEPS:
        fitting = [move for move in few if move - kept and _macs((kept | move) - asked, macs) <= most]
        expected = {move: _worth(current, current - removed[move], move - kept) for move in fitting}
        tried = sorted(fitting, key=lambda move: -expected[move])[:MOST_TRIED]
        noises = {move: noise_with(kept | move) for move in tried}
        worths = {move: _worth(current, noise, move - kept) for move, noise in noises.items()}
        best = max(tried, key=lambda move: worths[move], default=None)
        if best is None or worths[best] < 0:
            break
        paths = tuple(sorted(best - kept, key=order.index))
        steps.append(FloatStep(paths, gain_db(current, noises[best]), noises[best]))
        kept, current = kept | best, noises[best]
    return steps


def gain_db(before: float, after: float) -> float:
    """Return what the signal to noise gains when the noise falls, in dB."""
    return 10 * math.log10(max(before, LEAST_NOISE) / max(after, LEAST_NOISE))


def _worth(before: float, after: float, layers: FloatMove) -> float:
    return gain_db(before, after) - LEAST_GAIN_DB * len(layers)


def _macs(layers: FloatMove, macs: Mapping[str, int]) -> int:
    return sum(macs[path] for path in layers)
