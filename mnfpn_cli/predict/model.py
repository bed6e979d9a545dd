"""A model of one machine: the time of a run from its plan, fitted on runs that were measured, with its error.

The time of a pass is a sum of terms with one coefficient each. Where layers were timed, the terms are the times that
the laws of layers expect of each group of layers; elsewhere they are the group's calls, MACs, elements and weights. The
coefficients minimise relative errors, are held near what is plausible, and give less weight to runs that do not fit.
Intervals are as wide as the errors of runs that a fit did not see (Barber et al. 2021, "Predictive inference with the
jackknife+").
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np

from mnfpn_cli.errors import MnfpnError
from mnfpn_cli.plan.roofline import LayerId
from mnfpn_cli.predict.facts import GROUPS, LayerFacts, run_facts
from mnfpn_cli.predict.laws import Array, LayerLaws, floor_terms, learn_laws
from mnfpn_cli.space.planned import Planned
from mnfpn_cli.text import counted

LEAST_SAMPLES = 10
"""The fewest runs that a model is fitted on."""
FOLDS = 6
"""Cross-validation leaves out a sixth of the runs at a time."""
CONFIDENCE = 0.9
"""The share of runs whose times lie within their intervals."""
NORMAL = 1.645 / 0.6745
"""That share of a normal distribution lies within so many times the median distance from its middle."""
STEADY = 0.03
"""The relative noise of a measured time, for which there is no cause to be learned."""
OUTLIER = 0.06
"""A relative error above this counts less than its square."""
ROOM = 1.1
"""How far beyond what was measured a figure may lie before a prediction says so."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A run that was measured: its median time, and those of its layers where they were timed, in seconds."""

    planned: Planned
    seconds: float
    layers: Mapping[LayerId, float] | None = None


class Prediction(NamedTuple):
    """The time of a run as a model expects it.

    Attributes:
        seconds: the time of a pass.
        low: the lower end of its 90 % interval, in seconds.
        high: the upper end.
        extrapolated: how the run differs from all that were measured, in a few words; empty where it does not.
    """

    seconds: float
    low: float
    high: float
    extrapolated: str


Facts = tuple[LayerFacts, ...]


class _Fit:
    """The coefficients of the terms, and how certain they are."""

    def __init__(self, facts: Sequence[Facts], samples: Sequence[Sample]) -> None:
        timed = [
            (layers, one.layers)
            for layers, one in zip(facts, samples, strict=True)
            if one.layers and any(layer.id in one.layers for layer in layers)
        ]
        # Laws of layers need the variety of several networks; a few timed ones among many would decide for all.
        self._laws = learn_laws(timed) if 2 * len(timed) >= len(samples) else None
        times = np.array([sample.seconds for sample in samples])
        shares = self._terms(facts) / times[:, None]
        prior, spread = _prior(self._laws is not None)
        self._coefficients, self._covariance = _fitted(shares, prior, spread)

    def _terms(self, facts: Sequence[Facts]) -> Array:
        return np.array([_terms(layers, self._laws) for layers in facts])

    def expected(self, facts: Sequence[Facts]) -> tuple[Array, Array]:
        """Return the expected time of each run in seconds, and its relative standard deviation."""
        terms = self._terms(facts)
        seconds = np.maximum(terms @ self._coefficients, 1e-3 * terms.max(axis=1))
        shares = terms / seconds[:, None]
        variances: Array = STEADY**2 + np.einsum("ij,jk,ik->i", shares, self._covariance, shares)
        deviations: Array = np.sqrt(variances)
        return seconds, deviations


def _terms(layers: Facts, laws: LayerLaws | None) -> Array:
    groups = np.array([layer.group for layer in layers])
    floors = floor_terms(layers)
    if laws:
        by_group = np.bincount(groups, laws.seconds(layers), len(GROUPS))
        return np.concatenate([by_group, [floors[:, 0].sum(), floors[:, 4].sum(), 2e-4]])
    sums = [np.bincount(groups, floors[:, column], len(GROUPS)) for column in range(4)]
    return np.concatenate([*sums, [floors[:, 4].sum()]])


def _prior(timed: bool) -> tuple[Array, Array]:
    """Return the expected coefficients of the terms, and how far they may be from it."""
    if timed:
        return np.array([1.0] * len(GROUPS) + [-0.5, 0.0, 0.0]), np.array([0.2] * len(GROUPS) + [1.0, 0.5, 1.0])
    return np.full(4 * len(GROUPS) + 1, 1.0), np.full(4 * len(GROUPS) + 1, 1.0)


def _fitted(shares: Array, prior: Array, spread: Array) -> tuple[Array, Array]:
    """Return coefficients with which each row of shares adds up to about 1, and their covariance."""
    from scipy.optimize import lsq_linear

    weights = np.ones(len(shares))
    lowest = np.where(prior > 0, 0.0, -np.inf)
    held = np.diag(STEADY / spread)
    for _ in range(6):
        rows = np.vstack([shares * weights[:, None], held])
        coefficients: Array = lsq_linear(rows, np.concatenate([weights, held @ prior]), (lowest, np.inf)).x
        errors = np.abs(shares @ coefficients - 1)
        weights = np.sqrt(1 / np.maximum(1.0, errors / OUTLIER))
    noise = max(STEADY**2, float(np.average((shares @ coefficients - 1) ** 2, weights=weights**2)))
    covariance: Array = np.array(noise * np.linalg.inv(rows.T @ rows), dtype=np.float64)
    return coefficients, covariance


class _Range(NamedTuple):
    """What was measured: the kinds of layers, and the least and the most of some figures."""

    kinds: frozenset[str]
    least: dict[str, float]
    most: dict[str, float]

    def beyond(self, layers: Facts) -> str:
        """Return how a run lies outside this range, in a few words; empty where it does not."""
        new = sorted({layer.kind for layer in layers} - self.kinds)
        if new:
            return f"no run that was measured has {' or '.join(new[:2])}"
        for name, value in _figures(layers).items():
            if value > ROOM * self.most[name]:
                return f"more {name} than in any run that was measured"
            if value * ROOM < self.least[name]:
                return f"fewer {name} than in any run that was measured"
        return ""


def _figures(layers: Facts) -> dict[str, float]:
    return {
        "MACs": float(sum(layer.macs for layer in layers)),
        "elements of maps": float(sum(layer.moved for layer in layers)),
        "layers": float(len(layers)),
        "channels": float(max(layer.outputs for layer in layers)),
    }


def _range(facts: Sequence[Facts]) -> _Range:
    figures = [_figures(layers) for layers in facts]
    least = {name: min(one[name] for one in figures) for name in figures[0]}
    most = {name: max(one[name] for one in figures) for name in figures[0]}
    return _Range(frozenset(layer.kind for layers in facts for layer in layers), least, most)


@dataclass(frozen=True)
class LatencyModel:
    """A model of one machine, device, runtime, dtype, batch and kind of pass.

    Attributes:
        errors: the relative error of each sample's time as predicted from the other samples: 0.05 is 5 % too long.
    """

    errors: tuple[float, ...]
    _fit: _Fit
    _factor: float
    _range: _Range
    _old_process: bool

    @classmethod
    def fit(cls, samples: Sequence[Sample], seed: int = 0) -> Self:
        """Fit a model on measured runs that differ in their network and size alone.

        Args:
            samples: the runs.
            seed: of the order in which cross-validation leaves out runs.

        Raises:
            MnfpnError: with fewer than `LEAST_SAMPLES` runs; it says how many more are needed.
        """
        missing = LEAST_SAMPLES - len(samples)
        if missing > 0:
            few = f"{counted(len(samples), 'measured run')} cannot predict others: {missing} more are needed"
            raise MnfpnError(few if missing > 1 else f"{few[: -len('are needed')]}is needed")
        facts = [run_facts(sample.planned.run) for sample in samples]
        kept = [_in_old_process(layers) for layers in facts]
        tried = [_cross_validated(facts, samples, seed)]
        if kept != facts:
            tried.append(_cross_validated(kept, samples, seed))
        old = tried[-1].miss < tried[0].miss
        if old:
            facts = kept
        errors, deviations = tried[old]
        factor = _quantile(np.abs(np.log1p(errors)) / deviations)
        return cls(tuple(map(float, errors)), _Fit(facts, samples), factor, _range(facts), old)

    def predict(self, planned: Sequence[Planned]) -> list[Prediction]:
        """Predict the times of runs, in their order."""
        if not planned:
            return []
        facts = [run_facts(one.run) for one in planned]
        if self._old_process:
            facts = [_in_old_process(layers) for layers in facts]
        predictions = list[Prediction]()
        for layers, seconds, deviation in zip(facts, *self._fit.expected(facts), strict=True):
            width = math.exp(min(self._factor * deviation, 5.0))
            time = float(seconds)
            predictions.append(Prediction(time, time / width, time * width, self._range.beyond(layers)))
        return predictions


def _in_old_process(layers: Facts) -> Facts:
    """Return the facts of a run in a process that has measured others and kept their memory."""
    return tuple(layer._replace(fresh=layer.mapped) for layer in layers)


class _Errors(NamedTuple):
    """The relative error of each sample from a fit without it, and the relative deviation that the fit expected."""

    errors: Array
    deviations: Array

    @property
    def miss(self) -> float:
        """The mean size of the errors; one that is out of all bounds counts no more than others."""
        return float(np.minimum(np.abs(np.log1p(self.errors)), 0.3).mean())


def _cross_validated(facts: Sequence[Facts], samples: Sequence[Sample], seed: int) -> _Errors:
    """Fit models without a sixth of the samples each, and compare what they predict with what was measured."""
    order = np.random.default_rng(seed).permutation(len(samples))
    errors, deviations = np.zeros(len(samples)), np.zeros(len(samples))
    for fold in range(FOLDS):
        left_out = order[fold::FOLDS]
        kept = np.setdiff1d(order, left_out)
        fit = _Fit([facts[index] for index in kept], [samples[index] for index in kept])
        seconds, deviations[left_out] = fit.expected([facts[index] for index in left_out])
        errors[left_out] = seconds / [samples[index].seconds for index in left_out] - 1
    return _Errors(errors, deviations)


def _quantile(values: Array) -> float:
    """Return what about a share of `CONFIDENCE` of new values will be below.

    The largest of thirty values or fewer are a matter of luck. Where they are small beside the median, what a normal
    distribution with this median would have is taken instead.
    """
    rank = math.ceil((len(values) + 1) * CONFIDENCE)
    of_ranks = float(np.sort(values)[min(rank, len(values)) - 1])
    return max(of_ranks, NORMAL * float(np.median(values)))
