"""Estimates between published scores: a quadratic in log width and log size, with its error."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from mnfpn_cli.accuracy.published import Point, ScoreTable, identity, imagenet, published_identity
from mnfpn_cli.documents.records import ScoreRecord
from mnfpn_cli.settings.network import NetworkSettings

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Fit:
    """A quadratic in log width and log side, fitted to published scores by least squares.

    Attributes:
        coefficients: of 1, w, s, w², w s and s², where w and s are the logarithms of width and side.
        spread: the inverse of the matrix of their normal equations, row by row.
        left_out: the error of each score, estimated from all the others, in the order of the points: estimate less
            score.
    """

    coefficients: tuple[float, ...]
    spread: tuple[tuple[float, ...], ...]
    left_out: tuple[float, ...]

    @property
    def typical_error(self) -> float:
        """The root mean square of the errors of the scores that were left out."""
        return math.sqrt(sum(error**2 for error in self.left_out) / len(self.left_out))

    def score(self, width_mult: float, side: int) -> float:
        """Return the estimate for a width and a side in pixels."""
        return sum(a * b for a, b in zip(self.coefficients, _terms(width_mult, side), strict=True))

    def error(self, width_mult: float, side: int) -> float:
        """Return the standard error of the estimate: larger where fewer points are near.

        It is the typical error times √(1 + h), where h is the leverage of the place (Belsley, Kuh and Welsch 1980,
        "Regression Diagnostics", section 2.1). The residuals, from which textbooks take it, are smaller than errors;
        with this one, 19 of 22 scores are within two standard errors of what the other widths alone say of them
        (`benchmarks/accuracy.py`).
        """
        terms = _terms(width_mult, side)
        leverage = sum(
            a * b * entry
            for a, row in zip(terms, self.spread, strict=True)
            for b, entry in zip(terms, row, strict=True)
        )
        return self.typical_error * math.sqrt(1 + leverage)


def _terms(width_mult: float, side: int) -> tuple[float, ...]:
    width, size = math.log(width_mult), math.log(side)
    return 1.0, width, size, width * width, width * size, size * size


def fit(points: Sequence[Point]) -> Fit:
    """Fit the quadratic, in closed form; the error of a score that is left out is its residual over 1 - leverage.

    Raises:
        ValueError: where the points do not determine it.
    """
    import numpy as np

    terms = np.array([_terms(point.width_mult, point.side) for point in points])
    scores = np.array([point.score for point in points])
    if np.linalg.matrix_rank(terms) < terms.shape[1]:
        raise ValueError("the points do not determine a quadratic")
    inverse = np.linalg.pinv(terms)
    found, leverage = inverse @ scores, np.einsum("ij,ji->i", terms, inverse)
    return Fit(
        _floats(found),
        tuple(map(_floats, inverse @ inverse.T)),
        _floats((terms @ found - scores) / (1 - leverage)),
    )


def _floats(values: "NDArray[numpy.float64]") -> tuple[float, ...]:
    return tuple(map(float, values))


@cache
def imagenet_fit() -> Fit:
    """Return the quadratic through the published ImageNet scores."""
    return fit(imagenet().points)


def estimated_score(settings: NetworkSettings, side: int) -> ScoreRecord | None:
    """Estimate the ImageNet score of a network on square images of a side in pixels.

    It is None for a network that is not the published classifier at its width, and outside the widths and sides that
    have scores.

    Raises:
        SettingsError: where a layer would have no channels, or too many.
    """
    table, width = imagenet(), settings.width_mult
    widths, sides = [point.width_mult for point in table.points], [point.side for point in table.points]
    if not (_within(width, widths) and _within(side, sides)):
        return None
    if identity(settings) != published_identity(table, width):
        return None
    found = imagenet_fit()
    return ScoreRecord(
        metric=table.metric,
        value=found.score(width, side),
        error=found.error(width, side),
        kind="estimated",
        source=_source(table),
        date=None,
    )


def _within(value: float, others: Iterable[float]) -> bool:
    some = list(others)
    return min(some) <= value <= max(some)


def _source(table: ScoreTable) -> str:
    return f"from width and size, between the {len(table.points)} scores of {table.source}"
