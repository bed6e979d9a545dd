"""Laws of time of single layers, learned from layers that were timed.

The law of a kind of layer is a floor with an overhead, fitted with coefficients of 0 or more, times a correction that
varies smoothly with channels and cells: a Gaussian process on the logarithm of time (Rasmussen and Williams 2006,
"Gaussian Processes for Machine Learning", chapter 2).
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from mnfpn_cli.plan.roofline import LayerId
from mnfpn_cli.predict.facts import LayerFacts

Array = NDArray[np.float64]

Timed = tuple[LayerFacts, float]
"""A layer and its time in seconds."""

SCALES = np.array([2.0, 2.0, 2.0, 1.5, 2.0])
"""By how many doublings two layers differ before their corrections have little to do with each other."""
SPREAD, NOISE, CLOCK_S = 0.3, 0.06, 8e-6
"""Standard deviations: of corrections, and of measured times, relative and in seconds."""
LEAST = 4
"""The fewest layers that a law is learned from."""
MOST = 300
"""The most layers that a law is learned from: its cost grows with their cube."""


def floor_terms(layers: Sequence[LayerFacts]) -> Array:
    """Return the terms of each layer's time, each about a microsecond or a part of it: calls, MACs, elements, bytes."""
    columns = [
        (1e-5 * one.calls, 1e-11 * one.macs, 4e-10 * one.moved, 4e-10 * one.weights, 2.5e-10 * one.fresh)
        for one in layers
    ]
    return np.array(columns, dtype=np.float64).reshape(len(layers), 5)


class LayerLaw:
    """The law of one kind of layer, or of several that are alike."""

    def __init__(self, layers: Sequence[LayerFacts], seconds: Sequence[float]) -> None:
        from scipy.linalg import inv
        from scipy.optimize import nnls

        times = np.array(seconds)
        weights = 1 / (times + CLOCK_S)
        self._coefficients: Array = nnls(floor_terms(layers) * weights[:, None], times * weights)[0]
        self._points = _points(layers)
        misses = np.log(times / self._floors(layers))
        variances = NOISE**2 + (CLOCK_S / times) ** 2
        kernel = _kernel(self._points, self._points)
        for _ in range(2):  # layers that do not fit those like them count less the second time
            self._mean = float(np.average(misses, weights=1 / variances))
            inverse = inv(kernel + np.diag(variances))
            self._weights: Array = inverse @ (misses - self._mean)
            left_out = np.abs(self._weights / np.diag(inverse))
            variances = variances * np.maximum(1.0, left_out / (3 * NOISE)) ** 2

    def seconds(self, layers: Sequence[LayerFacts]) -> Array:
        """Return the expected time of each layer in seconds."""
        corrections = self._mean + _kernel(_points(layers), self._points) @ self._weights
        times: Array = self._floors(layers) * np.exp(corrections)
        return times

    def _floors(self, layers: Sequence[LayerFacts]) -> Array:
        floors: Array = np.maximum(floor_terms(layers) @ self._coefficients, 1e-7)
        return floors


def _points(layers: Sequence[LayerFacts]) -> Array:
    rows = [(one.inputs, one.outputs, one.cells, 1 + one.fresh / 2**20, one.calls) for one in layers]
    points: Array = np.log2(np.array(rows, dtype=np.float64).reshape(len(layers), 5)) / SCALES
    return points


def _kernel(ones: Array, others: Array) -> Array:
    squares = (ones**2).sum(1)[:, None] + (others**2).sum(1)[None] - 2 * ones @ others.T
    kernel: Array = SPREAD**2 * np.exp(-0.5 * np.maximum(squares, 0.0))
    return kernel


class LayerLaws:
    """The laws of kinds of layers; a kind that was hardly timed has that of its operation, or of all layers."""

    def __init__(self, timed: Sequence[Timed]) -> None:
        self._timed, self._laws = timed, dict[str, LayerLaw]()
        self._counts = Counter(layer.kind for layer, _ in timed)
        self._groups = {layer.group for layer, _ in timed}

    def seconds(self, layers: Sequence[LayerFacts]) -> Array:
        """Return the expected time of each layer in seconds."""
        times, indices = np.zeros(len(layers)), defaultdict[str, list[int]](list)
        for index, layer in enumerate(layers):
            indices[layer.kind].append(index)
        for places in indices.values():
            times[places] = self._law(layers[places[0]]).seconds([layers[place] for place in places])
        return times

    def _law(self, like: LayerFacts) -> LayerLaw:
        """Return the law of layers like this one; it is learned when it is first asked for."""
        if self._counts[like.kind] >= LEAST:
            name, chosen = like.kind, [one for one in self._timed if one[0].kind == like.kind]
        elif like.group in self._groups:
            name, chosen = f"group {like.group}", [one for one in self._timed if one[0].group == like.group]
        else:
            name, chosen = "all", list(self._timed)
        if name not in self._laws:
            self._laws[name] = _law(chosen)
        return self._laws[name]


def learn_laws(timed: Iterable[tuple[Sequence[LayerFacts], Mapping[LayerId, float]]]) -> LayerLaws:
    """Return the laws that the layers of runs follow; each run is its layers and their times in seconds."""
    return LayerLaws(
        [(layer, times[layer.id]) for layers, times in timed for layer in layers if times.get(layer.id, 0.0) > 0]
    )


def _law(pairs: Sequence[Timed]) -> LayerLaw:
    step = -(-len(pairs) // MOST)
    kept = pairs[::step]
    return LayerLaw([layer for layer, _ in kept], [seconds for _, seconds in kept])
