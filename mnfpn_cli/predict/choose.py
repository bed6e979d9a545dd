"""Which runs to measure next, so that they teach a model most, and when it has learned enough."""

from collections.abc import Sequence

import numpy as np

from mnfpn_cli.predict.facts import GROUPS, run_facts
from mnfpn_cli.predict.laws import Array, floor_terms
from mnfpn_cli.predict.model import LatencyModel, Sample
from mnfpn_cli.space.planned import Planned

MOST_LOOKED_AT = 2_000
"""Of more runs, so many are looked at, evenly spread: each takes about two milliseconds."""
GOOD_MEDIAN, GOOD_ERROR, GOOD_SHARE = 0.03, 0.10, 0.95
"""A model is good enough where its median error is below the first, and that share of errors is within the second."""


def next_runs(runs: Sequence[Planned], samples: Sequence[Sample], count: int) -> list[Planned]:
    """Return the runs to measure next: each is the one least like those before it and the samples.

    Runs are alike where the logarithms of their terms are. The choice depends on nothing but its arguments.

    Args:
        runs: those to choose from.
        samples: what was measured already.
        count: how many to choose at most.
    """
    measured = {sample.planned.run for sample in samples}
    left = [planned for planned in runs if planned.run not in measured]
    left = left[:: -(-len(left) // MOST_LOOKED_AT)] if left else []
    if not left or count <= 0:
        return []
    points = np.array([_point(planned) for planned in [*left, *(sample.planned for sample in samples)]])
    points = (points - points.mean(axis=0)) / np.maximum(points.std(axis=0), 1e-9)
    points, known = points[: len(left)], points[len(left) :]
    # The first of all is the one in the middle: what is least like nothing at all is not defined.
    first = np.argmin((points**2).sum(axis=1)) if not samples else _farthest(points, known)
    chosen = [int(first)]
    while len(chosen) < min(count, len(left)):
        chosen.append(_farthest(points, np.concatenate([known, points[chosen]])))
    return [left[index] for index in chosen]


def is_enough(model: LatencyModel) -> bool:
    """Whether the errors of cross-validation are small enough to stop measuring."""
    errors = np.abs(model.errors)
    return bool(np.median(errors) < GOOD_MEDIAN and np.mean(errors <= GOOD_ERROR) >= GOOD_SHARE)


def _point(planned: Planned) -> Array:
    layers = run_facts(planned.run)
    terms, groups = floor_terms(layers), np.array([layer.group for layer in layers])
    by_group = [np.bincount(groups, terms[:, column], len(GROUPS)) for column in range(3)]
    totals = terms.sum(axis=0)
    channels = np.mean([np.log2(layer.outputs) for layer in layers])
    return np.concatenate(
        [np.log2(1e-6 + np.concatenate([*by_group, totals[:4]])), [channels, np.log2(1e-4 + totals[4])]]
    )


def _farthest(points: Array, known: Array) -> int:
    squares = ((points[:, None, :] - known[None]) ** 2).sum(axis=2)
    return int(np.argmax(squares.min(axis=1)))
